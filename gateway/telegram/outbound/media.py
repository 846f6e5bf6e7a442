"""Builds the Bot API calls that send media, one by one or as albums.

Pure: the same media always result in the same calls. Nothing is sent here.
"""

import mimetypes
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from botgateway.chat.v1 import reply_pb2 as contract
from msgspec import Struct, structs

from gateway.domain.bot_api_call import BotApiCall, Upload
from gateway.domain.reply_limits import MAX_MEDIA
from gateway.telegram.outbound.urls import is_complete_url, is_private_url

MAX_CAPTION_LENGTH = 1024
"""Bot API, sendPhoto and others: caption. In UTF-16 code units."""

MAX_ALBUM_ITEMS = 10
"""Bot API, sendMediaGroup: media."""

MAX_UPLOAD_BYTES = 50_000_000
MAX_PHOTO_BYTES = 10_000_000
"""Bot API, sendDocument and sendPhoto: 50 MB and 10 MB. It does not define MB; these
are the smaller ones, of 1,000,000 bytes."""

_TYPE_NAMES = {
    contract.MEDIA_TYPE_PHOTO: "photo",
    contract.MEDIA_TYPE_VOICE: "voice",
    contract.MEDIA_TYPE_AUDIO: "audio",
    contract.MEDIA_TYPE_VIDEO: "video",
    contract.MEDIA_TYPE_ANIMATION: "animation",
    contract.MEDIA_TYPE_STICKER: "sticker",
}

_ALBUM_GROUPS = {"photo": 1, "video": 1, "document": 2, "audio": 3}
"""Media with the same number may share an album; other types cannot be in an album."""

_DEFAULT_FILE_NAMES = {
    "photo": "photo.jpg",
    "voice": "voice.ogg",
    "audio": "audio.mp3",
    "video": "video.mp4",
    "animation": "animation.mp4",
    "sticker": "sticker.webp",
}

_FILE_ID = re.compile(r"[A-Za-z0-9_-]+")

Parameters = dict[str, Any]


class MediaItem(Struct, frozen=True):
    """One file to send.

    Attributes:
        media_type: Telegram's type of media, such as "photo".
        source: the id of a file at Telegram, a URL, or the file itself.
    """

    media_type: str
    source: str | Upload


def parse_media(
    media: Sequence[contract.Media],
    report_dropped: Callable[[str], None],
    *,
    local_server: bool = False,
) -> list[MediaItem]:
    """Convert the media of a message, in their order, without invalid ones.

    Args:
        media: the media of one message of a service.
        report_dropped: called with the code of each dropped part.
        local_server: True if the Bot API server is not Telegram's own. Such a server
            downloads URLs from inside the operator's network, so private URLs are
            dropped.
    """
    if len(media) > MAX_MEDIA:
        report_dropped("too_many_media")
    items = []
    for each in media[:MAX_MEDIA]:
        if local_server and each.url and is_private_url(each.url):
            report_dropped("media_url_private")
        elif item := _parse_item(each, report_dropped):
            items.append(item)
    return items


def is_file_id(text: str) -> bool:
    """Return whether a text has the form of the id of a file at Telegram.

    A local Bot API server would also accept URLs and paths of its own files as an id.
    """
    return _FILE_ID.fullmatch(text) is not None


def group_into_albums(items: Iterable[MediaItem]) -> list[list[MediaItem]]:
    """Group adjacent items that can form an album, up to 10; others stay alone."""
    groups: list[list[MediaItem]] = []
    for item in items:
        group = groups[-1] if groups else []
        fits_album = group and _ALBUM_GROUPS.get(
            group[0].media_type
        ) == _ALBUM_GROUPS.get(item.media_type, 0)
        if fits_album and len(group) < MAX_ALBUM_ITEMS:
            group.append(item)
        else:
            groups.append([item])
    return groups


def build_media_calls(
    groups: Sequence[Sequence[MediaItem]],
    caption: Parameters,
    keyboard: Parameters,
) -> tuple[list[BotApiCall], bool, bool]:
    """Build the calls that send media, without the parameters of the chat.

    An album shows the caption of its first file, and cannot have buttons. A caption or
    keyboard that does not fit is left out of the calls; the caller may send it in a
    message behind them.

    Args:
        groups: the items of each call; at least one group.
        caption: the parameters of the caption; empty if there is none.
        keyboard: the parameters of the buttons under the last item; empty if there are
            none.

    Returns:
        The calls, whether they include the caption, and whether they include the
        keyboard.
    """
    has_album = any(len(group) > 1 for group in groups)
    caption_group = groups[0] if has_album else groups[-1]
    has_caption = bool(caption) and caption_group[0].media_type != "sticker"
    if has_album and keyboard:
        has_caption = False  # The text becomes a message, which can have the buttons.
    calls = [
        _build_call(group, caption if has_caption and group is caption_group else {})
        for group in groups
    ]
    has_keyboard = len(groups[-1]) == 1 and has_caption == bool(caption)
    if has_keyboard:
        calls[-1].parameters.update(keyboard)
    return calls, has_caption, has_keyboard


def remove_parse_modes(call: BotApiCall) -> BotApiCall | None:
    """Return an album's call whose captions are plain texts.

    Returns None if none of the captions has a format.
    """
    media = [
        {name: part for name, part in each.items() if name != "parse_mode"}
        for each in call.parameters["media"]
    ]
    if media == call.parameters["media"]:
        return None
    return structs.replace(call, parameters={**call.parameters, "media": media})


def remove_media(call: BotApiCall) -> BotApiCall | None:
    """Return a call that sends the caption as a message, instead of the media.

    Returns None if there is no caption.
    """
    parameters = call.parameters
    caption_item = parameters["media"][0] if "media" in parameters else parameters
    if "caption" not in caption_item:
        return None
    text = {"text": caption_item["caption"]}
    if "parse_mode" in caption_item:
        text["parse_mode"] = caption_item["parse_mode"]
    media_type = call.method.removeprefix("send").lower()
    kept = {
        name: value
        for name, value in parameters.items()
        if name not in {media_type, "media", "caption"}
    }
    return structs.replace(call, method="sendMessage", parameters=kept | text, files={})


def _build_call(group: Sequence[MediaItem], caption: Parameters) -> BotApiCall:
    if len(group) == 1:
        media_type, source = group[0].media_type, group[0].source
        parameters = {**caption}
        method = f"send{media_type.capitalize()}"
        if isinstance(source, Upload):
            return BotApiCall(
                method=method, parameters=parameters, files={media_type: source}
            )
        return BotApiCall(method=method, parameters={**parameters, media_type: source})
    files: dict[str, Upload] = {}
    media: list[Parameters] = []
    for number, item in enumerate(group):
        source = item.source
        if isinstance(source, Upload):
            files[f"file{number}"] = source
            source = f"attach://file{number}"
        media.append({"type": item.media_type, "media": source})
    media[0].update(caption)
    return BotApiCall(method="sendMediaGroup", parameters={"media": media}, files=files)


def _parse_item(
    media: contract.Media, report_dropped: Callable[[str], None]
) -> MediaItem | None:
    media_type = _TYPE_NAMES.get(media.type, "document")
    if media.WhichOneof("source") == "upload":
        return _parse_upload(media_type, media.upload, report_dropped)
    source = media.file_id or media.url
    if not source:
        report_dropped("media_without_source")
        return None
    if media.url and not is_complete_url(media.url, "http", "https"):
        report_dropped("media_url_invalid")
        return None
    if media.file_id and not is_file_id(media.file_id):
        report_dropped("media_file_id_invalid")
        return None
    return MediaItem(media_type, source)


def _parse_upload(
    media_type: str, upload: contract.Upload, report_dropped: Callable[[str], None]
) -> MediaItem | None:
    content = upload.content  # Each access makes a copy.
    if not content:
        report_dropped("media_without_source")
        return None
    if len(content) > (MAX_PHOTO_BYTES if media_type == "photo" else MAX_UPLOAD_BYTES):
        report_dropped("upload_too_large")
        return None
    name = (
        upload.file_name
        or _DEFAULT_FILE_NAMES.get(media_type)
        or _choose_file_name(upload.mime_type)
    )
    file = Upload(content=content, file_name=name, mime_type=upload.mime_type or None)
    return MediaItem(media_type, file)


def _choose_file_name(mime_type: str) -> str:
    return "file" + (mimetypes.guess_extension(mime_type) or "")
