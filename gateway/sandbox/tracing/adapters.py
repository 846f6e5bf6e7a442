"""Wrappers around the interfaces of a gateway that record calls in a `Tracer`.

A trace is the list of steps in the processing of one update. Apart from the recording,
each method does what the wrapped one does.
"""

import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import grpc
from botgateway.chat.v1.reply_pb2 import CallbackTarget, Reply
from botgateway.route.v1.event_pb2 import Event
from google.protobuf import descriptor_pool, message_factory, text_format
from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import Message
from grpc import aio

from gateway.domain.bot_api_call import BotApiCall
from gateway.domain.ports import (
    BeforeRequest,
    BoundCall,
    Messenger,
    RetryPause,
    ServiceRouter,
    StreamingPreview,
    await_pause,
)
from gateway.domain.update import Update
from gateway.sandbox.tracing.tracer import MAX_TEXT_LENGTH, Tracer


class TracedServices:
    """A `ServiceRouter` that records when processing began, and the session."""

    def __init__(self, services: ServiceRouter, tracer: Tracer) -> None:
        self._services = services
        self._tracer = tracer

    def route(self, update: Update) -> BoundCall | None:
        """Begin the trace of an update; return the call of its route, or None."""
        self._tracer.begin(update.update_id, update.context.bot.id)
        return self._services.route(update)

    def route_event(self, update: Update, event: "Event.ValueType") -> BoundCall | None:
        """Return the call of an event's route; None if there is no route."""
        return self._services.route_event(update, event)

    def encode_callback_data(self, call: CallbackTarget) -> str | None:
        """Return the callback data for a button that calls an rpc, or None."""
        return self._services.encode_callback_data(call)

    def sign_callback_data(
        self, data: str, scope: str, delivery_id: str | None = None
    ) -> str:
        """Return the callback data of a button, signed if that is required."""
        return self._services.sign_callback_data(data, scope, delivery_id)

    async def resolve_user(self, update: Update) -> str | None:
        """Return the internal id of the user, and record how long that took.

        None if there is no id.
        """
        start = time.time()
        try:
            return await self._services.resolve_user(update)
        finally:
            self._tracer.note("session", start, time.time())


class TracedMessenger:
    """A `Messenger` that records replies, and whether Telegram accepted their calls."""

    def __init__(self, messenger: Messenger, tracer: Tracer) -> None:
        self._messenger = messenger
        self._tracer = tracer

    def render(
        self, update: Update, reply: Reply, *, edited_message_id: int | None = None
    ) -> Sequence[BotApiCall]:
        """Record the reply, and turn it into calls of the Bot API."""
        self._tracer.note_reply(reply)
        return self._messenger.render(
            update, reply, edited_message_id=edited_message_id
        )

    def preview(self, update: Update) -> StreamingPreview:
        """Create the object that shows a streamed reply while it grows."""
        return TracedPreview(self._messenger.preview(update), self._tracer)

    async def show_typing(self, update: Update) -> None:
        """Show that the bot is typing; that is no part of the reply."""
        await self._messenger.show_typing(update)

    async def learn_cooldown(self, chat_id: int) -> float:
        """Ask the other workers for a cool-down of a chat; return its seconds left."""
        return await self._messenger.learn_cooldown(chat_id)

    async def send(
        self,
        call: BotApiCall,
        patience: float = 0,
        wait: RetryPause = await_pause,
        before_request: BeforeRequest | None = None,
    ) -> Any:  # noqa: ANN401 - as in `Messenger`
        """Make one call of a reply; record it as a loss if Telegram rejects it.

        The request observer, `Tracer.note_post`, records the requests.
        """
        with self._tracer.sending():
            return await self._messenger.send(call, patience, wait, before_request)


class TracedPreview:
    """A `StreamingPreview` that records the final reply, but not the partial ones."""

    def __init__(self, preview: StreamingPreview, tracer: Tracer) -> None:
        self._preview = preview
        self._tracer = tracer

    @property
    def min_interval(self) -> float:
        """The seconds that the caller must leave between two calls of `show`."""
        return self._preview.min_interval

    async def show(self, text: str) -> None:
        """Show the user the text so far."""
        await self._preview.show(text)

    def finalize(self, reply: Reply) -> Sequence[BotApiCall]:
        """Record the final reply, and turn it into calls that replace the preview."""
        self._tracer.note_reply(reply)
        return self._preview.finalize(reply)


class UnaryTracingInterceptor(aio.UnaryUnaryClientInterceptor):
    """A gRPC interceptor that records unary calls of services, with their requests."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer

    async def intercept_unary_unary(
        self,
        continuation: Callable[..., Any],
        client_call_details: aio.ClientCallDetails,
        request: Any,  # noqa: ANN401 - bytes, whatever the stubs say
    ) -> Any:  # noqa: ANN401 - a call, or an answer
        """Make a call, wait for its end, record its request, duration and status."""
        path: Any = client_call_details.method  # bytes, as above
        method: str = path.decode()
        start = time.time()
        self._tracer.note_request(f"# {method}\n{_as_text(method, request)}")
        call = await continuation(client_call_details, request)
        status = "CANCELLED"
        try:
            status = await _status(call)
        finally:
            detail = f"{method.rpartition('/')[2]}: {status}"
            failed = status != "OK"
            self._tracer.note("call", start, time.time(), detail, failed=failed)
        return call


class StreamTracingInterceptor(aio.UnaryStreamClientInterceptor):
    """A gRPC interceptor that records streaming calls of services, each as one step."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer

    async def intercept_unary_stream(
        self,
        continuation: Callable[..., Any],
        client_call_details: aio.ClientCallDetails,
        request: Any,  # noqa: ANN401 - bytes, whatever the stubs say
    ) -> Any:  # noqa: ANN401 - the responses
        """Make a call; record its request now, and the rest after its last response."""
        path: Any = client_call_details.method  # bytes, as above
        method: str = path.decode()
        start = time.time()
        self._tracer.note_request(f"# {method}\n{_as_text(method, request)}")
        call = await continuation(client_call_details, request)
        return self._responses(call, method.rpartition("/")[2], start)

    async def _responses(
        self,
        call: Any,  # noqa: ANN401 - of either kind, as in `_status`
        name: str,
        start: float,
    ) -> AsyncIterator[Any]:
        """Yield the responses, in the task that processes the update."""
        status, count = "CANCELLED", 0
        try:
            async for response in call:
                count += 1
                yield response
            status = await _status(call)
        except aio.AioRpcError:
            status = await _status(call)
            raise
        finally:
            detail = f"{name}: {status}, {count} {'piece' if count == 1 else 'pieces'}"
            failed = status not in {"OK", "CANCELLED"}
            self._tracer.note("call", start, time.time(), detail, failed=failed)


async def _status(call: Any) -> str:  # noqa: ANN401 - of either kind
    """Wait for the end of a call and return its status and details."""
    code: grpc.StatusCode = await call.code()
    details: str = await call.details() or ""
    words = " ".join(details.split())[:MAX_TEXT_LENGTH]
    return f"{code.name}: {words}" if words else code.name


def _as_text(method: str, request: bytes) -> str:
    """Return a request in text format.

    The messages of a descriptor set are not in the default pool: their fields are shown
    by number.
    """
    service, _, name = method.strip("/").partition("/")
    try:
        descriptor = descriptor_pool.Default().FindServiceByName(service)
    except KeyError:
        message: Message = Empty.FromString(request)
        return text_format.MessageToString(
            message, as_utf8=True, print_unknown_fields=True
        )
    message_class = message_factory.GetMessageClass(
        descriptor.methods_by_name[name].input_type
    )
    message = message_class.FromString(request)
    return text_format.MessageToString(message, as_utf8=True)
