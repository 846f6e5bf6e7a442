"""Signed URLs at which services download users' files without the bot token.

A URL names a bot, a file and the second at which it expires. It is signed with a key
derived from a secret, such as the bot's token, so every worker can verify it, also
after a restart, and only the gateway can create one.
"""

import base64
import hmac
from collections.abc import Callable, Sequence
from enum import Enum
from hashlib import sha256
from urllib.parse import quote

from botgateway.chat.v1.message_pb2 import File, IncomingMessage

URL_TTL_SECONDS = 3600
"""How long a URL is valid."""

FILES_PATH = "/files"
"""The path prefix of the URLs: FILES_PATH/{bot_id}-{expiry}-{signature}/{file_id}."""

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
    """The result of the verification of a URL's signature.

    An expired one was valid before.
    """

    VALID = "valid"
    INVALID = "invalid"
    EXPIRED = "expired"


class SignedFileUrls:
    """Creates the signed URLs of a bot's files, and verifies their signatures.

    Args:
        bot_id: the id of the bot that received the files.
        secrets: at least one. The first one signs; a signature made with any of them is
            accepted.
        url: the URL at which services reach the gateway, without a trailing slash.
        now: returns the seconds since the epoch.
    """

    def __init__(
        self, bot_id: int, secrets: Sequence[str], url: str, now: Callable[[], float]
    ) -> None:
        self._bot_id = bot_id
        # The label makes these keys differ from others that have the same origin.
        self._keys = [hmac.digest(it.encode(), b"files", sha256) for it in secrets]
        self._url = url
        self._now = now

    def add_urls(self, message: IncomingMessage) -> None:
        """Set the URLs of the files of a message, and of the one that it replies to."""
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
        """Return a signed URL for a file, valid for `URL_TTL_SECONDS` from now on."""
        expiry = str(int(self._now()) + URL_TTL_SECONDS)
        signature = _sign(self._keys[0], expiry, file_id)
        proof = f"{self._bot_id}-{expiry}-{signature}"
        return f"{self._url}{FILES_PATH}/{proof}/{quote(file_id, safe='')}"

    def check_signature(self, signature: str, file_id: str) -> SignatureCheck:
        """Verify the signature of a URL.

        Args:
            signature: the path segment before the file id, which consists of bot id,
                expiry and signature.
            file_id: Telegram's id of the file, as in the URL.
        """
        bot_id, expiry, signed = [*signature.split("-", 2), "", ""][:3]
        # Compares bytes, because compare_digest rejects text that is not ASCII.
        is_signed = any(
            hmac.compare_digest(_encode(signed), _sign(key, expiry, file_id).encode())
            for key in self._keys
        )
        if not is_signed or bot_id != str(self._bot_id):
            return SignatureCheck.INVALID
        return (
            SignatureCheck.VALID
            if self._now() <= int(expiry)
            else SignatureCheck.EXPIRED
        )


def find_bot_id(path: str) -> int | None:
    """Return the id of the bot that the path of a signed URL names; None without one.

    The signature is not verified.
    """
    bot_id, _, _ = path.removeprefix(f"{FILES_PATH}/").partition("-")
    return int(bot_id) if bot_id.isdecimal() and len(bot_id) < 20 else None


def _sign(key: bytes, expiry: str, file_id: str) -> str:
    signature = hmac.digest(key, _encode(f"{expiry}/{file_id}"), sha256)
    return base64.urlsafe_b64encode(signature).rstrip(b"=").decode()


def _encode(text: str) -> bytes:
    # A path received over HTTP may contain surrogates, which plain UTF-8 rejects.
    return text.encode("utf-8", "surrogatepass")
