"""Real services on real sockets, and a gateway's dispatch that calls them."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import grpc
from botgateway.chat.v1.reply_pb2 import OutgoingMessage, Reply
from botgateway.conversation.v1.conversation_service_pb2_grpc import (
    add_ConversationServiceServicer_to_server,
)
from botgateway.matching.v1.matching_service_pb2_grpc import (
    add_MatchingServiceServicer_to_server,
)
from botgateway.notification.v1.notification_service_pb2_grpc import (
    add_NotificationServiceServicer_to_server,
)
from botgateway.profile.v1.profile_service_pb2 import ResolveUserResponse
from botgateway.profile.v1.profile_service_pb2_grpc import (
    add_ProfileServiceServicer_to_server,
)
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from grpc import aio

from gateway.domain.update import Update
from gateway.services.call_limits import CallLimits
from gateway.services.channels import ServiceChannels, TlsFiles
from gateway.services.router import GrpcServiceRouter
from tests.support.services.samples import SAMPLE_SERVICES, TABLE
from tests.support.tcp_ports import free_ports
from tests.support.waiting import wait_until

Context = aio.ServicerContext[Any, Any]
Act = Callable[[Context], Awaitable[None]]
Handle = Callable[[Message, Context], Awaitable[Message]]

TIMEOUTS = {
    "CONVERSATION": 60.0,
    "MATCHING": 40.0,
    "NOTIFICATION": 30.0,
    "PROFILE": 20.0,
}
"""So long that a call on a busy machine ends before, and all different."""

NEVER = 3600.0
"""A deadline that no test lives to see."""

RESPONSES = {
    method.name: GetMessageClass(method.output_type)
    for service in SAMPLE_SERVICES
    for method in service.methods
}


class Seen(NamedTuple):
    """What a service saw of one attempt."""

    method: str
    request: Any
    metadata: dict[str, str]
    seconds_left: float
    time: float
    """When, by `time.monotonic`."""


class Services:
    """All four services in one: they keep what they saw and answer with their name."""

    def __init__(self, act: Act | None = None) -> None:
        self._act = act
        self.seen: list[Seen] = []

    def add_to(self, server: aio.Server) -> None:
        """Register all four, by the code that was generated for service authors."""
        servicer: Any = self
        add_ConversationServiceServicer_to_server(servicer, server)
        add_MatchingServiceServicer_to_server(servicer, server)
        add_NotificationServiceServicer_to_server(servicer, server)
        add_ProfileServiceServicer_to_server(servicer, server)

    def __getattr__(self, method: str) -> Handle:
        """Return the implementation of a method: all are alike."""

        async def handle(request: Message, context: Context) -> Message:
            metadata = context.invocation_metadata() or ()
            headers = {key: str(value) for key, value in metadata}
            left, now = context.time_remaining(), time.monotonic()
            self.seen.append(Seen(method, request, headers, left, now))
            if self._act:
                await self._act(context)
            if method == "ResolveUser":
                return ResolveUserResponse(internal_user_id="user-7")
            reply = Reply(messages=[OutgoingMessage(text=method)])
            return RESPONSES[method](reply=reply)

        if method not in RESPONSES:
            raise AttributeError(method)
        return handle


class RawHandler(grpc.GenericRpcHandler):
    """Answers every method with bytes, for answers that no generated code gives."""

    def __init__(
        self, answer: Callable[[bytes, Context], Awaitable[bytes | None]]
    ) -> None:
        self._handler: grpc.RpcMethodHandler[Any, Any] = (
            grpc.unary_unary_rpc_method_handler(answer)
        )

    def service(
        self, handler_call_details: grpc.HandlerCallDetails
    ) -> "grpc.RpcMethodHandler[Any, Any] | None":
        """Serve all but the health check."""
        is_health = handler_call_details.method.startswith("/grpc.health")
        return None if is_health else self._handler


@asynccontextmanager
async def serving(
    *parts: Services | grpc.GenericRpcHandler,
    port: int = 0,
    credentials: grpc.ServerCredentials | None = None,
    options: tuple[tuple[str, Any], ...] = (),
    host: str = "127.0.0.1",
) -> AsyncIterator[int]:
    """Run a server on loopback; gives its port."""
    server = aio.server(options=(("grpc.so_reuseport", 0), *options))
    for part in parts:
        if isinstance(part, Services):
            part.add_to(server)
        else:
            server.add_generic_rpc_handlers((part,))
    # gRPC remembers an address that failed a moment ago, such as that of another test.
    address = f"{host}:{port or free_ports(1)[0]}"
    if credentials:
        port = server.add_secure_port(address, credentials)
    else:
        port = server.add_insecure_port(address)
    await server.start()
    try:
        yield port
    finally:
        await server.stop(None)


@asynccontextmanager
async def calling(
    port: int,
    *,
    timeout: float | None = None,
    tls: TlsFiles | None = None,
    now: Callable[[], float] = time.time,
) -> AsyncIterator[GrpcServiceRouter]:
    """Open the channels of all four services to one port."""
    limits = {
        name: CallLimits(timeout or seconds, timeout or seconds)
        for name, seconds in TIMEOUTS.items()
    }
    targets = dict.fromkeys(TABLE.service_names, f"127.0.0.1:{port}")
    async with ServiceChannels(targets, tls) as channels:
        yield GrpcServiceRouter(TABLE, channels, limits, now=now)


async def call(dispatch: GrpcServiceRouter, update: Update) -> str:
    """Find and call the update's route; return the text of the reply."""
    match = dispatch.route(update)
    assert match
    reply = await match.call("user-7")
    return "".join(message.text for message in reply.messages)


class Wordless(asyncio.Protocol):
    """An HTTP/2 server that ends every call with OK and no message.

    Written by hand, because no gRPC library would do that. RFC 9113: frames are DATA
    0, HEADERS 1, SETTINGS 4 and PING 6; flags are END_STREAM or ACK 1, END_HEADERS 4.
    """

    def __init__(self, connections: set[asyncio.Transport]) -> None:
        self._connections = connections

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the settings, all as they are by default."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._connections.add(transport)
        self._buffer = b""
        self._preface = 24
        self._send(4, 0, 0, b"")

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go of the connection."""
        self._connections.discard(self._transport)

    def data_received(self, data: bytes) -> None:
        """Take the preface and then the frames."""
        self._buffer += data
        if len(self._buffer) < self._preface + 9:
            return
        self._buffer, self._preface = self._buffer[self._preface :], 0
        while len(self._buffer) >= 9:
            end = 9 + int.from_bytes(self._buffer[:3], "big")
            if len(self._buffer) < end:
                return
            frame, self._buffer = self._buffer[:end], self._buffer[end:]
            stream = int.from_bytes(frame[5:9], "big")
            self._answer(frame[3], frame[4], stream, frame[9:])

    def _answer(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == 0 and flags & 1:
            # The first call on a connection is the health check: it is not served.
            status = b"12" if stream == 1 else b"0"
            headers = _header(b"content-type", b"application/grpc")
            headers += _header(b"grpc-status", status)
            self._send(1, 1 | 4, stream, b"\x88" + headers)  # \x88 is :status 200
        elif kind in {4, 6} and not flags & 1:
            self._send(kind, 1, 0, payload if kind == 6 else b"")

    def _send(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        head = len(payload).to_bytes(3, "big") + bytes((kind, flags))
        self._transport.write(head + stream.to_bytes(4, "big") + payload)


def _header(name: bytes, value: bytes) -> bytes:
    return b"\x00" + bytes((len(name),)) + name + bytes((len(value),)) + value


@asynccontextmanager
async def serving_wordless() -> AsyncIterator[int]:
    """Run the server without words; gives its port."""
    loop = asyncio.get_running_loop()
    connections: set[asyncio.Transport] = set()
    server = await loop.create_server(lambda: Wordless(connections), "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]
    for transport in connections:
        transport.abort()
    await wait_until(lambda: not connections)
