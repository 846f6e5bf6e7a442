"""What the bot sends becomes Telegram's objects, with all required fields."""

import struct
import zlib
from typing import Any

import aiohttp
import pytest

from gateway.sandbox.simulator.image_size import read_size
from tests.integration.sandbox.bot import TOKEN, Bot

FILE = {"file_id", "file_unique_id"}
SIZED = FILE | {"width", "height"}
REQUIRED = {
    "photo": SIZED,
    "video": SIZED | {"duration"},
    "animation": SIZED | {"duration"},
    "audio": FILE | {"duration"},
    "voice": FILE | {"duration"},
    "document": FILE,
    "sticker": SIZED | {"type", "is_animated", "is_video"},
}
"""The fields without "Optional" in the Bot API's documentation of each object."""


def png(width: int, height: int) -> bytes:
    """Make a black picture."""

    def chunk(name: bytes, content: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(name + content))
        return struct.pack(">I", len(content)) + name + content + check

    rows = zlib.compress((b"\0" + b"\0" * width) * height)
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", rows), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


def jpeg(width: int, height: int) -> bytes:
    """Make the start of a picture with metadata before its frame."""
    metadata = b"\xff\xe1" + struct.pack(">H", 6) + b"Exif"
    tables = b"\xff\xc4" + struct.pack(">H", 4) + b"\xff\xc0"
    frame = b"\xff\xc2" + struct.pack(">HBHH", 11, 8, height, width)
    return b"\xff\xd8" + metadata + tables + frame + b"\3\1\x11\0"


def webp(kind: bytes, body: bytes) -> bytes:
    """Make the start of a picture."""
    chunk = kind + struct.pack("<I", len(body)) + body
    return b"RIFF" + struct.pack("<I", 4 + len(chunk)) + b"WEBP" + chunk


@pytest.mark.parametrize(
    ("content", "size"),
    [
        (png(640, 3), (640, 3)),
        (jpeg(1024, 768), (1024, 768)),
        (b"GIF89a" + struct.pack("<HH", 320, 200), (320, 200)),
        (webp(b"VP8X", bytes(4) + b"\xff\3\0" + b"\xff\1\0"), (1024, 512)),
        (webp(b"VP8L", b"\x2f" + struct.pack("<I", 99 | 49 << 14)), (100, 50)),
        (webp(b"VP8 ", b"\0\0\0\x9d\1\x2a" + struct.pack("<HH", 176, 144)), (176, 144)),
        (png(640, 3)[:20], None),
        (jpeg(1024, 768)[:12], None),
        (b"\xff\xd8\xff", None),
        (b"\xff\xd8" + b"\xff\xe0\0\0" * 3, None),
        (b"GIF89a\0\0\0\0", None),
        (webp(b"VP8L", b""), None),
        (b"%PDF", None),
        (b"", None),
    ],
)
def test_the_size_of_a_picture_is_in_its_first_bytes(
    content: bytes, size: tuple[int, int] | None
) -> None:
    """As the formats' own descriptions say; what is broken has none."""
    assert read_size(content) == size


async def upload(bot: Bot, kind: str, content: bytes, **more: object) -> dict[str, Any]:
    """Send a file; return the message."""
    form = aiohttp.FormData({"chat_id": "7"} | {n: str(v) for n, v in more.items()})
    form.add_field(kind, content, filename="a.bin", content_type="image/png")
    url = f"{bot.url}/bot{TOKEN}/send{kind.title()}"
    async with bot.session.post(url, data=form) as response:
        answer: dict[str, Any] = await response.json()
    assert answer["ok"], answer
    result: dict[str, Any] = answer["result"]
    return result


def file_of(message: dict[str, Any], kind: str) -> dict[str, Any]:
    """Return the object of the file."""
    file: dict[str, Any] = message[kind][-1] if kind == "photo" else message[kind]
    return file


@pytest.mark.parametrize("kind", sorted(REQUIRED))
async def test_a_file_has_all_required_fields(bot: Bot, kind: str) -> None:
    """However it is sent; libraries refuse a message without them."""
    by_id = await bot.result(f"send{kind.title()}", chat_id=7, **{kind: "AAAA"})
    for message in (by_id, await upload(bot, kind, b"odd bytes")):
        file = file_of(message, kind)
        assert REQUIRED[kind] <= file.keys()
        numbers = [file[name] for name in ("width", "height") if name in file]
        assert all(number > 0 for number in numbers)
    assert "file_name" not in file_of(by_id, kind)


async def test_a_photo_has_the_size_of_its_picture(bot: Bot) -> None:
    """And no name, which Telegram's photos do not have."""
    photo = file_of(await upload(bot, "photo", png(31, 17)), "photo")
    assert (photo["width"], photo["height"]) == (31, 17)
    assert not photo.keys() & {"file_name", "mime_type"}


async def test_what_the_call_says_of_a_video_counts(bot: Bot) -> None:
    """Width, height and duration."""
    said = {"width": 64, "height": 48, "duration": 9}
    video = file_of(await upload(bot, "video", b"film", **said), "video")
    assert {name: video[name] for name in said} == said


async def test_the_files_of_an_album_have_all_required_fields(bot: Bot) -> None:
    """Each item may say how large its file is."""
    media = [
        {"type": "photo", "media": "AAAA"},
        {"type": "video", "media": "BBBB", "width": 64, "height": 48, "duration": 9},
    ]
    photo, video = await bot.result("sendMediaGroup", chat_id=7, media=media)
    assert REQUIRED["photo"] <= photo["photo"][0].keys()
    assert (video["video"]["width"], video["video"]["duration"]) == (64, 9)


async def test_an_animation_is_a_document_too(bot: Bot) -> None:
    """For old apps (Bot API, Message.animation); people see one file."""
    message = await upload(bot, "animation", b"GIF89a" + struct.pack("<HH", 32, 20))
    assert message["document"] == message["animation"]
    assert message["animation"]["height"] == 20
    assert "(animation)" in await bot.page("/chats/7")
    assert "(document)" not in await bot.page("/chats/7")
