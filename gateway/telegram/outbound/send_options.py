"""Builds the options of a message: reply, notification, format and link preview."""

from typing import Any

from botgateway.chat.v1.reply_pb2 import (
    LINK_PREVIEW_SIZE_LARGE,
    LINK_PREVIEW_SIZE_SMALL,
    TEXT_FORMAT_HTML,
    TEXT_FORMAT_MARKDOWN_V2,
    LinkPreviewOptions,
    OutgoingMessage,
)

from gateway.telegram.outbound.inline_keyboard import ReportDropped
from gateway.telegram.outbound.urls import is_complete_url

_VALID_MESSAGE_IDS = range(1, 2**31)
"""The range of Telegram's message IDs in a chat."""

_PARSE_MODES = {TEXT_FORMAT_HTML: "HTML", TEXT_FORMAT_MARKDOWN_V2: "MarkdownV2"}

_PREVIEW_SIZES = {
    LINK_PREVIEW_SIZE_SMALL: "prefer_small_media",
    LINK_PREVIEW_SIZE_LARGE: "prefer_large_media",
}


def build_send_options(
    message: OutgoingMessage, report_dropped: ReportDropped
) -> dict[str, Any]:
    """Build the parameters of a message that all methods for sending accept.

    See the Bot API, sendMessage: reply_parameters, disable_notification,
    protect_content.

    Args:
        message: the service's message.
        report_dropped: called with a code if the message to reply to has an invalid id.
    """
    parameters: dict[str, Any] = {}
    if message.disable_notification:
        parameters["disable_notification"] = True
    if message.protect_content:
        parameters["protect_content"] = True
    if message.HasField("reply_to_message_id"):
        if message.reply_to_message_id in _VALID_MESSAGE_IDS:
            parameters["reply_parameters"] = {
                "message_id": message.reply_to_message_id,
                "allow_sending_without_reply": True,
            }
        else:
            report_dropped("reply_to_message_id_invalid")
    return parameters


def build_parse_mode(message: OutgoingMessage) -> dict[str, Any]:
    """Build the parameter `parse_mode`, a text's format; empty for a plain text."""
    mode = _PARSE_MODES.get(message.format)
    return {"parse_mode": mode} if mode else {}


def build_link_previews(
    message: OutgoingMessage, part_count: int, report_dropped: ReportDropped
) -> list[dict[str, Any]]:
    """Build the parameter `link_preview_options` of each part of a text.

    If the service sets a URL, its preview is shown only once: above the first part or
    below the last one.

    Args:
        message: the service's message.
        part_count: the number of parts into which the text was split.
        report_dropped: called with a code if the URL is invalid.

    Returns:
        For each part the parameter by its name; an empty dict for Telegram's default.
    """
    if not part_count or not message.HasField("link_preview_options"):
        return [{}] * part_count
    wanted = message.link_preview_options
    if wanted.is_disabled:
        return [_DISABLED_PREVIEW] * part_count
    enabled = {"link_preview_options": _build_link_preview(wanted, report_dropped)}
    if "url" not in enabled["link_preview_options"]:
        return [enabled if enabled["link_preview_options"] else {}] * part_count
    others = [_DISABLED_PREVIEW] * (part_count - 1)
    return [enabled, *others] if wanted.show_above_text else [*others, enabled]


_DISABLED_PREVIEW: dict[str, Any] = {"link_preview_options": {"is_disabled": True}}


def _build_link_preview(
    wanted: LinkPreviewOptions, report_dropped: ReportDropped
) -> dict[str, Any]:
    parameters: dict[str, Any] = {}
    if wanted.url:
        if is_complete_url(wanted.url, "http", "https"):
            parameters["url"] = wanted.url
        else:
            report_dropped("link_preview_url_invalid")
    if wanted.size in _PREVIEW_SIZES:
        parameters[_PREVIEW_SIZES[wanted.size]] = True
    if wanted.show_above_text:
        parameters["show_above_text"] = True
    return parameters
