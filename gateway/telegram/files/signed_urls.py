"""Addresses at which services get the files of users, without the bot's token.

An address names a file and the second until which it is good, and is signed with a key
made of the token: any worker can check it, also after a restart, and nobody else can
make one.
"""

import base64
import hmac
from collections.abc import Callable
from enum import Enum
from hashlib import sha256
from urllib.parse import quote

from botgateway.chat.v1.message_pb2 import File, IncomingMessage

URL_TTL_SECONDS = 3600
"""How long an address is good."""

FILES_PATH = "/files"
"""The addresses are under this path, as PATH/{expiry}-{signature}/{file_id}."""

_FILE_FIELDS = {
    attachment.name: tuple(
        field.name
        for field in attachment.message_type.fields
        if field.message_type is File.DESCRIPTOR
    )
    for attachment in IncomingMessage.DESCRIPTOR.oneofs_by_name["attachment"].fields
    if attachment.message_type
}
"""The fields that are files, by the attachments that have them."""


class SignatureCheck(Enum):
    """What is to be said of a signature."""

    VALID = "good"
    INVALID = "wrong"
    EXPIRED = "expired"


class SignedFileUrls:
    """Signs addresses, and checks them.

    Args:
        token: the bot's token.
        url: where services reach them, without a slash at its end.
        now: seconds since the epoch.
    """

    def __init__(self, token: str, url: str, now: Callable[[], float]) -> None:
        # The label keeps this key apart from any other that is made of the token.
        self._key = hmac.digest(token.encode(), b"files", sha256)
        self._url = url
        self._now = now

    def add_urls(self, message: IncomingMessage) -> None:
        """Put the addresses of its files into a message, and of the one it answers."""
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
        """Give an address that is good from now on."""
        expiry = str(int(self._now()) + URL_TTL_SECONDS)
        signature = self._sign(expiry, file_id)
        return f"{self._url}{FILES_PATH}/{expiry}-{signature}/{quote(file_id, safe='')}"

    def check_signature(self, signature: str, file_id: str) -> SignatureCheck:
        """Judge an address.

        Args:
            signature: the part of its path before the file's id.
            file_id: the file's id.
        """
        expiry, _, signed = signature.partition("-")
        expected = self._sign(expiry, file_id)
        # Of bytes, because it takes no text with other letters than those of English.
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
    # What came over HTTP may hold anything.
    return text.encode("utf-8", "surrogatepass")
