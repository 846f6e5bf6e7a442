"""Simplifies a call that Telegram rejected, so that Telegram may accept it.

Pure: the same call and rejected part always result in the same call.
"""

from typing import Any

from msgspec import structs

from gateway.domain.bot_api_call import TEXT_EDITS, BotApiCall
from gateway.domain.errors import RejectedPart
from gateway.telegram.outbound.media import remove_media, remove_parse_modes
from gateway.telegram.outbound.query_answers import degrade_answer

_PARAMETERS_BY_PART = {
    RejectedPart.FORMAT: "parse_mode",
    RejectedPart.KEYBOARD: "reply_markup",
    RejectedPart.TOPIC: "message_thread_id",
    RejectedPart.REPLY: "reply_parameters",
    RejectedPart.MEDIA: "link_preview_options",  # of a text, whose link cannot be shown
}

_KEYBOARD_EDITS = frozenset(
    {"editMessageReplyMarkup", "editEphemeralMessageReplyMarkup"}
)


def degrade(call: BotApiCall, rejected: RejectedPart) -> BotApiCall | None:
    """Return a call without the part of the rejected one that Telegram did not accept.

    Media become a text of their caption. An edit becomes a new message, if the call
    allows that, or the edit of a caption.

    Args:
        call: the call that Telegram rejected.
        rejected: the part that Telegram named.

    Returns:
        The simpler call; None if the call has no such part or is useless without it.
    """
    if rejected is RejectedPart.EDIT:
        return _replace_edit(call)
    if rejected is RejectedPart.FORMAT and call.method == "sendMediaGroup":
        return remove_parse_modes(call)
    if call.method.startswith("answer"):
        return degrade_answer(call, rejected)
    is_text = call.method in {"sendMessage", *TEXT_EDITS}
    if rejected in {RejectedPart.MEDIA, RejectedPart.SIZE} and not is_text:
        return remove_media(call)
    part = _PARAMETERS_BY_PART.get(rejected)
    # Without its keyboard, an edit of only the keyboard would remove the old one.
    if part not in call.parameters or call.method in _KEYBOARD_EDITS:
        return None
    return structs.replace(call, parameters=_remove_parameter(part, call.parameters))


def _replace_edit(call: BotApiCall) -> BotApiCall | None:
    """Return what replaces an edit that Telegram rejected: a new message, if allowed.

    Otherwise the message may have a file, whose caption is edited instead.
    """
    if call.resend_parameters is None:
        return _convert_to_caption_edit(call)
    return _convert_edit_to_send(call)


def _convert_edit_to_send(call: BotApiCall) -> BotApiCall | None:
    if call.method not in TEXT_EDITS or call.chat_id is None:
        return None
    parameters = call.parameters
    for name in ("message_id", "ephemeral_message_id", "receiver_user_id"):
        parameters = _remove_parameter(name, parameters)
    parameters |= call.resend_parameters or {}
    return structs.replace(
        call, method="sendMessage", parameters=parameters, resend_parameters=None
    )


def _convert_to_caption_edit(call: BotApiCall) -> BotApiCall | None:
    if call.method != "editMessageText":
        return None
    parameters = _remove_parameter("link_preview_options", call.parameters)
    parameters["caption"] = parameters.pop("text")
    return structs.replace(call, method="editMessageCaption", parameters=parameters)


def _remove_parameter(name: str, parameters: dict[str, Any]) -> dict[str, Any]:
    return {each: value for each, value in parameters.items() if each != name}
