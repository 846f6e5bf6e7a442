"""Results of inline queries: from the contract to the Bot API (InlineQueryResult).

A result that Telegram would refuse is left out: it would take all others along.
"""

from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from botgateway.chat.v1.context_pb2 import CHAT_TYPE_CHANNEL, RequestContext
from botgateway.chat.v1.reply_pb2 import (
    MEDIA_KIND_ANIMATION,
    MEDIA_KIND_AUDIO,
    MEDIA_KIND_PHOTO,
    MEDIA_KIND_STICKER,
    MEDIA_KIND_VIDEO,
    MEDIA_KIND_VOICE,
    InlineResult,
    Media,
    OutgoingMessage,
)

from gateway.domain.reply_limits import MAX_RESULT_TEXT
from gateway.telegram.outbound.formatted_text import split_formatted
from gateway.telegram.outbound.media import CAPTION_LIMIT, is_file_id
from gateway.telegram.outbound.reply_markup import reply_markup
from gateway.telegram.outbound.send_options import parse_mode, previews
from gateway.telegram.outbound.text_splitting import blank
from gateway.telegram.outbound.urls import is_address

Parameters = dict[str, Any]
Report = Callable[[str], None]

_TEXT_LIMIT = 4096
_ID_BYTES = 64
"""Bot API, InlineQueryResult: id."""

_MEDIA = {
    MEDIA_KIND_PHOTO: "photo",
    MEDIA_KIND_VOICE: "voice",
    MEDIA_KIND_AUDIO: "audio",
    MEDIA_KIND_VIDEO: "video",
    MEDIA_KIND_ANIMATION: "mpeg4_gif",
    MEDIA_KIND_STICKER: "sticker",
}

_TITLED = frozenset({"document", "voice", "audio", "video"})
"""Kinds of media whose results need a title."""
_DESCRIBED = frozenset({"photo", "document", "video"})
"""Kinds of media whose results may have a description."""
_DOCUMENTS = {"pdf": "application/pdf", "zip": "application/zip"}
"""The kinds of files that an address may lead to."""

_ANY_CHAT = RequestContext(chat_type=CHAT_TYPE_CHANNEL)


def inline_result(result: InlineResult, report: Report) -> Parameters | None:
    """Give a result as Telegram takes it; None if it would refuse it.

    Args:
        result: what the service wants.
        report: called with a word for everything that is left out.
    """
    message = result.message
    if blank(result.result_id) or len(result.result_id.encode()) > _ID_BYTES:
        report("result_id_invalid")
        return None
    content = _media(result, report) if message.media else _article(result, report)
    if content is None:
        return None
    # They may be shown in any chat: web apps are for private ones only.
    markup = reply_markup(message, _ANY_CHAT, report)
    return {"id": result.result_id, **content, **markup}


def _untitled(result: InlineResult) -> bool:
    """Tell whether the title is empty for Telegram, which strips all white space."""
    return blank(result.title) or result.title.isspace()


def _article(result: InlineResult, report: Report) -> Parameters | None:
    message = result.message
    text = _fitting(message, _TEXT_LIMIT, report)
    if _untitled(result) or not text:
        report("result_without_title" if _untitled(result) else "result_empty")
        return None
    [preview] = previews(message, 1, report)
    content = {"message_text": text, **parse_mode(message), **preview}
    shown = {"type": "article", "title": result.title, "input_message_content": content}
    if result.description:
        shown["description"] = result.description
    if thumbnail := _thumbnail(result, report):
        shown["thumbnail_url"] = thumbnail
    return shown


def _media(result: InlineResult, report: Report) -> Parameters | None:
    message, media = result.message, result.message.media[0]
    if len(message.media) > 1:
        report("result_with_several_media")
    kind = _MEDIA.get(media.kind, "document")
    if media.file_id:
        if not is_file_id(media.file_id):
            report("media_file_id_invalid")
            return None
        source = f"{_stem(kind)}_file_id"
        shown: Parameters | None = {"type": kind, source: media.file_id}
    else:
        shown = _at_address(kind, media, _thumbnail(result, report))
    if shown is None:
        report("result_media_unsupported")
        return None
    # Bot API, InlineQueryResultCachedAudio: the title is the one of the file.
    has_title = kind == "audio" and "audio_file_id" in shown
    if kind in _TITLED and _untitled(result) and not has_title:
        report("result_without_title")
        return None
    if result.title and kind != "sticker" and not has_title:
        shown["title"] = result.title
    if result.description and kind in _DESCRIBED:
        shown["description"] = result.description
    if caption := _fitting(message, CAPTION_LIMIT, report):
        if kind == "sticker":
            report("result_caption_unsupported")
        else:
            shown |= {"caption": caption, **parse_mode(message)}
    return shown


def _at_address(kind: str, media: Media, thumbnail: str) -> Parameters | None:
    """Give what Telegram has to know of a file that it downloads itself."""
    url = media.url
    ending = _ending(url)
    if kind == "sticker" or not is_address(url, "http", "https"):
        return None
    if kind == "mpeg4_gif" and ending == "gif":
        kind = "gif"
    shown = {"type": kind, f"{_stem(kind)}_url": url}
    if kind in {"gif", "mpeg4_gif"} and not thumbnail:
        # Telegram takes the animation itself for that.
        mime_type = "image/gif" if kind == "gif" else "video/mp4"
        return shown | {"thumbnail_url": url, "thumbnail_mime_type": mime_type}
    if kind == "photo":
        return shown | {"thumbnail_url": thumbnail or url}
    if kind == "video":
        # The picture is required, and a video is none.
        shown |= {"thumbnail_url": thumbnail, "mime_type": "video/mp4"}
        return shown if thumbnail else None
    if kind == "document":
        shown |= {"mime_type": _DOCUMENTS.get(ending, "")}
        if not shown["mime_type"]:
            return None
    if thumbnail and kind not in {"voice", "audio"}:
        shown["thumbnail_url"] = thumbnail
    return shown


def _thumbnail(result: InlineResult, report: Report) -> str:
    url = result.thumbnail_url
    if not url or is_address(url, "http", "https"):
        return url
    report("thumbnail_url_invalid")
    return ""


def _stem(kind: str) -> str:
    """Give the word for a kind that Telegram's field names begin with."""
    return kind.removesuffix("_gif")


def _ending(url: str) -> str:
    """Give what the path of an address ends with, such as "pdf"."""
    try:
        return urlsplit(url).path.rpartition(".")[2].lower()
    except ValueError:
        return ""


def _fitting(message: OutgoingMessage, limit: int, report: Report) -> str:
    """Give as much of a text as one message takes. Empty: nothing would be seen."""
    text = message.text[:MAX_RESULT_TEXT]
    parts = split_formatted(text, message.format, limit)
    if len(parts) > 1 or len(message.text) > MAX_RESULT_TEXT:
        report("text_too_long")
    return parts[0] if parts else ""
