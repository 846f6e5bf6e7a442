"""Reads the size of a picture from the start of its file: PNG, JPEG, GIF or WebP."""

import struct

_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""The markers that precede the size of a frame (ITU T.81, table B.1)."""

Size = tuple[int, int]
"""Width and height in pixels."""


def read_size(content: bytes) -> Size | None:
    """Return width and height of a picture; None if its format is not supported."""
    try:
        size = _read(content)
    except (struct.error, IndexError):
        return None
    return size if size and all(size) else None


def _read(content: bytes) -> Size | None:
    if content.startswith(b"\x89PNG\r\n\x1a\n"):
        return _unpack(">II", content, 16)
    if content[:6] in {b"GIF87a", b"GIF89a"}:
        return _unpack("<HH", content, 6)
    if content.startswith(b"\xff\xd8"):
        return _read_jpeg(content)
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return _read_webp(content)
    return None


def _read_jpeg(content: bytes) -> Size | None:
    place = 2
    while content[place] == 0xFF:
        marker = content[place + 1]
        if marker in _JPEG_FRAMES:
            height, width = _unpack(">HH", content, place + 5)
            return width, height
        (length,) = struct.unpack_from(">H", content, place + 2)
        place += 2 + length
    return None


def _read_webp(content: bytes) -> Size | None:
    kind = content[12:16]
    if kind == b"VP8X":
        first, second, third = struct.unpack_from("<HHH", content, 24)
        return (first | (second & 0xFF) << 16) + 1, (second >> 8 | third << 8) + 1
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", content, 21)
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8 ":
        width, height = _unpack("<HH", content, 26)
        return width & 0x3FFF, height & 0x3FFF
    return None


def _unpack(layout: str, content: bytes, place: int) -> Size:
    first, second = struct.unpack_from(layout, content, place)
    return first, second
