"""Signs callback data, so that the gateway accepts only its own buttons.

The signature is appended to the data. Its key is derived from a secret, such as the
bot's token, so that every worker can verify it, also after a restart, and nobody else
can create one.
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
    """Signs callback data, and verifies the signatures of pressed buttons.

    Args:
        secrets: at least one. The first one signs; a signature made with any of them is
            accepted, so that a secret can be replaced while old buttons keep working.
    """

    def __init__(self, *secrets: str) -> None:
        # `person` separates these keys from others that have the same origin.
        self._keys = [
            blake2b(secret.encode(), person=b"button data").digest()
            for secret in secrets
        ]

    def sign(self, data: str, scope: str) -> str:
        """Return the data with its signature appended, which takes 12 bytes.

        Args:
            data: the callback data of a button.
            scope: where the signature is valid, such as a chat; see `button_scope`.
        """
        return f"{data}{_compute_signature(self._keys[0], data, scope)}"

    def verify(self, data: str, scope: str) -> str | None:
        """Verify the signature at the end of callback data.

        Args:
            data: the callback data of a pressed button.
            scope: the scope of the pressed button, as for `sign`.

        Returns:
            The data without its signature; None if the data has no signature, or one
            that was made for other data, another scope or with an unknown secret.
        """
        if data[-_SIGNATURE_LENGTH : -_SIGNATURE_LENGTH + 1] != _SEPARATOR:
            return None
        signed, signature = data[:-_SIGNATURE_LENGTH], data[-_SIGNATURE_LENGTH:]
        for key in self._keys:
            expected = _compute_signature(key, signed, scope)
            # compare_digest accepts only ASCII characters in a str, but any bytes.
            if hmac.compare_digest(_encode(signature), expected.encode()):
                return signed
        return None


def _compute_signature(key: bytes, data: str, scope: str) -> str:
    message = _encode(f"{scope}\0{data}")
    digest = blake2b(message, key=key, digest_size=_DIGEST_BYTES).digest()
    return _SEPARATOR + urlsafe_b64encode(digest).rstrip(b"=").decode()


def _encode(text: str) -> bytes:
    # Data from a client may contain lone surrogates.
    return text.encode("utf-8", "surrogatepass")
