"""From a call that Telegram refused to one that it may take.

Pure: the same call and fault always give the same call.
"""

from typing import Any

from msgspec import structs

from gateway.domain.bot_api_call import TEXT_EDITS, Call
from gateway.domain.errors import Part
from gateway.telegram.outbound.media import without_formats, without_media
from gateway.telegram.outbound.query_answers import amend_answer

_PARTS = {
    Part.FORMAT: "parse_mode",
    Part.KEYBOARD: "reply_markup",
    Part.TOPIC: "message_thread_id",
    Part.REPLY: "reply_parameters",
    Part.MEDIA: "link_preview_options",  # of a text, whose link cannot be shown
}

_KEYBOARD_EDITS = frozenset(
    {"editMessageReplyMarkup", "editEphemeralMessageReplyMarkup"}
)


def amend(call: Call, rejected: Part) -> Call | None:
    """Change what Telegram refused in a call. None: nothing can be done."""
    if rejected is Part.EDIT:
        return _send_anew(call)
    if rejected is Part.FORMAT and call.method == "sendMediaGroup":
        return without_formats(call)
    if call.method.startswith("answer"):
        return amend_answer(call, rejected)
    is_text = call.method in {"sendMessage", *TEXT_EDITS}
    if rejected in {Part.MEDIA, Part.SIZE} and not is_text:
        return without_media(call)
    part = _PARTS.get(rejected)
    # An edit of the keyboard alone without its keyboard would remove the old one.
    if part not in call.parameters or call.method in _KEYBOARD_EDITS:
        return None
    return structs.replace(call, parameters=_without(part, call.parameters))


def _send_anew(call: Call) -> Call | None:
    if call.method not in TEXT_EDITS or not call.chat_id:
        return None
    parameters = call.parameters
    for name in ("message_id", "ephemeral_message_id", "receiver_user_id"):
        parameters = _without(name, parameters)
    parameters |= call.anew or {}
    return structs.replace(call, method="sendMessage", parameters=parameters, anew=None)


def _without(name: str, parameters: dict[str, Any]) -> dict[str, Any]:
    return {each: value for each, value in parameters.items() if each != name}
