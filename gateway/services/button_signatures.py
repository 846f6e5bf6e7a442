"""Signs callback data, so that the gateway accepts only its own buttons.

The signature is appended to the data. Its key is derived from the bot's token, so that
every worker can verify it, also after a restart, and nobody else can create one.
"""

import hmac
from base64 import urlsafe_b64encode
from hashlib import blake2b

_SEPARATOR = "~"
_DIGEST_BYTES = 8
"""Guessing takes 2**63 button presses on average, each delivered by Telegram."""

_SIGNATURE_LENGTH = 12
"""Length of the separator and the digest in base64."""


class ButtonSigner:
    """A signer and verifier of callback data.

    Args:
        token: the bot's token.
    """

    def __init__(self, token: str) -> None:
        # `person` separates this key from others that are derived from the token.
        self._key = blake2b(token.encode(), person=b"button data").digest()

    def sign(self, data: str, scope: str) -> str:
        """Return the data with its signature, which takes 12 bytes.

        Args:
            data: the callback data of a button.
            scope: the place of the button; see `button_scope`.
        """
        return f"{data}{self._compute_signature(data, scope)}"

    def verify(self, data: str, scope: str) -> str | None:
        """Return the data without its signature; None if it has no valid one."""
        if data[-_SIGNATURE_LENGTH : -_SIGNATURE_LENGTH + 1] != _SEPARATOR:
            return None
        signed, signature = data[:-_SIGNATURE_LENGTH], data[-_SIGNATURE_LENGTH:]
        expected = self._compute_signature(signed, scope)
        # compare_digest accepts only ASCII characters in a str, but any bytes.
        if not hmac.compare_digest(_encode(signature), expected.encode()):
            return None
        return signed

    def _compute_signature(self, data: str, scope: str) -> str:
        message = _encode(f"{scope}\0{data}")
        digest = blake2b(message, key=self._key, digest_size=_DIGEST_BYTES).digest()
        return _SEPARATOR + urlsafe_b64encode(digest).rstrip(b"=").decode()


def _encode(text: str) -> bytes:
    # Data from a client may contain lone surrogates.
    return text.encode("utf-8", "surrogatepass")
