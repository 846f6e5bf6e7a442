"""The files of a bot on Telegram's servers: its uploads and attachments of users.

Uploads are kept, up to a limit. Attachments of users only have a size; their content is
generated.
"""

import mimetypes
import secrets
from collections import OrderedDict
from collections.abc import Iterator

from gateway.sandbox.simulator.state.chats import Chats
from gateway.sandbox.simulator.validation.rules import Parameters, bad_request

MAX_STORED_BYTES = 256 * 2**20
"""Maximum bytes of all uploads together; the oldest are dropped first."""
MAX_DOWNLOAD_BYTES = 20_000_000
"""Bot API, getFile: 20 MB."""
_FILLING = b"marmot "


class FileStore:
    """The files of one bot: uploads, and made-up files of users' attachments.

    Args:
        chats: the chats with the attachments.
    """

    def __init__(self, chats: Chats) -> None:
        self._chats = chats
        self._kept: OrderedDict[str, bytes] = OrderedDict()
        self._size = 0

    def store(self, content: bytes, file_id: str = "") -> str:
        """Store an upload; if all uploads exceed `MAX_STORED_BYTES`, forget the oldest.

        Args:
            content: the content.
            file_id: the id, or an empty string for a new one.

        Returns:
            The id of the file.
        """
        file_id = file_id or f"BQACAgADGQEA{secrets.token_urlsafe(18)}"
        self._size -= len(self._kept.pop(file_id, b""))
        self._kept[file_id] = content
        self._size += len(content)
        while self._size > MAX_STORED_BYTES:
            self._size -= len(self._kept.popitem(last=False)[1])
        return file_id

    def get_file(self, parameters: Parameters) -> Parameters:
        """Execute getFile: return Telegram's File object, with the path of the file.

        Raises:
            ApiError: there is no such file, or it is too large for bots.
        """
        file_id = str(parameters.get("file_id") or "")
        if not file_id:
            raise bad_request("file_id not specified")
        file = self._find(file_id)
        if file is None:
            raise bad_request("invalid file_id")
        if file["file_size"] > MAX_DOWNLOAD_BYTES:
            raise bad_request("file is too big")
        ending = mimetypes.guess_extension(file.get("mime_type", "")) or ".jpg"
        path = {"file_path": f"files/{file_id}{ending}"}
        return {name: file[name] for name in _FILE if name in file} | path

    def read(self, file_id: str) -> bytes | None:
        """Return the content of a file; None if the id is unknown.

        The content of an attachment is generated in the declared size.
        """
        file = self._find(file_id)
        if file is None:
            return None
        size = file["file_size"]
        content = self._kept.get(file_id)
        if content is None:
            content = (_FILLING * (size // len(_FILLING) + 1))[:size]
        return content

    def _find(self, file_id: str) -> Parameters | None:
        """Return the object of a file, or None if the id is unknown."""
        if (content := self._kept.get(file_id)) is not None:
            unique = {"file_unique_id": file_id[-16:], "file_size": len(content)}
            known: Parameters = {"file_id": file_id, **unique}
        else:
            known = {}
        for message in self._chats.all_messages():
            for file in _files(message):
                if file.get("file_id") == file_id and "file_size" in file:
                    return known | file
        return known or None


_FILE = ("file_id", "file_unique_id", "file_size")


def _files(message: Parameters) -> Iterator[Parameters]:
    """Yield the files of a message, including all sizes of a photo."""
    for part in message.values():
        for each in part if isinstance(part, list) else [part]:
            if isinstance(each, dict) and "file_id" in each:
                yield each
