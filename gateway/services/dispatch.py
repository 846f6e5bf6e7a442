"""Binds an update to the request of the rpc that serves it, and makes the call.

One call is one attempt within the service's deadline, and one repetition by gRPC if
the service is unavailable. Both carry the same request id, so that a service that
got both acts once. Cancelling the caller cancels the call at the service. No task is
started here.
"""

import secrets
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

import grpc
from botgateway.chat.v1.reply_pb2 import OutgoingMessage, Reply
from botgateway.route.v1.event_pb2 import Event
from google.protobuf.message import DecodeError, Message
from grpc import aio

from gateway.domain.errors import (
    ServiceError,
    ServiceFailed,
    ServiceTimeout,
    ServiceUnavailable,
)
from gateway.domain.ports import Match
from gateway.domain.update import Update
from gateway.services.channels import Channels
from gateway.services.contracts import HELP, Route
from gateway.services.routes import RouteTable


class Dispatch:
    """The services behind the route table."""

    def __init__(
        self, table: RouteTable, channels: Channels, timeouts: Mapping[str, float]
    ) -> None:
        """Prepare the rpc of every route.

        Args:
            table: the routes.
            channels: open channels to the services that have a route.
            timeouts: deadline of each of these services in seconds, by its name in
                settings. It covers both attempts.
        """
        self._table = table
        self._rpcs = {
            route: _Rpc(route, channels[route.service], timeouts[route.service])
            for route in table.routes
        }
        self._help = _Help(table)

    def find(self, update: Update) -> Match | None:
        """Find the route that serves an update. None: there is none.

        A pressed button is never taken for a text, nor is a command.
        """
        if update.event:
            return self.find_event(update, update.event)
        if update.callback_query_id:
            return self._find_callback(update)
        if update.command:
            return self._find_command(update)
        if update.message is not None and self._table.text:
            return _Call(self._rpcs[self._table.text], update, {})
        return None

    def find_event(self, update: Update, event: "Event.ValueType") -> Match | None:
        """Find the route that serves an event around an update's user."""
        if not (route := self._table.by_event.get(event)):
            return None
        values = {route.event_field: event} if route.event_field else {}
        return _Call(self._rpcs[route], update, values)

    async def resolve_user(self, update: Update) -> str:
        """Give the internal user id of the update's human; empty where none is known.

        Raises:
            ServiceError: the session service did not answer.
        """
        route = self._table.session
        if not route or not update.context.telegram_user_id:
            return ""
        response = await self._rpcs[route](update, {}, "")
        return str(getattr(response, route.answer_field))

    def _find_callback(self, update: Update) -> Match | None:
        for route in self._table.by_callback:
            if (values := route.bind(update.callback_data)) is not None:
                return _Call(self._rpcs[route], update, values)
        return None

    def _find_command(self, update: Update) -> Match | None:
        if update.command == HELP:
            return self._help
        route = self._table.by_command.get(update.command)
        if not route or (values := route.bind(update.arguments)) is None:
            return None
        return _Call(self._rpcs[route], update, values)


class _Help:
    """The answer to /help, which no service gives."""

    route = f"/{HELP}"

    def __init__(self, table: RouteTable) -> None:
        lines = (f"/{name} - {description}" for name, description in table.commands)
        self._text = "\n".join(lines)

    async def call(self, internal_user_id: str) -> Reply:
        return Reply(messages=[OutgoingMessage(text=self._text)])


class _Call:
    """An update together with the rpc that serves it."""

    __slots__ = ("_rpc", "_update", "_values")

    def __init__(self, rpc: "_Rpc", update: Update, values: dict[str, Any]) -> None:
        self._rpc = rpc
        self._update = update
        self._values = values

    @property
    def route(self) -> str:
        return self._rpc.route.name

    async def call(self, internal_user_id: str) -> Reply:
        response = await self._rpc(self._update, self._values, internal_user_id)
        reply: Reply = getattr(response, self._rpc.route.answer_field)
        return reply


class _Rpc:
    """An rpc of a service, ready to be called for one of its routes."""

    __slots__ = ("_call", "_timeout", "route")

    def __init__(self, route: Route, channel: aio.Channel, timeout: float) -> None:
        self.route = route
        self._timeout = timeout
        # Bytes in and out: a deserializer of ours that fails would be logged by gRPC
        # with its traceback, and the answer be None.
        self._call: aio.UnaryUnaryMultiCallable[bytes, bytes | None] = (
            channel.unary_unary(route.path)
        )

    async def __call__(
        self, update: Update, values: Mapping[str, Any], internal_user_id: str
    ) -> Message:
        """Call the rpc.

        Raises:
            ServiceError: it did not answer.
        """
        route = self.route
        fields = {**values, route.context_field: update.context}
        if route.message_field and update.message is not None:
            fields[route.message_field] = update.message
        request = route.request(**fields)
        # The request has a copy of the context: the update's own stays as it is.
        getattr(request, route.context_field).internal_user_id = internal_user_id
        try:
            answer = await self._call(
                request.SerializeToString(),
                timeout=self._timeout,
                metadata=_metadata(update.context.request_id),
            )
        except aio.AioRpcError as error:
            raise _translated(error.code(), route.name) from None
        return _decoded(answer, route)


def _metadata(request_id: str) -> tuple[tuple[str, str], ...]:
    """Give the headers of a call: its idempotency key and its place in a trace.

    W3C Trace Context, version 00, sampled. All calls for an update, repetitions after
    a crash included, belong to one trace.
    """
    trace = blake2b(request_id.encode(), digest_size=16).hexdigest()
    return (
        ("x-request-id", request_id),
        ("traceparent", f"00-{trace}-{secrets.token_hex(8)}-01"),
    )


def _translated(code: grpc.StatusCode, route: str) -> ServiceError:
    """Turn a status into our error. Its details may quote the user and stay out."""
    kinds = {
        grpc.StatusCode.DEADLINE_EXCEEDED: ServiceTimeout,
        grpc.StatusCode.UNAVAILABLE: ServiceUnavailable,
    }
    return kinds.get(code, ServiceFailed)(f"{route}: {code.name}")


def _decoded(answer: bytes | None, route: Route) -> Message:
    """Read an answer. None is the status OK with no answer behind it."""
    if answer is None:
        raise ServiceFailed(f"{route.name}: OK without an answer")
    try:
        return route.response.FromString(answer)
    except DecodeError:
        raise ServiceFailed(f"{route.name}: the answer cannot be read") from None
