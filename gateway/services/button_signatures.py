"""Signatures on the data of buttons, by which the gateway knows its own buttons again.

A signature stands behind the data. It is made with a key that comes from the bot's
token, so that every worker can check it, also after a restart, and nobody else can make
one.
"""

import hmac
from base64 import urlsafe_b64encode
from hashlib import blake2b

_SEPARATOR = "~"
_DIGEST_BYTES = 8
"""Whoever guesses needs 2 ** 63 presses on average, each of which Telegram delivers."""

_SIGNATURE_LENGTH = 12
"""Characters of the mark and of the digest in base64."""


class ButtonSigner:
    """Signs the data of buttons, and checks it.

    Args:
        token: the bot's token.
    """

    def __init__(self, token: str) -> None:
        # The personal string keeps this key apart from others that come from the token.
        self._key = blake2b(token.encode(), person=b"button data").digest()

    def sign(self, data: str, scope: str) -> str:
        """Give the data with its signature, which takes 12 bytes.

        Args:
            data: the data of a button.
            scope: where the button will be: see `button_scope`.
        """
        return f"{data}{self._compute_signature(data, scope)}"

    def verify(self, data: str, scope: str) -> str | None:
        """Give the data without its signature. None: it has none that is valid."""
        if data[-_SIGNATURE_LENGTH : -_SIGNATURE_LENGTH + 1] != _SEPARATOR:
            return None
        signed, signature = data[:-_SIGNATURE_LENGTH], data[-_SIGNATURE_LENGTH:]
        expected = self._compute_signature(signed, scope)
        # Of bytes, because it takes no text with other letters than those of English.
        if not hmac.compare_digest(_encode(signature), expected.encode()):
            return None
        return signed

    def _compute_signature(self, data: str, scope: str) -> str:
        message = _encode(f"{scope}\0{data}")
        digest = blake2b(message, key=self._key, digest_size=_DIGEST_BYTES).digest()
        return _SEPARATOR + urlsafe_b64encode(digest).rstrip(b"=").decode()


def _encode(text: str) -> bytes:
    # What a client sends may hold anything.
    return text.encode("utf-8", "surrogatepass")
