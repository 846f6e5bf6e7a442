"""Media in both directions: generated pictures, and attachments of users.

The pictures are made here, without files.
"""

import struct
import zlib

import aiohttp
from botgateway.chat.v1.message_pb2 import File, IncomingMessage
from botgateway.chat.v1.reply_pb2 import (
    MEDIA_TYPE_DOCUMENT,
    MEDIA_TYPE_PHOTO,
    Media,
    OutgoingMessage,
    Reply,
    Upload,
)

_COLOURS = ((229, 57, 53), (67, 160, 71), (30, 136, 229))
_SIDE = 128


def send_photo() -> Reply:
    """Return a reply with a generated photo and a caption."""
    message = OutgoingMessage(text="A photo, made a moment ago.", media=[_photo(0)])
    return Reply(messages=[message])


def send_album() -> Reply:
    """Return a reply with an album of three generated photos."""
    photos = [_photo(number) for number in range(len(_COLOURS))]
    message = OutgoingMessage(text="Three of a kind.", media=photos, album=True)
    return Reply(messages=[message])


def send_document() -> Reply:
    """Return a reply with a small CSV file."""
    report = Upload(
        content=b"day,steps\nMonday,7301\nTuesday,11200\n",
        file_name="steps.csv",
        mime_type="text/csv",
    )
    media = Media(type=MEDIA_TYPE_DOCUMENT, upload=report)
    return Reply(messages=[OutgoingMessage(text="Your steps.", media=[media])])


async def count_bytes(message: IncomingMessage) -> int | None:
    """Download the file of a message from the gateway, and return its size in bytes.

    Returns:
        The size; None if the message has no file, or the file has no URL.

    Raises:
        aiohttp.ClientError: the download failed.
    """
    kind = message.WhichOneof("attachment")
    file = getattr(getattr(message, kind), "file", None) if kind else None
    if not isinstance(file, File) or not file.url:
        return None
    size = 0
    async with (
        aiohttp.ClientSession(raise_for_status=True) as client,
        client.get(file.url) as response,
    ):
        async for piece in response.content.iter_chunked(64 * 1024):
            size += len(piece)
    return size


def _photo(number: int) -> Media:
    upload = Upload(content=_png(*_COLOURS[number]), file_name=f"{number + 1}.png")
    return Media(type=MEDIA_TYPE_PHOTO, upload=upload)


def _png(red: int, green: int, blue: int) -> bytes:
    """Return a PNG (RFC 2083): a square with a gradient from a color to dark."""
    shades = (256 * 3 // 4 - line for line in range(_SIDE))
    lines = (
        b"\0" + bytes(part * shade // 192 for part in (red, green, blue)) * _SIDE
        for shade in shades
    )
    header = struct.pack(">IIBBBBB", _SIDE, _SIDE, 8, 2, 0, 0, 0)
    pixels = zlib.compress(b"".join(lines))
    chunks = ((b"IHDR", header), (b"IDAT", pixels), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(*chunk) for chunk in chunks)


def _chunk(name: bytes, content: bytes) -> bytes:
    check = zlib.crc32(name + content)
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", check)
