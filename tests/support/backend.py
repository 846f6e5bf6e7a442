"""All four services behind one real gRPC server, remembering what they were asked."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
from botgateway.chat.v1.context_pb2 import RequestContext
from botgateway.chat.v1.reply_pb2 import OutgoingMessage, Reply
from botgateway.conversation.v1 import conversation_service_pb2 as conversation
from botgateway.conversation.v1 import conversation_service_pb2_grpc as conversation_rpc
from botgateway.matching.v1 import matching_service_pb2 as matching
from botgateway.matching.v1 import matching_service_pb2_grpc as matching_rpc
from botgateway.notification.v1 import notification_service_pb2 as notification
from botgateway.notification.v1 import notification_service_pb2_grpc as notification_rpc
from botgateway.profile.v1 import profile_service_pb2 as profile
from botgateway.profile.v1 import profile_service_pb2_grpc as profile_rpc

Context = grpc.aio.ServicerContext[Any, Any]
Answer = Callable[[str, Any], Awaitable[Reply]]


class Backend(
    conversation_rpc.ConversationServiceServicer,
    matching_rpc.MatchingServiceServicer,
    notification_rpc.NotificationServiceServicer,
    profile_rpc.ProfileServiceServicer,
):
    """Answers every rpc through one function that a test may replace."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, Any]] = []
        self.answer: Answer = self.echo
        self.pieces: asyncio.Queue[str | None] = asyncio.Queue()
        """What StreamMessage says; None ends it."""
        self.streams_ended: list[float] = []
        """When calls of StreamMessage ended, cancelled ones too."""
        self.status: dict[str, grpc.StatusCode] = {}
        """Rpcs that fail, by their name."""

    def asked(self, rpc: str) -> list[Any]:
        """Return the requests of one rpc."""
        return [request for name, request in self.calls if name == rpc]

    async def echo(self, rpc: str, request: Any) -> Reply:  # noqa: ANN401 - any request
        """Say which rpc was called."""
        text = request.message.text if rpc == "SendMessage" else rpc
        return Reply(messages=[OutgoingMessage(text=f"echo: {text}")])

    async def _serve(
        self,
        rpc: str,
        request: Any,  # noqa: ANN401 - any request
        context: Context,
    ) -> Reply:
        self.calls.append((rpc, request))
        if rpc in self.status:
            await context.abort(self.status[rpc], "details with a hush text")
        return await self.answer(rpc, request)

    def _ended(self, _: Context) -> None:
        self.streams_ended.append(time.monotonic())

    async def SendMessage(  # noqa: N802 - as the contract has it
        self, request: conversation.SendMessageRequest, context: Context
    ) -> conversation.SendMessageResponse:
        reply = await self._serve("SendMessage", request, context)
        return conversation.SendMessageResponse(reply=reply)

    async def StreamMessage(  # noqa: N802 - as above
        self, request: conversation.StreamMessageRequest, context: Context
    ) -> AsyncIterator[conversation.StreamMessageResponse]:
        self.calls.append(("StreamMessage", request))
        context.add_done_callback(self._ended)  # type: ignore[arg-type]  # its protocol has a name for the argument
        while True:
            text = await self.pieces.get()
            if text is None:
                return
            yield conversation.StreamMessageResponse(text_piece=text)

    async def Connect(  # noqa: N802 - as above
        self, request: matching.ConnectRequest, context: Context
    ) -> matching.ConnectResponse:
        reply = await self._serve("Connect", request, context)
        return matching.ConnectResponse(reply=reply)

    async def Accept(  # noqa: N802 - as above
        self, request: matching.AcceptRequest, context: Context
    ) -> matching.AcceptResponse:
        reply = await self._serve("Accept", request, context)
        return matching.AcceptResponse(reply=reply)

    async def Reject(  # noqa: N802 - as above
        self, request: matching.RejectRequest, context: Context
    ) -> matching.RejectResponse:
        reply = await self._serve("Reject", request, context)
        return matching.RejectResponse(reply=reply)

    async def Skip(  # noqa: N802 - as above
        self, request: matching.SkipRequest, context: Context
    ) -> matching.SkipResponse:
        reply = await self._serve("Skip", request, context)
        return matching.SkipResponse(reply=reply)

    async def SetPreference(  # noqa: N802 - as above
        self, request: notification.SetPreferenceRequest, context: Context
    ) -> notification.SetPreferenceResponse:
        reply = await self._serve("SetPreference", request, context)
        return notification.SetPreferenceResponse(reply=reply)

    async def ReportReachability(  # noqa: N802 - as above
        self, request: notification.ReportReachabilityRequest, context: Context
    ) -> notification.ReportReachabilityResponse:
        reply = await self._serve("ReportReachability", request, context)
        return notification.ReportReachabilityResponse(reply=reply)

    async def ResolveUser(  # noqa: N802 - as above
        self, request: profile.ResolveUserRequest, context: Context
    ) -> profile.ResolveUserResponse:
        await self._serve("ResolveUser", request, context)
        user = request.context.telegram_user_id
        return profile.ResolveUserResponse(internal_user_id=f"u-{user}")

    async def Start(  # noqa: N802 - as above
        self, request: profile.StartRequest, context: Context
    ) -> profile.StartResponse:
        reply = await self._serve("Start", request, context)
        return profile.StartResponse(reply=reply)

    async def GetProfile(  # noqa: N802 - as above
        self, request: profile.GetProfileRequest, context: Context
    ) -> profile.GetProfileResponse:
        reply = await self._serve("GetProfile", request, context)
        return profile.GetProfileResponse(reply=reply)


@asynccontextmanager
async def serving(
    backend: Backend, *further: grpc.GenericRpcHandler
) -> AsyncIterator[str]:
    """Serve all four services on a free port of loopback; yield the target.

    Args:
        backend: the four.
        further: handlers of other services.
    """
    server = grpc.aio.server()
    server.add_generic_rpc_handlers(further)
    conversation_rpc.add_ConversationServiceServicer_to_server(backend, server)
    matching_rpc.add_MatchingServiceServicer_to_server(backend, server)
    notification_rpc.add_NotificationServiceServicer_to_server(backend, server)
    profile_rpc.add_ProfileServiceServicer_to_server(backend, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(None)


def gate(backend: Backend, until: asyncio.Event, users: set[int]) -> None:
    """Make these users' calls hang until an event."""

    async def answer(rpc: str, request: Any) -> Reply:  # noqa: ANN401 - any request
        context: RequestContext = request.context
        if rpc != "ResolveUser" and context.telegram_user_id in users:
            await until.wait()
        return await backend.echo(rpc, request)

    backend.answer = answer
