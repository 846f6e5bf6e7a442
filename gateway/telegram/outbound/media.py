"""From the media of a message to calls of the Bot API: one by one, or as albums.

Pure: the same media always give the same calls.
"""

import mimetypes
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from botgateway.chat.v1 import reply_pb2 as contract
from msgspec import Struct, structs

from gateway.domain.bot_api_call import BotApiCall, Upload
from gateway.domain.reply_limits import MAX_MEDIA
from gateway.telegram.outbound.urls import is_address, is_private

CAPTION_LIMIT = 1024
"""Bot API, sendPhoto and others: caption. In UTF-16 code units."""

ALBUM_LIMIT = 10
"""Bot API, sendMediaGroup: media."""

UPLOAD_BYTES = 50_000_000
PHOTO_BYTES = 10_000_000
"""Bot API, sendDocument and sendPhoto: 50 MB and 10 MB. What an MB is, it does not say;
this is the smaller one."""

_KINDS = {
    contract.MEDIA_KIND_PHOTO: "photo",
    contract.MEDIA_KIND_VOICE: "voice",
    contract.MEDIA_KIND_AUDIO: "audio",
    contract.MEDIA_KIND_VIDEO: "video",
    contract.MEDIA_KIND_ANIMATION: "animation",
    contract.MEDIA_KIND_STICKER: "sticker",
}

_ALBUMS = {"photo": 1, "video": 1, "document": 2, "audio": 3}
"""Which kinds go into an album together. The others go into none."""

_NAMES = {
    "photo": "photo.jpg",
    "voice": "voice.ogg",
    "audio": "audio.mp3",
    "video": "video.mp4",
    "animation": "animation.mp4",
    "sticker": "sticker.webp",
}

_FILE_ID = re.compile(r"[A-Za-z0-9_-]+")

Parameters = dict[str, Any]


class Item(Struct, frozen=True):
    """One file to send.

    Attributes:
        kind: Telegram's word, such as "photo".
        source: its id, its address, or the file itself.
    """

    kind: str
    source: str | Upload


def read_media(
    media: Sequence[contract.Media],
    report: Callable[[str], None],
    *,
    local_server: bool = False,
) -> list[Item]:
    """Read what is to be sent, in its order.

    Args:
        media: of one message.
        report: called with a word for everything that has to be left out.
        local_server: the Bot API server is not Telegram's own. It downloads addresses
            from inside the operator's network, so private ones are left out.
    """
    if len(media) > MAX_MEDIA:
        report("too_many_media")
    items = []
    for each in media[:MAX_MEDIA]:
        if local_server and each.url and is_private(each.url):
            report("media_url_private")
        elif item := _item(each, report):
            items.append(item)
    return items


def is_file_id(text: str) -> bool:
    """Tell whether a text can be the id of a file.

    A Bot API server of one's own also takes addresses and its own files in its place.
    """
    return _FILE_ID.fullmatch(text) is not None


def in_albums(items: Iterable[Item]) -> list[list[Item]]:
    """Put neighbours together that make an album; the others stay alone."""
    groups: list[list[Item]] = []
    for item in items:
        group = groups[-1] if groups else []
        joins = group and _ALBUMS.get(group[0].kind) == _ALBUMS.get(item.kind, 0)
        if joins and len(group) < ALBUM_LIMIT:
            group.append(item)
        else:
            groups.append([item])
    return groups


def media_calls(
    groups: Sequence[Sequence[Item]],
    caption: Parameters,
    keyboard: Parameters,
) -> tuple[list[BotApiCall], bool, bool]:
    """Make the calls that send media.

    An album shows a caption under its first file, and has no buttons.

    Args:
        groups: what is sent together. At least one.
        caption: the parameters of the caption. Empty: there is none.
        keyboard: the parameters of the buttons, under the last one. Empty: none.

    Returns:
        The calls, and whether caption and keyboard are in them.
    """
    has_album = any(len(group) > 1 for group in groups)
    bearer = groups[0] if has_album else groups[-1]
    captioned = bool(caption) and bearer[0].kind != "sticker"
    if has_album and keyboard:
        captioned = False  # the text is what the buttons can stand under
    calls = [
        _call(group, caption if captioned and group is bearer else {})
        for group in groups
    ]
    buttoned = len(groups[-1]) == 1 and captioned == bool(caption)
    if buttoned:
        calls[-1].parameters.update(keyboard)
    return calls, captioned, buttoned


def without_formats(call: BotApiCall) -> BotApiCall | None:
    """Take the formats out of an album. None: there are none."""
    media = [
        {name: part for name, part in each.items() if name != "parse_mode"}
        for each in call.parameters["media"]
    ]
    if media == call.parameters["media"]:
        return None
    return structs.replace(call, parameters={**call.parameters, "media": media})


def without_media(call: BotApiCall) -> BotApiCall | None:
    """Send the caption alone. None: there is none."""
    parameters = call.parameters
    captioned = parameters["media"][0] if "media" in parameters else parameters
    if "caption" not in captioned:
        return None
    text = {"text": captioned["caption"]}
    if "parse_mode" in captioned:
        text["parse_mode"] = captioned["parse_mode"]
    kind = call.method.removeprefix("send").lower()
    kept = {
        name: value
        for name, value in parameters.items()
        if name not in {kind, "media", "caption"}
    }
    return structs.replace(call, method="sendMessage", parameters=kept | text, files={})


def _call(group: Sequence[Item], caption: Parameters) -> BotApiCall:
    if len(group) == 1:
        kind, source = group[0].kind, group[0].source
        parameters = {**caption}
        method = f"send{kind.capitalize()}"
        if isinstance(source, Upload):
            return BotApiCall(
                method=method, parameters=parameters, files={kind: source}
            )
        return BotApiCall(method=method, parameters={**parameters, kind: source})
    files: dict[str, Upload] = {}
    media: list[Parameters] = []
    for number, item in enumerate(group):
        source = item.source
        if isinstance(source, Upload):
            files[f"file{number}"] = source
            source = f"attach://file{number}"
        media.append({"type": item.kind, "media": source})
    media[0].update(caption)
    return BotApiCall(method="sendMediaGroup", parameters={"media": media}, files=files)


def _item(media: contract.Media, report: Callable[[str], None]) -> Item | None:
    kind = _KINDS.get(media.kind, "document")
    if media.WhichOneof("source") == "upload":
        return _upload(kind, media.upload, report)
    source = media.file_id or media.url
    if not source:
        report("media_without_source")
        return None
    if media.url and not is_address(media.url, "http", "https"):
        report("media_url_invalid")
        return None
    if media.file_id and not is_file_id(media.file_id):
        report("media_file_id_invalid")
        return None
    return Item(kind, source)


def _upload(
    kind: str, upload: contract.Upload, report: Callable[[str], None]
) -> Item | None:
    content = upload.content  # each reading makes a copy
    if not content:
        report("media_without_source")
        return None
    if len(content) > (PHOTO_BYTES if kind == "photo" else UPLOAD_BYTES):
        report("upload_too_large")
        return None
    name = upload.file_name or _NAMES.get(kind) or _name_of(upload.mime_type)
    file = Upload(content=content, file_name=name, mime_type=upload.mime_type)
    return Item(kind, file)


def _name_of(mime_type: str) -> str:
    return "file" + (mimetypes.guess_extension(mime_type) or "")
