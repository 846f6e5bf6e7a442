"""Counts the bytes of uploads in a serialized message, without decoding it.

Only files need many megabytes. Decoding four million bytes of messages and buttons
blocks the event loop, and so all users, for hundreds of milliseconds. The sizes of the
files are read from the wire format, in a few steps whatever their sizes.
"""

from collections.abc import Iterator, Sequence

from botgateway.chat.v1.reply_pb2 import Media, OutgoingMessage, Upload

from gateway.domain.reply_limits import MAX_MEDIA, MAX_MESSAGES

MAX_BYTES_WITH_FILES = 51 * 2**20
"""Per message: the largest file that Telegram accepts, 50 MB, and some overhead."""

MAX_BYTES_WITHOUT_FILES = 4 * 2**20
"""Limit for a message, or the sum of all messages of a stream, without files. It is
gRPC's default limit for a message."""

UPLOAD_PATH = (
    OutgoingMessage.DESCRIPTOR.fields_by_name["media"].number,
    Media.DESCRIPTOR.fields_by_name["upload"].number,
    Upload.DESCRIPTOR.fields_by_name["content"].number,
)
"""The path from an outgoing message to the contents of its files, as field numbers."""

_MAX_FIELDS = 10 * (MAX_MESSAGES + MAX_MEDIA)
"""Maximum number of fields to inspect; no valid reply with files has more."""


def count_file_bytes(message: bytes, path: Sequence[int]) -> int:
    """Return how many bytes of a serialized message are contents of files.

    At most `_MAX_FIELDS` fields are looked at; files behind them are not counted.

    Args:
        message: the serialized message.
        path: the field numbers that lead from the message to the contents, such as
            `UPLOAD_PATH`; empty if it can have no files, for which the result is 0.
    """
    total = 0
    fields = 0
    messages = [(0, len(message), 0)] if path else []
    while messages:
        start, end, depth = messages.pop()
        for number, content_start, content_end in iter_fields(message, start, end):
            fields += 1
            if fields > _MAX_FIELDS:
                return total
            if number != path[depth]:
                continue
            if depth == len(path) - 1:
                total += content_end - content_start
            else:
                messages.append((content_start, content_end, depth + 1))
    return total


def iter_fields(data: bytes, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Yield the number, start and end of each field of a serialized message.

    Start and end are the positions of the content in `data`. For a field without a
    length, such as a number, all three are 0. Ends at the first bytes that are not a
    valid field; decoding the message reports them.

    Args:
        data: bytes that contain the message.
        start: the position at which the message starts.
        end: the position behind the message.
    """
    position = start
    while position < end:
        tag, position = _read_varint(data, position, end)
        field = (0, 0, 0)
        match tag & 7:
            case 0:
                _, position = _read_varint(data, position, end)
            case 1:
                position += 8
            case 2:
                length, position = _read_varint(data, position, end)
                if position + length > end:
                    return
                field = (tag >> 3, position, position + length)
                position += length
            case 5:
                position += 4
            case _:
                return
        yield field


def _read_varint(data: bytes, position: int, end: int) -> tuple[int, int]:
    """Read a varint; return it and the position after it."""
    value = shift = 0
    while position < end and shift < 70:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
    return value, end
