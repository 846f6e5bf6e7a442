"""Rules about replies: the gateway has to be able to send all of them."""

from collections.abc import Iterator, Sequence
from typing import Any

from botgateway.chat.v1.context_pb2 import CHAT_TYPE_PRIVATE, RequestContext
from botgateway.chat.v1.message_pb2 import IncomingMessage
from botgateway.chat.v1.reply_pb2 import InlineKeyboardButton, OutgoingMessage, Reply

from gateway.conformance.requests import FIRST_USER
from gateway.conformance.rule import Rule, Subject, has_reply
from gateway.conformance.service_client import CallResult
from gateway.domain.update import ButtonPress, OtherUpdate, Update, UserMessage
from gateway.services.routing.route import Route
from gateway.services.routing.route_table import RouteTable
from gateway.telegram.outbound.renderer import render

_MAX_BUTTON_DATA_BYTES = 1024
"""The limit in the contract."""

_PLACEHOLDER = "x"
"""Stands for the data of a button, which another rule examines."""


async def _check_reply(subject: Subject) -> Sequence[str]:
    """Render the reply as the gateway does, and list what is dropped."""
    reply = _get_reply(await subject.call(subject.requests.build(subject.route)))
    for button in _iter_buttons(reply):
        if button.WhichOneof("action") in {"callback_data", "callback_target"}:
            button.callback_data = _PLACEHOLDER
    dropped: list[str] = []
    render(_build_update(subject.route), reply, dropped.append)
    return [f"the reply loses a part: {code}" for code in dict.fromkeys(dropped)]


async def _check_buttons(subject: Subject) -> Sequence[str]:
    reply = _get_reply(await subject.call(subject.requests.build(subject.route)))
    found = (_find_problem(button, subject.table) for button in _iter_buttons(reply))
    return list(dict.fromkeys(problem for problem in found if problem))


def _find_problem(button: InlineKeyboardButton, table: RouteTable) -> str:
    match button.WhichOneof("action"):
        case "callback_target":
            data = table.encode_callback_data(button.callback_target)
            return "" if data else "a button calls an rpc that no route leads to"
        case "callback_data":
            if len(button.callback_data.encode()) > _MAX_BUTTON_DATA_BYTES:
                return f"the data of a button has over {_MAX_BUTTON_DATA_BYTES} bytes"
            is_routed = table.match_callback_data(button.callback_data)
            return "" if is_routed else "no route reads the data of a button"
    return ""


async def _check_stream(subject: Subject) -> Sequence[str]:
    result = await subject.call(subject.requests.build(subject.route))
    if result.is_ok and not result.text and result.result is None:
        return ["the stream has neither text nor a reply"]
    return []


def _get_reply(result: CallResult) -> Reply:
    """Return a copy of what the user gets after all; of a stream it may be its text."""
    if isinstance(result.result, Reply):
        reply = Reply()
        reply.CopyFrom(result.result)
        return reply
    return Reply(messages=[OutgoingMessage(text=result.text)] if result.text else [])


def _iter_buttons(reply: Reply) -> Iterator[InlineKeyboardButton]:
    messages = [*reply.messages]
    messages += [result.message for result in reply.inline_answer.results]
    for message in messages:
        for row in message.inline_keyboard.rows:
            yield from row.buttons


def _build_update(route: Route) -> Update:
    """Return an update that the route serves, in the private chat with the bot."""
    fields: dict[str, Any] = {
        "update_id": 1,
        "ordering_key": str(FIRST_USER),
        "context": RequestContext(
            request_id="conformance",
            telegram_user_id=FIRST_USER,
            chat_id=FIRST_USER,
            chat_type=CHAT_TYPE_PRIVATE,
        ),
    }
    match route.trigger.kind:
        case "callback":
            return ButtonPress(
                update_type="callback_query",
                callback_query_id="1",
                message_id=1,
                **fields,
            )
        case "update_type":
            name = str(route.trigger.key)
            return OtherUpdate(
                update_type=name, trigger_name=name, query_id="1", **fields
            )
    message = IncomingMessage(text="hello")
    return UserMessage(update_type="message", message=message, **fields)


REPLY_RULES = (
    Rule(
        "sends_whole_replies",
        "The gateway drops no part of a reply.",
        _check_reply,
        has_reply,
    ),
    Rule(
        "routes_buttons",
        "The data of every button leads to a route.",
        _check_buttons,
        has_reply,
    ),
    Rule(
        "streams_answers",
        "A stream has text or ends with a reply.",
        _check_stream,
        lambda route: route.is_streaming,
    ),
)
