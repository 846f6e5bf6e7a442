"""Limits the size of a service's reply before it is decoded.

Only files need many megabytes. Decoding four million bytes of messages and buttons
blocks the event loop, and so all users, for hundreds of milliseconds. The sizes of a
reply's files are read from the wire format, in a few steps whatever their sizes.
"""

from collections.abc import Iterator, Sequence

from botgateway.chat.v1.reply_pb2 import Media, OutgoingMessage, Reply, Upload
from google.protobuf.message import Message

from gateway.domain.errors import ServiceFailed
from gateway.domain.reply_limits import MAX_MEDIA, MAX_MESSAGES

MAX_REPLY_BYTES = 51 * 2**20
"""Per response: the largest file that Telegram accepts, 50 MB, and some overhead."""

MAX_BYTES_WITHOUT_FILES = 4 * 2**20
"""Limit for a response, or the sum of all responses of a stream, without files. It is
gRPC's default limit for a message."""

_UPLOAD_PATH = (
    Reply.DESCRIPTOR.fields_by_name["messages"].number,
    OutgoingMessage.DESCRIPTOR.fields_by_name["media"].number,
    Media.DESCRIPTOR.fields_by_name["upload"].number,
    Upload.DESCRIPTOR.fields_by_name["content"].number,
)
"""The path from a reply to the contents of its files, as field numbers."""

_MAX_FIELDS = 10 * (MAX_MESSAGES + MAX_MEDIA)
"""Maximum number of fields to inspect; no valid reply with files has more."""


class ReplyTooLarge(ServiceFailed):
    """The responses of one call are larger than a limit."""


class ReplySizeLimiter:
    """A limiter for the total size of the responses of one call.

    Args:
        response_type: the rpc's response class.
        result_field: its field for the reply.
        route_name: the name of the route, for the error.
    """

    __slots__ = ("_bytes_without_files", "_file_bytes", "_route_name", "_upload_path")

    def __init__(
        self, response_type: type[Message], result_field: str, route_name: str
    ) -> None:
        result_descriptor = response_type.DESCRIPTOR.fields_by_name[result_field]
        is_reply = result_descriptor.message_type is Reply.DESCRIPTOR
        self._upload_path = (
            (result_descriptor.number, *_UPLOAD_PATH) if is_reply else ()
        )
        self._route_name = route_name
        self._bytes_without_files = 0
        self._file_bytes = 0

    def add(self, response: bytes) -> None:
        """Add the size of the next response of a stream, or of the only response.

        Raises:
            ReplyTooLarge: all responses together are larger than a limit.
        """
        self._bytes_without_files += len(response)
        if self._bytes_without_files <= MAX_BYTES_WITHOUT_FILES:
            return
        file_bytes = _count_file_bytes(response, self._upload_path)
        self._bytes_without_files -= file_bytes
        self._file_bytes += file_bytes
        if (
            self._bytes_without_files > MAX_BYTES_WITHOUT_FILES
            or self._file_bytes > MAX_REPLY_BYTES
        ):
            raise ReplyTooLarge(
                f"{self._route_name}: larger than {MAX_BYTES_WITHOUT_FILES} bytes"
                " without its files, "
                f"or than {MAX_REPLY_BYTES} bytes with them"
            )


def _count_file_bytes(response: bytes, path: Sequence[int]) -> int:
    """Return the bytes of file contents in a response, within `_MAX_FIELDS` fields."""
    total = 0
    fields = 0
    messages = [(0, len(response), 0)] if path else []
    while messages:
        start, end, depth = messages.pop()
        for number, content_start, content_end in _iter_fields(response, start, end):
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


def _iter_fields(data: bytes, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Yield number, start and end of each field with a length; zeros for other fields.

    Stop at bytes that are not a message; decoding reports them.
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
