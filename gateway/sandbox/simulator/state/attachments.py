"""Builds Telegram's objects for files and other attachments.

The contents of the files are in `files.py`.
"""

import secrets

from gateway.sandbox.simulator.state.users import User
from gateway.sandbox.simulator.validation.rules import Parameters, Upload, number

CAPTIONED = frozenset({"photo", "document", "voice", "video"})
"""Kinds that may have a caption."""
KINDS = CAPTIONED | {"sticker", "location", "contact"}
"""The kinds of attachments that users can send."""


_SIZES = {
    "photo": (1280, 960),
    "video": (1280, 720),
    "animation": (480, 270),
    "sticker": (512, 512),
}
"""Width and height for files of unknown size; Telegram's objects require them."""

_TIMED = frozenset({"animation", "audio", "video", "voice"})
_UNNAMED = frozenset({"photo", "sticker", "voice"})
"""Kinds whose objects have no file name."""


def sent_file(kind: str, source: str | Upload, parameters: Parameters) -> Parameters:
    """Return the fields of a message for a file that the bot sent.

    The objects have all fields that the documentation of the Bot API requires.

    Args:
        kind: the type of file, such as photo.
        source: the uploaded file, or the id or URL of a file.
        parameters: the parameters of the call or of an album's item, with optional
            size, duration and title.

    Returns:
        The field of this kind; for an animation also the field document, as at
        Telegram.
    """
    size = None
    if isinstance(source, Upload):
        size = source.size
        file: Parameters = {
            "file_id": source.file_id,
            "file_unique_id": source.file_id[-16:],
            "file_size": source.file_size,
        }
        if kind not in _UNNAMED:
            file["file_name"] = source.file_name
        if kind not in {"photo", "sticker"}:
            file["mime_type"] = source.mime_type
    else:
        file = {"file_id": source, "file_unique_id": source[-16:]}
    if kind in _SIZES:
        width, height = size or _SIZES[kind]
        file["width"] = number(parameters.get("width")) or width
        file["height"] = number(parameters.get("height")) or height
    if kind in _TIMED:
        file["duration"] = max(number(parameters.get("duration")), 0)
    for name in ("performer", "title"):
        if kind == "audio" and parameters.get(name):
            file[name] = str(parameters[name])
    if kind == "sticker":
        file |= {"type": "regular", "is_animated": False, "is_video": False}
    if kind == "photo":
        return {kind: [file]}
    # "For backward compatibility" (Bot API, Message.animation).
    return {kind: file} | ({"document": file} if kind == "animation" else {})


def attachment(kind: str, user: User) -> Parameters:
    """Return the message fields of a made-up attachment of a user.

    Args:
        kind: one of `KINDS`.
        user: the user who sends it.

    Raises:
        KeyError: there is no such kind.
    """
    return {kind: _MAKERS[kind](user)}


def _photo(_: User) -> list[Parameters]:
    sizes = ((90, 67, 1_403), (320, 240, 21_877), (1280, 960, 190_442))
    return [
        _file("AgAC", size) | {"width": width, "height": height}
        for width, height, size in sizes
    ]


def _document(_: User) -> Parameters:
    more = {"file_name": "Invoice № 12.pdf", "mime_type": "application/pdf"}
    return _file("BQAC", 248_113) | more


def _voice(_: User) -> Parameters:
    return _file("AwAC", 15_211) | {"duration": 4, "mime_type": "audio/ogg"}


def _video(_: User) -> Parameters:
    more = {"duration": 7, "width": 1280, "height": 720, "mime_type": "video/mp4"}
    return _file("BAAC", 1_904_220) | more | {"file_name": "holiday.mp4"}


def _sticker(_: User) -> Parameters:
    return _file("CAAC", 20_441) | {
        "type": "regular",
        "emoji": "👋",
        "set_name": "SandboxWaves",
        "width": 512,
        "height": 512,
        "is_animated": False,
        "is_video": False,
    }


def _location(_: User) -> Parameters:
    return {"latitude": 48.208174, "longitude": 16.373819}


def _contact(user: User) -> Parameters:
    names = {"first_name": user.first_name}
    if user.last_name:
        names["last_name"] = user.last_name
    return {"phone_number": "+430000000000", **names, "user_id": user.id}


_MAKERS = {
    "photo": _photo,
    "document": _document,
    "voice": _voice,
    "video": _video,
    "sticker": _sticker,
    "location": _location,
    "contact": _contact,
}


def _file(prefix: str, size: int) -> Parameters:
    return {
        "file_id": f"{prefix}AgADGQEA{secrets.token_urlsafe(18)}",
        "file_unique_id": f"AQAD{secrets.token_urlsafe(8)}",
        "file_size": size,
    }
