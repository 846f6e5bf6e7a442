"""Handles of sent messages: strings with which services change these messages later.

A handle is signed, so that a service can use only the handles that it got. It contains
all that is needed to find the message, so nothing is stored.
"""

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from hashlib import blake2b

from msgspec import Struct

_SIGNATURE_BYTES = 12


class MessageHandle(Struct, frozen=True):
    """The message that a handle stands for: its bot, chat and message id."""

    bot_id: int
    chat_id: int
    message_id: int


class MessageHandles:
    """Turns messages into signed strings for services, and back.

    Args:
        secrets: at least one. The first one signs; a signature by any of them is
            accepted, so that secrets can be replaced while handles are in use.
    """

    def __init__(self, secrets: Sequence[str]) -> None:
        self._keys = [
            blake2b(secret.encode(), digest_size=32, person=b"message handle").digest()
            for secret in secrets
        ]

    def encode(self, handle: MessageHandle) -> str:
        """Return the signed string by which services refer to a message."""
        content = f"{handle.bot_id}:{handle.chat_id}:{handle.message_id}".encode()
        signature = _compute_signature(self._keys[0], content)
        return urlsafe_b64encode(signature + content).rstrip(b"=").decode()

    def decode(self, text: str) -> MessageHandle | None:
        """Return the message that a service refers to by a string.

        Returns None if the string is not a handle, or is not signed with one of the
        secrets.
        """
        try:
            raw = urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4))
        except ValueError:
            return None
        signature, content = raw[:_SIGNATURE_BYTES], raw[_SIGNATURE_BYTES:]
        if not any(
            hmac.compare_digest(signature, _compute_signature(key, content))
            for key in self._keys
        ):
            return None
        return MessageHandle(*map(int, content.split(b":")))


def _compute_signature(key: bytes, content: bytes) -> bytes:
    return blake2b(content, key=key, digest_size=_SIGNATURE_BYTES).digest()
