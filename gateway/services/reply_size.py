"""Limits the size of a service's reply before the reply is decoded.

How the sizes of files are counted is in `upload_size.py`.
"""

from botgateway.chat.v1.reply_pb2 import Reply
from google.protobuf.message import Message

from gateway.domain.errors import ServiceFailed
from gateway.domain.upload_size import (
    MAX_BYTES_WITH_FILES,
    MAX_BYTES_WITHOUT_FILES,
    UPLOAD_PATH,
    count_file_bytes,
)

_UPLOAD_PATH = (Reply.DESCRIPTOR.fields_by_name["messages"].number, *UPLOAD_PATH)
"""The path from a reply to the contents of its files, as field numbers."""


class ReplyTooLarge(ServiceFailed):
    """The responses of one call are together larger than the gateway accepts."""


class ReplySizeLimiter:
    """Adds up the sizes of the responses of one call, and rejects them beyond a limit.

    Args:
        response_type: the rpc's response class.
        result_field: the response's field for the reply. If it has another type than
            Reply, the response has no files, so the limit with files is never used.
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
        file_bytes = count_file_bytes(response, self._upload_path)
        self._bytes_without_files -= file_bytes
        self._file_bytes += file_bytes
        if (
            self._bytes_without_files > MAX_BYTES_WITHOUT_FILES
            or self._file_bytes > MAX_BYTES_WITH_FILES
        ):
            raise ReplyTooLarge(
                f"{self._route_name}: larger than {MAX_BYTES_WITHOUT_FILES} bytes"
                " without its files, "
                f"or than {MAX_BYTES_WITH_FILES} bytes with them"
            )
