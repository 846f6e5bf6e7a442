"""How updates lie in Redis: the bytes of envelopes and of dead letters."""

from gateway.domain.update import DeadLetter, Envelope


def encode_envelope(envelope: Envelope) -> bytes:
    """Give the bytes to store: the id, the arrival, the body.

    The id comes first: two updates with the same body stay two members of the set.
    """
    return b"%d %b %b" % (
        envelope.update_id,
        repr(envelope.arrived).encode(),
        envelope.body,
    )


def decode_envelope(stored: bytes, lane: str) -> Envelope:
    """Read stored bytes."""
    update_id, arrived, body = stored.split(b" ", 2)
    return Envelope(
        update_id=int(update_id), lane=lane, arrived=float(arrived), body=body
    )


def give_up(envelope: Envelope, reason: str, now: float) -> DeadLetter:
    """Turn an update into a dead letter."""
    return DeadLetter(
        update_id=envelope.update_id,
        lane=envelope.lane,
        reason=reason,
        time=now,
        body=envelope.body,
    )


def encode_letter(letter: DeadLetter) -> tuple[bytes | str, ...]:
    """Give the fields and values of an entry in the stream of dead letters."""
    return (
        *("lane", letter.lane, "reason", letter.reason, "time", repr(letter.time)),
        *("envelope", b"%d 0 %b" % (letter.update_id, letter.body)),
    )


def decode_letter(fields: list[bytes]) -> DeadLetter:
    """Read an entry of the stream of dead letters."""
    values = dict(zip(fields[::2], fields[1::2], strict=True))
    lane = values[b"lane"].decode()
    envelope = decode_envelope(values[b"envelope"], lane)
    return DeadLetter(
        update_id=envelope.update_id,
        lane=lane,
        reason=values[b"reason"].decode(),
        time=float(values[b"time"]),
        body=envelope.body,
    )
