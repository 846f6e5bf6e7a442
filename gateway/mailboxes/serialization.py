"""How updates lie in Redis: the bytes of envelopes and of dead letters, signed."""

import contextlib
from collections.abc import Mapping, Sequence

from msgspec import Struct

from gateway.domain.errors import ForgedEntry
from gateway.domain.update import DeadLetter, Envelope
from gateway.mailboxes.signatures import SIGNATURE_BYTES, Purpose, StoreSignatures

FORGED_REASON = "forged"
"""The reason of a dead letter whose signature was wrong: it never was an update."""

REJECTED_REASONS = frozenset({"malformed", FORGED_REASON})
"""The reasons of dead letters that never were updates, which anybody may cause in any
number. They are bounded by themselves, so that they do not displace updates."""


_MAX_TIME = 253_402_300_800.0
"""The year 10,000: no date can show a later time."""


class DeadLetterLimits(Struct, frozen=True):
    """How many dead letters are kept, and for how long. The oldest go first.

    In Redis the numbers hold for each shard.
    """

    max_updates: int = 10_000
    max_rejected: int = 1000
    """Of those with one of the `REJECTED_REASONS`."""
    retention_seconds: float = 30 * 86400

    @property
    def retention_ms(self) -> int:
        """The same time as Redis takes it."""
        return max(1, int(self.retention_seconds * 1000))


DEFAULT_SHARD_LIMITS = DeadLetterLimits()
"""How many are kept in Redis by default."""


def encode_envelope(envelope: Envelope, signatures: StoreSignatures) -> bytes:
    """Return the bytes to store: the id, the arrival, the signature, the body.

    The id comes first: two updates with the same body stay two members of the set.
    """
    header = b"%d %b " % (envelope.update_id, repr(envelope.arrived_at).encode())
    return _sign_envelope(envelope.ordering_key, header, envelope.body, signatures)


def decode_envelope(
    stored: bytes, ordering_key: str, signatures: StoreSignatures
) -> Envelope:
    """Read and verify stored bytes.

    Raises:
        ForgedEntry: no gateway with our secrets wrote them for this ordering key.
    """
    header, signature, body = _split_envelope(stored)
    if not signatures.verify(
        Purpose.MAIL, ordering_key.encode(), signature, header + body
    ):
        raise ForgedEntry("an update has a wrong signature")
    update_id, arrived_at = header.split()
    return Envelope(
        update_id=int(update_id),
        ordering_key=ordering_key,
        arrived_at=float(arrived_at),
        body=body,
    )


def make_dead_letter(envelope: Envelope, reason: str, now: float) -> DeadLetter:
    """Turn an update into a dead letter."""
    return DeadLetter(
        update_id=envelope.update_id,
        ordering_key=envelope.ordering_key,
        reason=reason,
        dead_lettered_at=now,
        body=envelope.body,
    )


def encode_dead_letter(
    dead_letter: DeadLetter, signatures: StoreSignatures
) -> tuple[bytes | str, ...]:
    """Return the fields and values of an entry in a stream of dead letters."""
    signed = _sign_envelope(
        dead_letter.ordering_key,
        b"%d 0 " % dead_letter.update_id,
        dead_letter.body,
        signatures,
    )
    return (
        *(
            "ordering_key",
            dead_letter.ordering_key,
            "reason",
            dead_letter.reason,
            "time",
            repr(dead_letter.dead_lettered_at),
        ),
        *("envelope", signed),
    )


def decode_dead_letter(fields: Sequence[bytes]) -> DeadLetter:
    """Read an entry of a stream of dead letters, genuine or not; it never fails.

    Where the update cannot be read its id is 0, and the body is what there is.
    """
    values = _pair_fields(fields)
    stored = values.get(b"envelope", b"")
    update_id, body = 0, stored
    with contextlib.suppress(ForgedEntry, ValueError):
        header, _, body = _split_envelope(stored)
        update_id = int(header.partition(b" ")[0])
    time = 0.0
    with contextlib.suppress(ValueError):
        time = float(values.get(b"time", b""))
    if not 0 <= time < _MAX_TIME:  # also where it is no number
        time = 0.0
    return DeadLetter(
        update_id=update_id,
        ordering_key=values.get(b"ordering_key", b"").decode(errors="replace"),
        reason=values.get(b"reason", b"").decode(errors="replace"),
        dead_lettered_at=time,
        body=body,
    )


def verify_dead_letter(fields: Sequence[bytes], signatures: StoreSignatures) -> None:
    """Check that a gateway with our secrets wrote the update of a dead letter.

    Raises:
        ForgedEntry: none did.
    """
    values = _pair_fields(fields)
    ordering_key = values.get(b"ordering_key", b"").decode(errors="replace")
    decode_envelope(values.get(b"envelope", b""), ordering_key, signatures)


def _sign_envelope(
    ordering_key: str, header: bytes, body: bytes, signatures: StoreSignatures
) -> bytes:
    signature = signatures.sign(Purpose.MAIL, ordering_key.encode(), header + body)
    return b"%b%b%b" % (header, signature, body)


def _split_envelope(stored: bytes) -> tuple[bytes, bytes, bytes]:
    """Split stored bytes into id and arrival, signature, and body."""
    parts = stored.split(b" ", 2)
    if len(parts) != 3:
        raise ForgedEntry("an entry is not a stored update")
    update_id, arrived_at, rest = parts
    header = b"%b %b " % (update_id, arrived_at)
    return header, rest[:SIGNATURE_BYTES], rest[SIGNATURE_BYTES:]


def _pair_fields(fields: Sequence[bytes]) -> Mapping[bytes, bytes]:
    return dict(zip(fields[::2], fields[1::2], strict=True))
