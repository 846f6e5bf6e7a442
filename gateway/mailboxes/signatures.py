"""Signatures on the entries in Redis, which prove that a gateway wrote them.

Without them anyone who can write to Redis could act as any user: a state contains the
internal user id, and a stored update counts as written by the user. Each entry
therefore carries a keyed 16-byte BLAKE2b hash of its purpose, ordering key and content.
An entry of one user is not valid for another user, and an update is not valid as a
state.

The signatures do not stop a writer from deleting or delaying entries, from restoring
earlier ones (an old state of the same user, an old update), or from reading texts. See
`docs/security.md`.
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
"""The logged length of an ordering key: in a forged entry it may have any length."""


class Purpose(StrEnum):
    """What a signed entry in Redis is: part of its signature, and a metric label."""

    STATE = "state"
    UPDATE = "update"
    """Updates in mailboxes, and in dead letters, where Redis copies them unchanged."""
    CANCELLATION = "cancellation"
    DELIVERY = "delivery"
    """Deliveries in mailboxes, and in dead letters."""
    DELIVERY_RECORD = "record"
    RECIPIENT = "recipient"
    CONTRACTS = "contracts"
    BROADCAST = "broadcast"


class StoreSignatures:
    """Signs entries for Redis, and verifies those that are read.

    Args:
        secrets: at least one, and none of them empty. The first one signs; a signature
            by any of them is accepted, so that secrets can be replaced.

    Attributes:
        forged_counts: the number of entries with wrong signatures that this process has
            found, by purpose.
    """

    def __init__(self, secrets: Sequence[str]) -> None:
        if not secrets or not all(secrets):
            raise ValueError("an empty secret would let anyone sign")
        keys = [
            blake2b(secret.encode(), digest_size=32, person=b"tg-store-key").digest()
            for secret in secrets
        ]
        # Copying a hasher that was initialised with its key is cheaper than making one.
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
        """Return the signature of an entry, which has `SIGNATURE_BYTES` bytes.

        Args:
            purpose: what the entry is; a signature is valid for one purpose only.
            ordering_key: the key to which the entry belongs; a signature is valid for
                one key only.
            content: what is signed.
        """
        hasher = self._hashers[purpose][0].copy()
        hasher.update(b"%d:%b%b" % (len(ordering_key), ordering_key, content))
        return hasher.digest()

    def verify(
        self, purpose: Purpose, ordering_key: bytes, signature: bytes, content: bytes
    ) -> bool:
        """Return whether a signature was made for these arguments.

        A signature by `sign` with any of the accepted secrets is valid.

        Nothing is counted or logged: call `record_forgery` if the result is False.
        """
        signed = b"%d:%b%b" % (len(ordering_key), ordering_key, content)
        for hasher in self._hashers[purpose]:
            expected = hasher.copy()
            expected.update(signed)
            if hmac.compare_digest(signature, expected.digest()):
                return True
        return False

    def sign_state(self, ordering_key: bytes, state: bytes) -> bytes:
        """Return the bytes to store for a user state: its signature, then itself."""
        return self.sign(Purpose.STATE, ordering_key, state) + state

    def verify_state(self, ordering_key: bytes, stored: bytes | None) -> bytes | None:
        """Return the user state in stored bytes; None if there is none or it is forged.

        A forged state is counted and logged. For the caller it does not exist, so the
        user is resolved again.

        Args:
            ordering_key: the key to which the state belongs.
            stored: the bytes from `sign_state`; None if nothing is stored.
        """
        if stored is None:
            return None
        signature, state = stored[:SIGNATURE_BYTES], stored[SIGNATURE_BYTES:]
        if self.verify(Purpose.STATE, ordering_key, signature, state):
            return state
        self.record_forgery(Purpose.STATE, ordering_key)
        return None

    def record_forgery(self, purpose: Purpose, ordering_key: bytes) -> None:
        """Count and log an entry whose signature was not made with any of our secrets.

        Args:
            purpose: what the entry claims to be.
            ordering_key: the key to which it claims to belong; its start is logged.
        """
        self.forged_counts[purpose] += 1
        shown = ordering_key[:_LOGGED_CHARACTERS].decode(errors="replace")
        logger.error(
            "forged_entry", extra={"purpose": purpose.value, "ordering_key": shown}
        )
