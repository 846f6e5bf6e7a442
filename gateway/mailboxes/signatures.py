"""Signatures on what Redis keeps, so that only a gateway can have written it.

Whoever can write to Redis could otherwise act as any user: a state names the internal
user id, and mail is what a user is taken to have said. Each entry therefore carries a
keyed BLAKE2b of 16 bytes over its purpose, its ordering key and its content. An entry
of one user does not pass for another's, nor mail for a state.

What this does not protect from a writer of Redis: entries can be deleted, delayed, or
put back as they were before (an old state of the same user, an old update again), and
texts can be read. See `docs/security.md`.
"""

import hmac
import logging
from collections import Counter
from collections.abc import Sequence
from enum import StrEnum
from hashlib import blake2b

logger = logging.getLogger(__name__)

SIGNATURE_BYTES = 16

_LOGGED_CHARACTERS = 32
"""An ordering key from a forged entry may be of any length."""


class Purpose(StrEnum):
    """What is signed. Part of the signature, and the label of the metric."""

    STATE = "state"
    MAIL = "mail"
    """Updates in mailboxes, and dead letters, into which Redis moves them unchanged."""
    STOP = "stop"


class StoreSignatures:
    """Signs entries, and verifies those that come back.

    Args:
        secrets: the first one signs, and all of them are accepted. None is empty.

    Attributes:
        forged_counts: how many entries were refused, by purpose.
    """

    def __init__(self, secrets: Sequence[str]) -> None:
        if not secrets or not all(secrets):
            raise ValueError("an empty secret would let anybody sign")
        keys = [
            blake2b(secret.encode(), digest_size=32, person=b"tg-store-key").digest()
            for secret in secrets
        ]
        # Copying a hasher that has taken its key in is cheaper than making one.
        self._hashers = {
            purpose: [
                blake2b(
                    key=key,
                    digest_size=SIGNATURE_BYTES,
                    person=b"tg-" + purpose.encode(),
                )
                for key in keys
            ]
            for purpose in Purpose
        }
        self.forged_counts: Counter[str] = Counter(
            {purpose.value: 0 for purpose in Purpose}
        )

    def sign(self, purpose: Purpose, ordering_key: bytes, content: bytes) -> bytes:
        """Return the signature: `SIGNATURE_BYTES` bytes."""
        hasher = self._hashers[purpose][0].copy()
        hasher.update(b"%d:%b%b" % (len(ordering_key), ordering_key, content))
        return hasher.digest()

    def verify(
        self, purpose: Purpose, ordering_key: bytes, signature: bytes, content: bytes
    ) -> bool:
        """Check a signature against every accepted secret."""
        signed = b"%d:%b%b" % (len(ordering_key), ordering_key, content)
        for hasher in self._hashers[purpose]:
            expected = hasher.copy()
            expected.update(signed)
            if hmac.compare_digest(signature, expected.digest()):
                return True
        return False

    def sign_state(self, ordering_key: bytes, state: bytes) -> bytes:
        """Return what to store: the signature, then the state."""
        return self.sign(Purpose.STATE, ordering_key, state) + state

    def verify_state(self, ordering_key: bytes, stored: bytes | None) -> bytes | None:
        """Return a stored state. None: there is none, or it is forged, which is noted.

        A forged state is treated as none: the user is resolved again.
        """
        if stored is None:
            return None
        signature, state = stored[:SIGNATURE_BYTES], stored[SIGNATURE_BYTES:]
        if self.verify(Purpose.STATE, ordering_key, signature, state):
            return state
        self.record_forgery(Purpose.STATE, ordering_key)
        return None

    def record_forgery(self, purpose: Purpose, ordering_key: bytes) -> None:
        """Count and log an entry that no gateway with our secrets wrote."""
        self.forged_counts[purpose] += 1
        shown = ordering_key[:_LOGGED_CHARACTERS].decode(errors="replace")
        logger.error(
            "forged entry in redis", extra={"what": purpose.value, "lane": shown}
        )
