"""How a message is sent: in answer to what, how loud, marked up, with which preview."""

from typing import Any

from botgateway.chat.v1.reply_pb2 import (
    LINK_PREVIEW_SIZE_LARGE,
    LINK_PREVIEW_SIZE_SMALL,
    TEXT_FORMAT_HTML,
    TEXT_FORMAT_MARKDOWN_V2,
    LinkPreview,
    OutgoingMessage,
)

from gateway.telegram.outbound.inline_keyboard import Report
from gateway.telegram.outbound.urls import is_address

_MESSAGE_IDS = range(1, 2**31)
"""What Telegram numbers the messages of a chat with."""

_PARSE_MODES = {TEXT_FORMAT_HTML: "HTML", TEXT_FORMAT_MARKDOWN_V2: "MarkdownV2"}

_SIZES = {
    LINK_PREVIEW_SIZE_SMALL: "prefer_small_media",
    LINK_PREVIEW_SIZE_LARGE: "prefer_large_media",
}


def options(message: OutgoingMessage, report: Report) -> dict[str, Any]:
    """Give the parameters that all methods which send something have in common.

    Bot API, sendMessage: reply_parameters, disable_notification, protect_content. Only
    the first of several messages answers another one.
    """
    chosen: dict[str, Any] = {}
    if message.silent:
        chosen["disable_notification"] = True
    if message.protect_content:
        chosen["protect_content"] = True
    if message.reply_to_message_id:
        if message.reply_to_message_id in _MESSAGE_IDS:
            chosen["reply_parameters"] = {
                "message_id": message.reply_to_message_id,
                "allow_sending_without_reply": True,
            }
        else:
            report("reply_to_message_id_invalid")
    return chosen


def parse_mode(message: OutgoingMessage) -> dict[str, Any]:
    """Give the parameter `parse_mode`; nothing for plain text."""
    mode = _PARSE_MODES.get(message.format)
    return {"parse_mode": mode} if mode else {}


def previews(
    message: OutgoingMessage, parts: int, report: Report
) -> list[dict[str, Any]]:
    """Give for each part of a text the parameter `link_preview_options`.

    A link that the service names is previewed once: above the first part or below the
    last one.
    """
    if not parts or not message.HasField("link_preview"):
        return [{}] * parts
    wanted = message.link_preview
    if wanted.disabled:
        return [_NO_PREVIEW] * parts
    shown = {"link_preview_options": _preview(wanted, report)}
    if "url" not in shown["link_preview_options"]:
        return [shown if shown["link_preview_options"] else {}] * parts
    others = [_NO_PREVIEW] * (parts - 1)
    return [shown, *others] if wanted.above_text else [*others, shown]


_NO_PREVIEW: dict[str, Any] = {"link_preview_options": {"is_disabled": True}}


def _preview(wanted: LinkPreview, report: Report) -> dict[str, Any]:
    chosen: dict[str, Any] = {}
    if wanted.url:
        if is_address(wanted.url, "http", "https"):
            chosen["url"] = wanted.url
        else:
            report("link_preview_url_invalid")
    if wanted.size in _SIZES:
        chosen[_SIZES[wanted.size]] = True
    if wanted.above_text:
        chosen["show_above_text"] = True
    return chosen
