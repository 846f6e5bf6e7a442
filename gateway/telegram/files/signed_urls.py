"""Signed URLs at which services download users' files without the bot token.

A URL names a file and the second at which it expires. It is signed with a key derived
from the token, so every worker can verify it, also after a restart, and only the
gateway can create one.
"""

import base64
import hmac
from collections.abc import Callable
from enum import Enum
from hashlib import sha256
from urllib.parse import quote

from botgateway.chat.v1.message_pb2 import File, IncomingMessage

URL_TTL_SECONDS = 3600
"""How long a URL is valid."""

FILES_PATH = "/files"
"""The path prefix of the URLs: FILES_PATH/{expiry}-{signature}/{file_id}."""

_FILE_FIELDS = {
    attachment.name: tuple(
        field.name
        for field in attachment.message_type.fields
        if field.message_type is File.DESCRIPTOR
    )
    for attachment in IncomingMessage.DESCRIPTOR.oneofs_by_name["attachment"].fields
    if attachment.message_type
}
"""The names of the file fields of each attachment."""


class SignatureCheck(Enum):
    """The result of the verification of a signature."""

    VALID = "valid"
    INVALID = "invalid"
    EXPIRED = "expired"


class SignedFileUrls:
    """Creates signed URLs and verifies their signatures.

    Args:
        token: the bot token.
        url: the URL at which services reach the gateway, without a trailing slash.
        now: returns the seconds since the epoch.
    """

    def __init__(self, token: str, url: str, now: Callable[[], float]) -> None:
        # The label makes this key differ from other keys derived from the token.
        self._key = hmac.digest(token.encode(), b"files", sha256)
        self._url = url
        self._now = now

    def add_urls(self, message: IncomingMessage) -> None:
        """Set the URLs of the files of a message and of the message that it answers."""
        if message.HasField("reply_to_message"):
            self.add_urls(message.reply_to_message.content)
        kind = message.WhichOneof("attachment")
        if kind is None:
            return
        for name in _FILE_FIELDS[kind]:
            attachment = getattr(message, kind)
            if attachment.HasField(name):
                file = getattr(attachment, name)
                file.url = self.build_url(file.file_id)

    def build_url(self, file_id: str) -> str:
        """Return a URL for a file, valid for `URL_TTL_SECONDS` from now on."""
        expiry = str(int(self._now()) + URL_TTL_SECONDS)
        signature = self._sign(expiry, file_id)
        return f"{self._url}{FILES_PATH}/{expiry}-{signature}/{quote(file_id, safe='')}"

    def check_signature(self, signature: str, file_id: str) -> SignatureCheck:
        """Verify the signature of a URL.

        Args:
            signature: the path segment before the file id: expiry and signature.
            file_id: the file id.
        """
        expiry, _, signed = signature.partition("-")
        expected = self._sign(expiry, file_id)
        # Compares bytes, because compare_digest rejects text that is not ASCII.
        if not hmac.compare_digest(_encode(signed), expected.encode()):
            return SignatureCheck.INVALID
        return (
            SignatureCheck.VALID
            if self._now() <= int(expiry)
            else SignatureCheck.EXPIRED
        )

    def _sign(self, expiry: str, file_id: str) -> str:
        signature = hmac.digest(self._key, _encode(f"{expiry}/{file_id}"), sha256)
        return base64.urlsafe_b64encode(signature).rstrip(b"=").decode()


def _encode(text: str) -> bytes:
    # A path received over HTTP may contain surrogates, which plain UTF-8 rejects.
    return text.encode("utf-8", "surrogatepass")
