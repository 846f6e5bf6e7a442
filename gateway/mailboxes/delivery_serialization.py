"""The stored form of deliveries and their records in Redis, with signatures.

A delivery in a mailbox is stored as "d", its id, a space, the signature and the
delivery itself. `redis/lua/delivery_record.lua` describes the stored form of a record.
Lua scripts change the words and numbers in a record. The rest is written by gateways
and signed, because services rely on it: the facts, which never change, and the result
so far.
"""

from typing import NamedTuple

from msgspec import DecodeError, Struct, ValidationError, msgpack

from gateway.domain.delivery import (
    Delivery,
    DeliveryRecord,
    DeliveryResult,
    DeliveryState,
    SentPart,
)
from gateway.domain.errors import ForgedEntry
from gateway.domain.update import Envelope
from gateway.mailboxes.signatures import SIGNATURE_BYTES, Purpose, StoreSignatures

DELIVERY_MARK = b"d"
"""The first byte of a delivery in a mailbox. That of an update is a digit."""

DELIVERY_ID_LENGTH = 16

_HEADER_LENGTH = len(DELIVERY_MARK) + DELIVERY_ID_LENGTH + 1

NO_OWNER = "-"
"""The owner of a record of which no part was begun."""

_encode = msgpack.Encoder().encode
_delivery_decoder = msgpack.Decoder(Delivery)


class IdempotencyEntry(Struct, frozen=True, array_like=True):
    """What Redis stores under the id of a delivery: its mailbox, and its digest.

    It is in the shard of the delivery id, so that it is found without knowing the
    recipient.
    """

    fingerprint: bytes
    ordering_key: str


encode_idempotency_entry = msgpack.Encoder().encode
decode_idempotency_entry = msgpack.Decoder(IdempotencyEntry).decode


class _Facts(Struct, frozen=True, array_like=True):
    """The part of a record that never changes."""

    caller: str
    idempotency_key: str
    accepted_at: float


class _Result(Struct, frozen=True, array_like=True):
    """The part of a record that its owner writes."""

    reason: str = ""
    description: str = ""
    sent_parts: tuple[SentPart, ...] = ()
    maybe_repeated: bool = False
    is_part_begun: bool = False


_facts_decoder = msgpack.Decoder(_Facts)
_result_decoder = msgpack.Decoder(_Result)


class StoredRecord(NamedTuple):
    """A record as Redis has it, with data that only the store uses."""

    record: DeliveryRecord
    owner: str
    """The token of the lease under which the last call was begun, or `NO_OWNER`."""
    facts: bytes
    """The signed part that never changes."""
    report: str
    """The delivery's `ReportPolicy`, as a word."""


def wrap_delivery(delivery: Delivery) -> Envelope:
    """Return an envelope that carries a delivery, as mailboxes contain it."""
    return Envelope(
        update_id=0,
        ordering_key=delivery.ordering_key,
        arrived_at=delivery.accepted_at,
        body=b"",
        delivery=delivery,
    )


def encode_delivery(delivery: Delivery, signatures: StoreSignatures) -> bytes:
    """Return the signed bytes under which a delivery is stored in its mailbox."""
    header = b"%b%b " % (DELIVERY_MARK, delivery.delivery_id.encode())
    content = _encode(delivery)
    signature = signatures.sign(
        Purpose.DELIVERY, delivery.ordering_key.encode(), header + content
    )
    return b"%b%b%b" % (header, signature, content)


def decode_delivery(
    stored: bytes, ordering_key: str, signatures: StoreSignatures
) -> Envelope:
    """Verify and decode the stored bytes of a delivery in a mailbox.

    Args:
        stored: the bytes, from `encode_delivery`.
        ordering_key: the key of the mailbox; it is part of the signature.
        signatures: has the secrets that are accepted.

    Raises:
        ForgedEntry: no gateway with our secrets wrote these bytes for this ordering
            key, or they are not readable.
    """
    header, rest = stored[:_HEADER_LENGTH], stored[_HEADER_LENGTH:]
    signature, content = rest[:SIGNATURE_BYTES], rest[SIGNATURE_BYTES:]
    if not signatures.verify(
        Purpose.DELIVERY, ordering_key.encode(), signature, header + content
    ):
        raise ForgedEntry("a delivery has a wrong signature")
    try:
        return wrap_delivery(_delivery_decoder.decode(content))
    except DecodeError:
        raise ForgedEntry("a delivery is not readable") from None


def read_delivery(stored: bytes) -> Delivery | None:
    """Decode the stored bytes of a delivery without verifying the signature.

    Use the result only to show it. Returns None if the bytes are not a readable
    delivery.
    """
    if not stored.startswith(DELIVERY_MARK):
        return None
    try:
        return _delivery_decoder.decode(stored[_HEADER_LENGTH + SIGNATURE_BYTES :])
    except DecodeError:
        return None


def encode_facts(delivery: Delivery, signatures: StoreSignatures) -> bytes:
    """Return the signed part of a record that never changes.

    It says who asked for the delivery, and when it was accepted.
    """
    facts = _Facts(delivery.caller, delivery.idempotency_key, delivery.accepted_at)
    return _sign(
        _encode(facts), delivery.delivery_id, delivery.ordering_key, "", signatures
    )


def encode_result(
    delivery_id: str,
    ordering_key: str,
    result: DeliveryResult,
    signatures: StoreSignatures,
) -> bytes:
    """Return the signed part of a record that says how far a delivery has got.

    Args:
        delivery_id: the id of the delivery; part of the signature.
        ordering_key: the key of its mailbox; part of the signature.
        result: the result so far, or the end; its state is part of the signature.
        signatures: signs it.
    """
    content = _Result(
        result.reason,
        result.description,
        tuple(result.sent_parts),
        result.maybe_repeated,
        result.is_part_begun,
    )
    return _sign(_encode(content), delivery_id, ordering_key, result.state, signatures)


def decode_record(
    stored: bytes, delivery_id: str, ordering_key: str, signatures: StoreSignatures
) -> StoredRecord:
    """Verify and decode the stored bytes of a record.

    Args:
        stored: the bytes, as `redis/lua/delivery_record.lua` describes them.
        delivery_id: the id of the delivery; part of the signature.
        ordering_key: the key of its mailbox; part of the signature.
        signatures: has the secrets that are accepted.

    Raises:
        ForgedEntry: no gateway with our secrets wrote the signed parts for this
            delivery, or the bytes are not readable.
    """
    try:
        words = stored.split(b" ", 9)
        state = DeliveryState(words[0].decode())
        facts_length, result_length = int(words[7]), int(words[8])
        facts_bytes = words[9][:facts_length]
        result_bytes = words[9][facts_length : facts_length + result_length]
        identity = delivery_id, ordering_key
        facts = _facts_decoder.decode(_verify(facts_bytes, *identity, "", signatures))
        result = _Result()
        if result_bytes or state not in {
            DeliveryState.ACCEPTED,
            DeliveryState.SCHEDULED,
        }:
            result = _result_decoder.decode(
                _verify(result_bytes, *identity, state, signatures)
            )
        owner, report = words[3].decode(), words[6].decode()
        record = DeliveryRecord(
            delivery_id=delivery_id,
            ordering_key=ordering_key,
            caller=facts.caller,
            idempotency_key=facts.idempotency_key,
            state=state,
            sequence_number=int(words[1]),
            reason=result.reason,
            description=result.description,
            next_part=int(words[2]),
            is_part_begun=(
                result.is_part_begun if state.is_final else owner != NO_OWNER
            ),
            sent_parts=result.sent_parts,
            maybe_repeated=result.maybe_repeated,
            accepted_at=facts.accepted_at,
            updated_at=int(words[4]) / 1000,
        )
    except (ValueError, IndexError, DecodeError, ValidationError):
        raise ForgedEntry("the record of a delivery is not readable") from None
    return StoredRecord(record, owner, facts_bytes, report)


def make_lost_record(ordering_key: str, delivery_id: str, now: float) -> DeliveryRecord:
    """Return a failed record for a delivery whose record is missing in the store.

    Its state is FAILED and its reason "record_lost", so that nothing of the delivery is
    sent. It is not stored.

    Args:
        ordering_key: the key of the mailbox.
        delivery_id: the id of the delivery.
        now: the present time in seconds since the epoch.
    """
    return DeliveryRecord(
        delivery_id=delivery_id,
        ordering_key=ordering_key,
        caller="",
        idempotency_key="",
        state=DeliveryState.FAILED,
        sequence_number=0,
        reason="record_lost",
        accepted_at=now,
        updated_at=now,
    )


def _sign(
    content: bytes,
    delivery_id: str,
    ordering_key: str,
    state: str,
    signatures: StoreSignatures,
) -> bytes:
    signed = f"{delivery_id} {state} ".encode() + content
    key = ordering_key.encode()
    return signatures.sign(Purpose.DELIVERY_RECORD, key, signed) + content


def _verify(
    stored: bytes,
    delivery_id: str,
    ordering_key: str,
    state: str,
    signatures: StoreSignatures,
) -> bytes:
    signature, content = stored[:SIGNATURE_BYTES], stored[SIGNATURE_BYTES:]
    signed = f"{delivery_id} {state} ".encode() + content
    if not signatures.verify(
        Purpose.DELIVERY_RECORD, ordering_key.encode(), signature, signed
    ):
        raise ForgedEntry("the record of a delivery has a wrong signature")
    return content
