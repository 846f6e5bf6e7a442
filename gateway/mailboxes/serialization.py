"""The stored form of envelopes and dead letters in Redis, with signatures."""

import contextlib
from collections.abc import Mapping, Sequence
from itertools import chain

from msgspec import Struct

from gateway.domain.errors import ForgedEntry
from gateway.domain.update import DeadLetter, Envelope
from gateway.mailboxes.delivery_serialization import (
    DELIVERY_MARK,
    decode_delivery,
    read_delivery,
)
from gateway.mailboxes.signatures import SIGNATURE_BYTES, Purpose, StoreSignatures

FORGED_REASON = "forged"
"""The reason of a dead letter with a wrong signature: it never was an update."""

REJECTED_REASONS = frozenset({"malformed", FORGED_REASON})
"""The reasons of dead letters that never were updates. An outsider may cause any number
of them, so they have a limit of their own and cannot displace updates."""


_MAX_TIME = 253_402_300_800.0
"""The year 10,000: `datetime` cannot represent a later time."""


class DeadLetterLimits(Struct, frozen=True):
    """Limits on the number and age of dead letters. The oldest are removed first.

    In Redis the numbers apply to each shard, in a file and in memory to the whole
    store.
    """

    max_updates: int = 10_000
    max_rejected: int = 1000
    """The limit for dead letters with one of the `REJECTED_REASONS`."""
    retention_seconds: float = 30 * 86400

    @property
    def retention_ms(self) -> int:
        """The retention time in milliseconds; at least 1, as 0 would delete at once."""
        return max(1, int(self.retention_seconds * 1000))


DEFAULT_SHARD_LIMITS = DeadLetterLimits()
"""The default limits for each shard in Redis."""


def encode_envelope(envelope: Envelope, signatures: StoreSignatures) -> bytes:
    """Return the bytes to store in a mailbox: id, arrival time, signature and body.

    The id makes two updates with the same body two members of the sorted set. An update
    that a person replayed is stored with the arrival time 0.0.
    """
    arrived_at = repr(envelope.arrived_at or 0.0)
    header = b"%d %b " % (envelope.update_id, arrived_at.encode())
    ordering_key, body = envelope.ordering_key.encode(), envelope.body
    signature = signatures.sign(Purpose.UPDATE, ordering_key, header + body)
    return b"%b%b%b" % (header, signature, body)


def decode_envelope(
    stored: bytes, ordering_key: str, signatures: StoreSignatures
) -> Envelope:
    """Verify and decode the stored bytes of an update or a delivery in a mailbox.

    Args:
        stored: the bytes, from `encode_envelope` or `encode_delivery`.
        ordering_key: the key of the mailbox; it is part of the signature.
        signatures: has the secrets that are accepted.

    Raises:
        ForgedEntry: no gateway with our secrets wrote these bytes for this ordering
            key, or they are not readable.
    """
    if stored.startswith(DELIVERY_MARK):
        return decode_delivery(stored, ordering_key, signatures)
    header, signature, body = _split_envelope(stored)
    if not signatures.verify(
        Purpose.UPDATE, ordering_key.encode(), signature, header + body
    ):
        raise ForgedEntry("an update has a wrong signature")
    update_id, arrived_at = header.split()
    return Envelope(
        update_id=int(update_id),
        ordering_key=ordering_key,
        arrived_at=float(arrived_at) or None,
        body=body,
    )


def make_dead_letter(envelope: Envelope, reason: str, now: float) -> DeadLetter:
    """Return a dead letter for an update or a delivery in a mailbox. Stores nothing.

    Args:
        envelope: the update or delivery.
        reason: a code such as "crashed".
        now: when it becomes a dead letter, in seconds since the epoch.
    """
    return DeadLetter(
        update_id=envelope.update_id or None,
        ordering_key=envelope.ordering_key,
        reason=reason,
        dead_lettered_at=now,
        body=envelope.body,
        delivery=envelope.delivery,
    )


def encode_dead_letter(
    dead_letter: DeadLetter, signatures: StoreSignatures
) -> tuple[bytes | str, ...]:
    """Return the fields and values, alternating, of an entry in a dead-letter stream.

    Not for deliveries, which only scripts move to the dead letters.
    """
    envelope = Envelope(
        update_id=dead_letter.update_id or 0,
        ordering_key=dead_letter.ordering_key or "",
        arrived_at=None,
        body=dead_letter.body,
    )
    fields: dict[str, bytes | str] = {
        "ordering_key": envelope.ordering_key,
        "reason": dead_letter.reason,
        "time": repr(dead_letter.dead_lettered_at),
        "envelope": encode_envelope(envelope, signatures),
    }
    return tuple(chain.from_iterable(fields.items()))


def decode_dead_letter(fields: Sequence[bytes]) -> DeadLetter:
    """Decode an entry of a dead-letter stream without verifying it. Never raises.

    Use the result only to show it, unless `verify_dead_letter` was called. If the
    update cannot be decoded, its id is None and its body the stored bytes. An invalid
    time becomes 0.

    Args:
        fields: the fields and values of the entry, alternating.
    """
    values = _pair_fields(fields)
    stored = values.get(b"envelope", b"")
    update_id, body = 0, stored
    delivery = read_delivery(stored)
    with contextlib.suppress(ForgedEntry, ValueError):
        header, _, body = _split_envelope(stored)
        update_id = int(header.partition(b" ")[0])
    time = 0.0
    with contextlib.suppress(ValueError):
        time = float(values.get(b"time", b""))
    if not 0 <= time < _MAX_TIME:  # NaN also fails this check
        time = 0.0
    return DeadLetter(
        update_id=update_id or None,
        ordering_key=values.get(b"ordering_key", b"").decode(errors="replace") or None,
        reason=values.get(b"reason", b"").decode(errors="replace"),
        dead_lettered_at=time,
        body=body if delivery is None else b"",
        delivery=delivery,
    )


def verify_dead_letter(fields: Sequence[bytes], signatures: StoreSignatures) -> None:
    """Verify that a gateway with our secrets wrote the update of a dead letter.

    Args:
        fields: the fields and values of the entry in the stream, alternating.
        signatures: has the secrets that are accepted.

    Raises:
        ForgedEntry: no gateway with our secrets wrote it; do not process it.
    """
    values = _pair_fields(fields)
    ordering_key = values.get(b"ordering_key", b"").decode(errors="replace")
    decode_envelope(values.get(b"envelope", b""), ordering_key, signatures)


def _split_envelope(stored: bytes) -> tuple[bytes, bytes, bytes]:
    """Split stored bytes into the header, the signature and the body."""
    parts = stored.split(b" ", 2)
    if len(parts) != 3:
        raise ForgedEntry("an entry is not a stored update")
    update_id, arrived_at, rest = parts
    header = b"%b %b " % (update_id, arrived_at)
    return header, rest[:SIGNATURE_BYTES], rest[SIGNATURE_BYTES:]


def _pair_fields(fields: Sequence[bytes]) -> Mapping[bytes, bytes]:
    return dict(zip(fields[::2], fields[1::2], strict=True))
