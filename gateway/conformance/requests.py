"""Builds requests as the gateway does, and requests that a newer gateway might send."""

import contextlib
import uuid
from collections.abc import Mapping
from typing import Any

from botgateway.chat.v1.context_pb2 import CHAT_TYPE_PRIVATE, RequestContext
from google.protobuf.message import Message
from msgspec import Struct, field

from gateway.services.routing.route import Route

FIRST_USER = 7_700_000_001
"""The id of the first user. Each further user has the next number."""

_UNKNOWN_FIELDS = (
    b"\xc0\xf8\xff\xff\x0f\x01"  # field 536,870,792: the number 1
    b"\xca\xf8\xff\xff\x0f\x03new"  # field 536,870,793: the text "new"
)
"""Fields of a newer version of a contract."""

_UNKNOWN_ENUM_VALUE = 1_000


_SAMPLES = ("conformance", "1", "true")
"""Values of fields. The first one that is valid for a field is used; the names of an
enum are not known here, so such a field stays unset without a given value."""


class BuiltRequest(Struct, frozen=True):
    """An encoded request to a service for one made-up update.

    Attributes:
        request_id: the request id, which is also in the request.
        content: the encoded request.
    """

    request_id: str
    content: bytes


class RequestBuilder(Struct, frozen=True):
    """Builds the requests of one run of the rules.

    Attributes:
        values: values for the request fields that routes read from commands and
            buttons, by field name. Other such fields get a sample.
        run: a random text, which distinguishes the request ids from those of other
            runs.
    """

    values: Mapping[str, str]
    run: str = field(default_factory=lambda: uuid.uuid4().hex[:12])

    def build(
        self, route: Route, *, user: int = 0, text: str = "hello"
    ) -> BuiltRequest:
        """Build a request for a new update, with a new request id.

        Args:
            route: the route of the rpc.
            user: the number of the made-up user, from 0.
            text: the text of the message; not used if the request has no message.
        """
        return _encode(self._build_message(route, user, text), route)

    def build_empty(self, route: Route) -> BuiltRequest:
        """Build a request in which only a new request id is set."""
        request: Any = route.request_type()
        getattr(request, route.context_field).request_id = self._make_request_id()
        return _encode(request, route)

    def build_newer(self, route: Route) -> BuiltRequest:
        """Build a request as a newer gateway may send it.

        It has fields and values that the contract of today does not know.
        """
        request = self._build_message(route, 0, "hello")
        context: RequestContext = getattr(request, route.context_field)
        context.chat_type = _UNKNOWN_ENUM_VALUE  # type: ignore[assignment]  # newer
        context.MergeFromString(_UNKNOWN_FIELDS)
        request.MergeFromString(_UNKNOWN_FIELDS)
        return _encode(request, route)

    def _build_message(self, route: Route, user: int, text: str) -> Any:  # noqa: ANN401 - any request
        request: Any = route.request_type()
        user_id = FIRST_USER + user
        getattr(request, route.context_field).MergeFrom(
            RequestContext(
                request_id=self._make_request_id(),
                update_id=1,
                telegram_user_id=user_id,
                internal_user_id=f"conformance-{user_id}",
                chat_id=user_id,
                chat_type=CHAT_TYPE_PRIVATE,
                first_name="Conformance",
                language_code="en",
                message_id=1,
            )
        )
        if route.message_field:
            getattr(request, route.message_field).text = text
        elif route.payload_field:
            getattr(request, route.payload_field).SetInParent()
        if route.json_field:
            raw = getattr(request, route.json_field)
            raw.update_type, raw.json = str(route.trigger.key) or "message", b"{}"
        if route.event_field:
            setattr(request, route.event_field, route.trigger.key)
        for name, convert in route.variables:
            given = self.values.get(name)
            texts = _SAMPLES if given is None else (given,)
            for text_of_value in texts:
                with contextlib.suppress(ValueError):
                    setattr(request, name, convert(text_of_value))
                    break
        return request

    def _make_request_id(self) -> str:
        return f"conformance-{self.run}-{uuid.uuid4().hex[:12]}"


def _encode(request: Message, route: Route) -> BuiltRequest:
    context: RequestContext = getattr(request, route.context_field)
    return BuiltRequest(context.request_id, request.SerializeToString())
