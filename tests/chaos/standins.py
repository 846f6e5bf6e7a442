"""The services and the Bot API around the workers: they note effects and can fail.

Each worker has a server of its own, so that it is known who called.

The Bot API here is not the sandbox's simulator, which checks and keeps every call: this
one must take 1,000 updates a second on two cores, beside four gateways.

Concurrency: one event loop; an effect is noted before anything is awaited.
"""

import asyncio
import contextlib
import random
import time
from collections.abc import Callable
from typing import Any, Protocol

import grpc
import msgspec
from aiohttp import web
from botgateway.chat.v1.context_pb2 import RequestContext
from botgateway.chat.v1.reply_pb2 import OutgoingMessage, Reply
from botgateway.conversation.v1 import conversation_service_pb2 as conversation
from botgateway.matching.v1 import matching_service_pb2 as matching
from botgateway.profile.v1 import profile_service_pb2 as profile

from tests.chaos.history import Effect, History, Kind
from tests.support.tcp_ports import free_ports

Context = grpc.aio.ServicerContext[Any, Any]

_UNARY = grpc.unary_unary_rpc_method_handler


class Services:
    """The services that one worker calls.

    Attributes:
        seconds: how long calls take, at least and at most.
        hanging: for how many seconds calls hang.
        refusing: calls are refused as unavailable.
    """

    def __init__(self, history: History, worker: int, rng: random.Random) -> None:
        self._history = history
        self._worker = worker
        self._rng = rng
        self._server: grpc.aio.Server | None = None
        (self._port,) = free_ports(1)
        self.seconds = (0.02, 0.03)
        self.hanging = 0.0
        self.refusing = False

    @property
    def target(self) -> str:
        """Where it is."""
        return f"127.0.0.1:{self._port}"

    async def start(self) -> None:
        """Serve, on the same port as before."""
        # Else a worker of another run might find its port taken by us, and we by it.
        self._server = grpc.aio.server(options=(("grpc.so_reuseport", 0),))
        self._server.add_generic_rpc_handlers(self._handlers())
        self._server.add_insecure_port(self.target)
        await self._server.start()

    async def stop(self) -> None:
        """Be gone; calls under way are cut."""
        assert self._server is not None
        await self._server.stop(None)
        self._server = None

    def _handlers(self) -> list[grpc.GenericRpcHandler]:
        say = _handler(self._say, conversation.SendMessageRequest)
        press = _handler(self._press, matching.AcceptRequest)
        resolve = _handler(self._resolve, profile.ResolveUserRequest)
        package = "botgateway"
        return [
            grpc.method_handlers_generic_handler(
                f"{package}.conversation.v1.ConversationService", {"SendMessage": say}
            ),
            grpc.method_handlers_generic_handler(
                f"{package}.matching.v1.MatchingService", {"Accept": press}
            ),
            grpc.method_handlers_generic_handler(
                f"{package}.profile.v1.ProfileService", {"ResolveUser": resolve}
            ),
        ]

    async def _say(
        self, request: conversation.SendMessageRequest, context: Context
    ) -> conversation.SendMessageResponse:
        reply = await self._serve(request.context, context)
        return conversation.SendMessageResponse(reply=reply)

    async def _press(
        self, request: matching.AcceptRequest, context: Context
    ) -> matching.AcceptResponse:
        reply = await self._serve(request.context, context)
        return matching.AcceptResponse(reply=reply)

    async def _resolve(
        self, request: profile.ResolveUserRequest, _: Context
    ) -> profile.ResolveUserResponse:
        user = request.context.telegram_user_id
        return profile.ResolveUserResponse(internal_user_id=f"u-{user}")

    async def _serve(self, asked: RequestContext, context: Context) -> Reply:
        effect = Effect(
            Kind.CALL,
            asked.update_id,
            str(asked.telegram_user_id),
            self._worker,
            time.monotonic(),
            request_id=asked.request_id,
        )
        self._history.effects.append(effect)
        try:
            if self.refusing:
                await context.abort(grpc.StatusCode.UNAVAILABLE)
            await asyncio.sleep(self.hanging or self._rng.uniform(*self.seconds))
        finally:
            effect.end = time.monotonic()
        return Reply(messages=[OutgoingMessage(text=str(asked.update_id))])


def _handler(serve: Callable[..., Any], request: type[Any]) -> Any:  # noqa: ANN401 - gRPC's own
    return _UNARY(
        serve,
        request_deserializer=request.FromString,
        response_serializer=lambda response: response.SerializeToString(),
    )


RESET = -1
"""A connection that breaks: see `BotApiClient.fault`."""


class _SendMessage(msgspec.Struct):
    chat_id: int
    text: str


class Updates(Protocol):
    """Answers getUpdates."""

    async def answer(self, worker: int, body: bytes) -> tuple[int, bytes]:
        """Return the status and the body of the answer to a call."""


class BotApi:
    """Takes every call. A worker's number is the first part of its path.

    Attributes:
        fault: asked for every message, by its chat: the status to refuse it with; 0: it
            is taken; RESET: it is taken, and the connection breaks before the answer.
        refused: when messages were refused.
        resets: messages that were taken without an answer.
        delay: seconds by which answers are late.
        updates: answers getUpdates. None: updates are sent to the webhook.
    """

    def __init__(self, history: History) -> None:
        self._history = history
        self._read = msgspec.json.Decoder(_SendMessage).decode
        self._runner = web.ServerRunner(web.Server(self._answer, access_log=None))
        self.port = 0
        self.fault: Callable[[int], int] = lambda _: 0
        self.refused: list[float] = []
        self.resets = 0
        self.delay = 0.0
        self.updates: Updates | None = None

    def url(self, worker: int) -> str:
        """Where it is, for a worker."""
        return f"http://127.0.0.1:{self.port}/{worker}"

    async def start(self) -> None:
        """Serve."""
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0, backlog=1024).start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """End."""
        await self._runner.cleanup()

    async def _answer(self, request: web.BaseRequest) -> web.Response:
        _, worker, _, method = request.path.split("/")
        body = await request.read()
        status, answer = 200, _DONE
        if method == "sendMessage":
            call = self._read(body)
            status = self.fault(call.chat_id)
            if status in {0, RESET}:
                answer = self._take(call, int(worker))
            else:
                answer = _refusal(status)
                self.refused.append(time.monotonic())
            if status == RESET:
                self.resets += 1
                self._break(request)
                status = 200
        elif method == "getMe":
            answer = _ME
        elif method == "getUpdates" and self.updates is not None:
            status, answer = await self.updates.answer(int(worker), body)
        if self.delay:
            await asyncio.sleep(self.delay)
        return web.Response(
            status=status or 200, body=answer, content_type="application/json"
        )

    @staticmethod
    def _break(request: web.BaseRequest) -> None:
        if request.transport is not None:
            request.transport.abort()

    def _take(self, call: _SendMessage, worker: int) -> bytes:
        # What the gateway itself says to users is no number.
        with contextlib.suppress(ValueError):
            now = time.monotonic()
            self._history.effects.append(
                Effect(Kind.SEND, int(call.text), str(call.chat_id), worker, now, now)
            )
        chat = {"id": call.chat_id, "type": "private", "first_name": "Ann"}
        message = {"message_id": 1, "date": 0, "chat": chat, "text": call.text}
        return _encode({"ok": True, "result": message})


_encode = msgspec.json.encode
_DONE = _encode({"ok": True, "result": True})
_ME = _encode(
    {
        "ok": True,
        "result": {"id": 7, "is_bot": True, "first_name": "B", "username": "b_bot"},
    }
)


def _refusal(status: int) -> bytes:
    refusal = {"ok": False, "error_code": status, "description": "refused"}
    if status == 429:
        refusal["parameters"] = {"retry_after": 1}
    return _encode(refusal)
