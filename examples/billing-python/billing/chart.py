"""Draws an invoice as a PNG: a bar for each item."""

import struct
import zlib

from billing.ledger import Invoice

WIDTH = 320
_BAR_HEIGHT = 40
_GAP = 20
_PAPER, _INK = b"\xff\xff\xff", b"\x1e\x88\xe5"


def draw_chart(invoice: Invoice) -> bytes:
    """Return a PNG in which the longest bar is the highest price."""
    highest = max(item.price for item in invoice.items)
    rows = [_PAPER * WIDTH] * _GAP
    for item in invoice.items:
        length = int(item.price / highest * (WIDTH - 2 * _GAP))
        bar = _PAPER * _GAP + _INK * length
        rows += [bar + _PAPER * (WIDTH - _GAP - length)] * _BAR_HEIGHT
        rows += [_PAPER * WIDTH] * _GAP
    header = struct.pack(">IIBBBBB", WIDTH, len(rows), 8, 2, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + row for row in rows))
    chunks = ((b"IHDR", header), (b"IDAT", pixels), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(*chunk) for chunk in chunks)


def _chunk(name: bytes, content: bytes) -> bytes:
    checksum = struct.pack(">I", zlib.crc32(name + content))
    return struct.pack(">I", len(content)) + name + content + checksum
