"""Handles of sent messages, with which services change them later.

A handle is signed, so that a service can use only those that it got. It is opaque for
services, and needs no storage.
"""

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from hashlib import blake2b

from msgspec import Struct

_SIGNATURE_BYTES = 12


class MessageHandle(Struct, frozen=True):
    """What identifies a message of a bot."""

    bot_id: int
    chat_id: int
    message_id: int


class MessageHandles:
    """Signs handles and reads them.

    Args:
        secrets: the first one signs; every one of them is accepted.
    """

    def __init__(self, secrets: Sequence[str]) -> None:
        self._keys = [
            blake2b(secret.encode(), digest_size=32, person=b"message handle").digest()
            for secret in secrets
        ]

    def encode(self, handle: MessageHandle) -> str:
        """Return the handle as services get it."""
        content = f"{handle.bot_id}:{handle.chat_id}:{handle.message_id}".encode()
        signature = _compute_signature(self._keys[0], content)
        return urlsafe_b64encode(signature + content).rstrip(b"=").decode()

    def decode(self, text: str) -> MessageHandle | None:
        """Return the handle in a request; None if it has no valid signature."""
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
