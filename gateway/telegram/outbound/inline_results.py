"""Builds the results of inline queries (Bot API, InlineQueryResult).

A result that Telegram would reject is dropped, because Telegram would reject all
results of the answer.
"""

from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from botgateway.chat.v1.context_pb2 import CHAT_TYPE_CHANNEL, RequestContext
from botgateway.chat.v1.reply_pb2 import (
    MEDIA_TYPE_ANIMATION,
    MEDIA_TYPE_AUDIO,
    MEDIA_TYPE_PHOTO,
    MEDIA_TYPE_STICKER,
    MEDIA_TYPE_VIDEO,
    MEDIA_TYPE_VOICE,
    InlineQueryResult,
    Media,
    OutgoingMessage,
)

from gateway.domain.reply_limits import MAX_RESULT_TEXT, MAX_TEXT_LENGTH
from gateway.telegram.outbound.formatted_text_splitting import split_formatted_text
from gateway.telegram.outbound.media import MAX_CAPTION_LENGTH, is_file_id
from gateway.telegram.outbound.reply_markup import build_reply_markup
from gateway.telegram.outbound.send_options import build_link_previews, build_parse_mode
from gateway.telegram.outbound.text_splitting import is_blank
from gateway.telegram.outbound.urls import is_complete_url

Parameters = dict[str, Any]
ReportDropped = Callable[[str], None]

_MAX_ID_BYTES = 64
"""Bot API, InlineQueryResult: id."""

_MEDIA_TYPES = {
    MEDIA_TYPE_PHOTO: "photo",
    MEDIA_TYPE_VOICE: "voice",
    MEDIA_TYPE_AUDIO: "audio",
    MEDIA_TYPE_VIDEO: "video",
    MEDIA_TYPE_ANIMATION: "mpeg4_gif",
    MEDIA_TYPE_STICKER: "sticker",
}

_TYPES_WITH_TITLE = frozenset({"document", "voice", "audio", "video"})
"""Types of media whose results need a title."""
_TYPES_WITH_DESCRIPTION = frozenset({"photo", "document", "video"})
"""Types of media whose results may have a description."""
_DOCUMENT_MIME_TYPES = {"pdf": "application/pdf", "zip": "application/zip"}
"""The MIME types of the documents that a result may link to, by file extension."""

_ANY_CHAT = RequestContext(chat_type=CHAT_TYPE_CHANNEL)


def build_inline_result(
    result: InlineQueryResult, report_dropped: ReportDropped
) -> Parameters | None:
    """Build the Bot API's result of an inline query.

    Args:
        result: the service's result.
        report_dropped: called with the code of each dropped part, also of a dropped
            result.

    Returns:
        The parameters of the result; None if Telegram would reject it.
    """
    message = result.message
    if is_blank(result.result_id) or len(result.result_id.encode()) > _MAX_ID_BYTES:
        report_dropped("result_id_invalid")
        return None
    content = (
        _build_media(result, report_dropped)
        if message.media
        else _build_article(result, report_dropped)
    )
    if content is None:
        return None
    # A result may be shown in any chat, and web apps work only in private chats.
    markup = build_reply_markup(message, _ANY_CHAT, report_dropped)
    return {"id": result.result_id, **content, **markup}


def _untitled(result: InlineQueryResult) -> bool:
    """Return whether the title is empty for Telegram, which strips white space."""
    return is_blank(result.title) or result.title.isspace()


def _build_article(
    result: InlineQueryResult, report_dropped: ReportDropped
) -> Parameters | None:
    message = result.message
    text = _fit_text(message, MAX_TEXT_LENGTH, report_dropped)
    if _untitled(result) or not text:
        report_dropped("result_without_title" if _untitled(result) else "result_empty")
        return None
    [preview] = build_link_previews(message, 1, report_dropped)
    content = {"message_text": text, **build_parse_mode(message), **preview}
    parameters = {
        "type": "article",
        "title": result.title,
        "input_message_content": content,
    }
    if result.description:
        parameters["description"] = result.description
    if thumbnail := _choose_thumbnail(result, report_dropped):
        parameters["thumbnail_url"] = thumbnail
    return parameters


def _build_media(
    result: InlineQueryResult, report_dropped: ReportDropped
) -> Parameters | None:
    message, media = result.message, result.message.media[0]
    if len(message.media) > 1:
        report_dropped("result_with_several_media")
    media_type = _MEDIA_TYPES.get(media.type, "document")
    if media.file_id:
        if not is_file_id(media.file_id):
            report_dropped("media_file_id_invalid")
            return None
        source = f"{_find_field_prefix(media_type)}_file_id"
        parameters: Parameters | None = {"type": media_type, source: media.file_id}
    else:
        parameters = _build_media_from_url(
            media_type, media, _choose_thumbnail(result, report_dropped)
        )
    if parameters is None:
        report_dropped("result_media_unsupported")
        return None
    # Bot API, InlineQueryResultCachedAudio: the title is that of the file.
    has_title = media_type == "audio" and "audio_file_id" in parameters
    if media_type in _TYPES_WITH_TITLE and _untitled(result) and not has_title:
        report_dropped("result_without_title")
        return None
    if result.title and media_type != "sticker" and not has_title:
        parameters["title"] = result.title
    if result.description and media_type in _TYPES_WITH_DESCRIPTION:
        parameters["description"] = result.description
    if caption := _fit_text(message, MAX_CAPTION_LENGTH, report_dropped):
        if media_type == "sticker":
            report_dropped("result_caption_unsupported")
        else:
            parameters |= {"caption": caption, **build_parse_mode(message)}
    return parameters


def _build_media_from_url(
    media_type: str, media: Media, thumbnail: str
) -> Parameters | None:
    """Build the parameters of a file that Telegram downloads itself.

    Return None if Telegram would reject the file.
    """
    url = media.url
    extension = _find_extension(url)
    if media_type == "sticker" or not is_complete_url(url, "http", "https"):
        return None
    if media_type == "mpeg4_gif" and extension == "gif":
        media_type = "gif"
    parameters = {"type": media_type, f"{_find_field_prefix(media_type)}_url": url}
    if media_type in {"gif", "mpeg4_gif"} and not thumbnail:
        # Telegram accepts the animation itself as its thumbnail.
        mime_type = "image/gif" if media_type == "gif" else "video/mp4"
        return parameters | {"thumbnail_url": url, "thumbnail_mime_type": mime_type}
    if media_type == "photo":
        return parameters | {"thumbnail_url": thumbnail or url}
    if media_type == "video":
        # Telegram requires a thumbnail, and a video cannot be its own.
        parameters |= {"thumbnail_url": thumbnail, "mime_type": "video/mp4"}
        return parameters if thumbnail else None
    if media_type == "document":
        parameters |= {"mime_type": _DOCUMENT_MIME_TYPES.get(extension, "")}
        if not parameters["mime_type"]:
            return None
    if thumbnail and media_type not in {"voice", "audio"}:
        parameters["thumbnail_url"] = thumbnail
    return parameters


def _choose_thumbnail(result: InlineQueryResult, report_dropped: ReportDropped) -> str:
    url = result.thumbnail_url
    if not url or is_complete_url(url, "http", "https"):
        return url
    report_dropped("thumbnail_url_invalid")
    return ""


def _find_field_prefix(media_type: str) -> str:
    """Return the prefix of Telegram's field names for a type of media."""
    return media_type.removesuffix("_gif")


def _find_extension(url: str) -> str:
    """Return the file extension in a URL's path, such as "pdf"."""
    try:
        return urlsplit(url).path.rpartition(".")[2].lower()
    except ValueError:
        return ""


def _fit_text(
    message: OutgoingMessage, limit: int, report_dropped: ReportDropped
) -> str:
    """Return the first part of a text that fits into one message.

    An empty string means that nothing would be visible.
    """
    text = message.text[:MAX_RESULT_TEXT]
    parts = split_formatted_text(text, message.format, limit)
    if len(parts) > 1 or len(message.text) > MAX_RESULT_TEXT:
        report_dropped("text_too_long")
    return parts[0] if parts else ""
