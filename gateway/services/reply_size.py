"""How large an answer of a service may be, judged before it is decoded.

Only files need many megabytes. Four million bytes of messages and buttons cost the
event loop hundreds of milliseconds to decode alone, and all users wait meanwhile. Where
the bytes are is read from the wire format: a reply's files are found in a few steps,
whatever they weigh.
"""

from collections.abc import Iterator, Sequence

from botgateway.chat.v1.reply_pb2 import Media, OutgoingMessage, Reply, Upload
from google.protobuf.message import Message

from gateway.domain.errors import ServiceFailed
from gateway.domain.reply_limits import MAX_MEDIA, MAX_MESSAGES

ANSWER_BYTES = 51 * 2**20
"""Of one answer: the largest file that Telegram takes, 50 MB, and what is around it."""

MOST_BYTES = 4 * 2**20
"""Of an answer without its files, and of all answers of a stream together without
theirs. It is gRPC's own limit for an answer."""

_UPLOADS = (
    Reply.DESCRIPTOR.fields_by_name["messages"].number,
    OutgoingMessage.DESCRIPTOR.fields_by_name["media"].number,
    Media.DESCRIPTOR.fields_by_name["upload"].number,
    Upload.DESCRIPTOR.fields_by_name["content"].number,
)
"""The way from a reply to the contents of its files, as field numbers."""

_MOST_FIELDS = 10 * (MAX_MESSAGES + MAX_MEDIA)
"""So many fields are looked at; a reply of more is no message with files."""


class AnswerSize:
    """Adds up the answers of one call.

    Args:
        response: the rpc's response.
        answer_field: its field for the reply.
        name: of the route, for the error.
    """

    __slots__ = ("_bytes", "_files", "_name", "_path")

    def __init__(self, response: type[Message], answer_field: str, name: str) -> None:
        answer = response.DESCRIPTOR.fields_by_name[answer_field]
        is_reply = answer.message_type is Reply.DESCRIPTOR
        self._path = (answer.number, *_UPLOADS) if is_reply else ()
        self._name = name
        self._bytes = 0
        self._files = 0

    def add(self, answer: bytes) -> None:
        """Count one more answer.

        Raises:
            ServiceFailed: it is too much.
        """
        self._bytes += len(answer)
        if self._bytes <= MOST_BYTES:
            return
        files = _bytes_of_files(answer, self._path)
        self._bytes -= files
        self._files += files
        if self._bytes > MOST_BYTES or self._files > ANSWER_BYTES:
            raise ServiceFailed(
                f"{self._name}: larger than {MOST_BYTES} bytes without its files, "
                f"or than {ANSWER_BYTES} bytes with them"
            )


def _bytes_of_files(answer: bytes, path: Sequence[int]) -> int:
    """Give how many bytes of an answer are contents of files, as far as looked at."""
    total = 0
    fields = 0
    parts = [(0, len(answer), 0)] if path else []
    while parts:
        start, end, depth = parts.pop()
        for number, inner, after in _fields(answer, start, end):
            fields += 1
            if fields > _MOST_FIELDS:
                return total
            if number != path[depth]:
                continue
            if depth == len(path) - 1:
                total += after - inner
            else:
                parts.append((inner, after, depth + 1))
    return total


def _fields(data: bytes, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Give number, begin and end of each field that has a length; zeros for others.

    Stops where the bytes are no message: decoding will tell.
    """
    position = start
    while position < end:
        tag, position = _varint(data, position, end)
        found = (0, 0, 0)
        match tag & 7:
            case 0:
                _, position = _varint(data, position, end)
            case 1:
                position += 8
            case 2:
                length, position = _varint(data, position, end)
                if position + length > end:
                    return
                found = (tag >> 3, position, position + length)
                position += length
            case 5:
                position += 4
            case _:
                return
        yield found


def _varint(data: bytes, position: int, end: int) -> tuple[int, int]:
    """Read a number of variable length. Returns it and the position behind it."""
    value = shift = 0
    while position < end and shift < 70:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
    return value, end
