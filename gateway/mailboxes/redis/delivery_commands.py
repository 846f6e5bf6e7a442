"""Builds the commands for Redis that concern deliveries. Nothing is sent here.

Most of them call one of the Lua scripts, whose first lines describe the reply.
"""

from base64 import urlsafe_b64encode
from collections.abc import Sequence
from hashlib import blake2b
from typing import NamedTuple

from gateway.domain.broadcast import BroadcastRecipient
from gateway.domain.delivery import (
    RECORD_SECONDS,
    Delivery,
    DeliveryRecord,
    DeliveryResult,
    DeliveryState,
    SentPart,
)
from gateway.domain.mailbox_lease import MailboxLease
from gateway.domain.user_state import STATE_TTL
from gateway.mailboxes.delivery_serialization import (
    NO_OWNER,
    encode_delivery,
    encode_facts,
    encode_result,
)
from gateway.mailboxes.redis.client.command import Argument, RedisCommand
from gateway.mailboxes.redis.commands import call_script
from gateway.mailboxes.redis.idempotency_commands import IdempotencyCommandFactory
from gateway.mailboxes.redis.keys import RedisKeys, ShardKeys
from gateway.mailboxes.redis.lua.scripts import Scripts
from gateway.mailboxes.redis.recipient_commands import (
    RECIPIENT_RECORD_MS,
    end_recipient,
    make_count,
)
from gateway.mailboxes.serialization import DeadLetterLimits
from gateway.mailboxes.signatures import StoreSignatures

_STATE_TTL = b"%d" % STATE_TTL
_RECORD_MS = b"%d" % (RECORD_SECONDS * 1000)

_BEGUN = DeliveryResult(state=DeliveryState.SENDING)
CANCELLED = DeliveryResult(state=DeliveryState.CANCELLED, reason="cancelled")
COLLAPSED = DeliveryResult(state=DeliveryState.CANCELLED, reason="collapsed")

FULL_RETRY_MS = 1000
"""The delay before a scheduled delivery tries again to enter a full mailbox."""

_BEHIND_ALL_PARTS = 10**6
"""The number of a part that no delivery has: the earlier ones are not sent again."""

BULK_OFFSET_MS = 10**15
"""Added to the times of bulk deliveries among the scheduled ones, so that no scan finds
them to be due. It is the year 33658; the sum is exact in a double."""


class RecordOrigin(NamedTuple):
    """What a record has from the beginning, from which a lost record can be made again.

    Attributes:
        facts: the signed facts, from `encode_facts`; empty if they are unknown.
        report: the delivery's `ReportPolicy`, as a word.
    """

    facts: bytes
    report: str


UNKNOWN_ORIGIN = RecordOrigin(b"", "none")


class DeliveryCommandFactory:
    """Builds the commands for deliveries. The caller sends them and reads the replies.

    Args:
        keys: the keys in Redis.
        scripts: the Lua scripts.
        limit: the maximum number of updates and deliveries in a mailbox.
        lease_seconds: how many seconds a lease lasts without renewal.
        signatures: signs stored entries.
        dead_letters: limits on the number and age of dead letters.

    Attributes:
        idempotency: builds the commands for idempotency keys.
    """

    def __init__(
        self,
        keys: RedisKeys,
        scripts: Scripts,
        limit: int,
        lease_seconds: float,
        signatures: StoreSignatures,
        dead_letters: DeadLetterLimits,
    ) -> None:
        self.idempotency = IdempotencyCommandFactory(keys, scripts)
        self._keys = keys
        self._scripts = scripts
        self._signatures = signatures
        self._limit = b"%d" % limit
        self._lease_ms = b"%d" % int(lease_seconds * 1000)
        self._max_updates = b"%d" % dead_letters.max_updates
        self._retention_ms = b"%d" % dead_letters.retention_ms

    def put_delivery(
        self,
        delivery: Delivery,
        token: str,
        now: float,
        *,
        replaced_id: str = "",
        is_replay: bool = False,
        begins: bool = False,
    ) -> RedisCommand:
        """Build the command that stores a delivery: see `put_delivery.lua`.

        If the delivery has a collapse key, the reply may be the id of an earlier
        delivery to replace. Then build and send the command again with that id.

        Args:
            delivery: the delivery.
            token: the token of the lease to acquire if the mailbox is free; an empty
                string to acquire none.
            now: the present time in seconds since the epoch.
            replaced_id: the id from the reply to the first attempt; empty at first.
            is_replay: True if the delivery was accepted before and may have been lost:
                it is never refused, and does not replace others.
            begins: whether to record that the first call begins, if the lease is
                acquired, no other mail is first, and the chat has no cool-down.
        """
        ordering_key = delivery.ordering_key.encode()
        shard = self._keys.get_shard(ordering_key)
        keys: tuple[bytes, ...] = (
            shard.mailbox_prefix + ordering_key,
            shard.state_prefix + ordering_key,
            shard.pending,
            shard.leases,
            shard.record_prefix + delivery.delivery_id.encode(),
            shard.scheduled,
            shard.reports,
            # Ordering keys of deliveries are named like cool-downs: by bot and chat.
            shard.cooldown_prefix + ordering_key,
        )
        begun = b""
        if begins and token:
            begun = self._encode_result(
                delivery.delivery_id, delivery.ordering_key, _BEGUN
            )
        replacement: tuple[Argument, ...] = ()
        if delivery.collapse_key and not is_replay:
            keys = (*keys, _make_collapse_key(shard, delivery))
            if replaced_id:
                keys = (*keys, shard.record_prefix + replaced_id.encode())
            replacement = self._make_replacement(delivery, replaced_id, now)
        return call_script(
            self._scripts.put_delivery,
            shard,
            keys,
            ordering_key,
            delivery.delivery_id,
            encode_delivery(delivery, self._signatures),
            token,
            self._lease_ms,
            b"0" if is_replay else self._limit,
            delivery.report.value,
            encode_facts(delivery, self._signatures),
            b""
            if delivery.not_before is None
            else b"%d" % round(delivery.not_before * 1000),
            _RECORD_MS,
            BULK_OFFSET_MS if delivery.is_bulk else b"0",
            begun,
            *replacement,
        )

    def make_origin(self, delivery: Delivery) -> RecordOrigin:
        """Return what the record of a delivery has from the beginning."""
        facts = encode_facts(delivery, self._signatures)
        return RecordOrigin(facts, delivery.report.value)

    def read_record(self, ordering_key: str, delivery_id: str) -> RedisCommand:
        """Build the command that reads the record of a delivery."""
        shard = self._keys.get_shard(ordering_key.encode())
        key = shard.record_prefix + delivery_id.encode()
        return RedisCommand(shard.number, (b"GET", key))

    def cancel_delivery(self, ordering_key: str, delivery_id: str) -> RedisCommand:
        """Build the command that cancels a delivery, if none of its calls has begun.

        The reply is the record after that.
        """
        key = ordering_key.encode()
        shard = self._keys.get_shard(key)
        return call_script(
            self._scripts.cancel_delivery,
            shard,
            (
                shard.mailbox_prefix + key,
                shard.pending,
                shard.leases,
                shard.record_prefix + delivery_id.encode(),
                shard.scheduled,
                shard.reports,
            ),
            key,
            delivery_id,
            self._encode_result(delivery_id, ordering_key, CANCELLED),
            _RECORD_MS,
        )

    def begin_part(
        self,
        lease: MailboxLease,
        delivery_id: str,
        part: int,
        sent_parts: Sequence[SentPart],
        *,
        resolves_doubt: bool,
        missing: Delivery | None = None,
    ) -> RedisCommand:
        """Build the command that records the start of a call: see `begin_part.lua`.

        Args:
            lease: see `DeliveryStore.begin_part`, as for the next arguments.
            delivery_id: see there.
            part: see there.
            sent_parts: see there.
            resolves_doubt: see there.
            missing: the delivery from which to make a record, if Redis has lost it;
                None at first.
        """
        key = lease.ordering_key.encode()
        shard = self._keys.get_shard(key)
        so_far = DeliveryResult(state=DeliveryState.SENDING, sent_parts=sent_parts)
        return call_script(
            self._scripts.begin_part,
            shard,
            (shard.pending, shard.leases, shard.record_prefix + delivery_id.encode()),
            key,
            lease.token,
            part,
            self._encode_result(delivery_id, lease.ordering_key, so_far),
            b"1" if resolves_doubt else b"",
            b"" if missing is None else encode_facts(missing, self._signatures),
            b"" if missing is None else missing.report.value,
        )

    def retract_part(
        self, ordering_key: str, token: str, delivery_id: str
    ) -> RedisCommand:
        """Build the command that records that a begun call had no effect.

        Args:
            ordering_key: the key of the mailbox.
            token: the token of the lease under which the call was begun.
            delivery_id: the id of the delivery.
        """
        key = ordering_key.encode()
        shard = self._keys.get_shard(key)
        return call_script(
            self._scripts.retract_part,
            shard,
            (shard.pending, shard.leases, shard.record_prefix + delivery_id.encode()),
            key,
            token,
        )

    def commit_delivery(
        self,
        lease: MailboxLease,
        delivery_id: str,
        state: bytes,
        result: DeliveryResult,
        *,
        release: bool,
        dead_letter_reason: str | None,
        now: float,
        recipient: BroadcastRecipient | None,
    ) -> RedisCommand:
        """Build the command that ends a delivery: see `commit_delivery.lua`.

        Args:
            lease: see `DeliveryStore.commit_delivery`, as for the next arguments.
            delivery_id: see there.
            state: see there.
            result: see there.
            release: see there.
            dead_letter_reason: see there.
            now: the time of a dead letter, in seconds since the epoch; otherwise
                unused.
            recipient: see `DeliveryStore.commit_delivery`.
        """
        key = lease.ordering_key.encode()
        shard = self._keys.get_shard(key)
        keys: tuple[bytes, ...] = ()
        counted: tuple[Argument, ...] = ()
        if recipient is not None:
            keys, counted = make_count(shard, key, recipient, result)
        return call_script(
            self._scripts.commit_delivery,
            shard,
            (
                shard.mailbox_prefix + key,
                shard.state_prefix + key,
                shard.pending,
                shard.leases,
                shard.dead_letters,
                shard.record_prefix + delivery_id.encode(),
                shard.reports,
                *keys,
            ),
            key,
            delivery_id,
            lease.token,
            self._signatures.sign_state(key, state),
            _STATE_TTL,
            b"0" if release else self._lease_ms,
            b"" if dead_letter_reason is None else dead_letter_reason,
            b"" if dead_letter_reason is None else repr(now),
            self._max_updates,
            self._retention_ms,
            result.state.value,
            self._encode_result(delivery_id, lease.ordering_key, result),
            _RECORD_MS if recipient is None else RECIPIENT_RECORD_MS,
            *counted,
        )

    def replay_begin(
        self,
        lease_token: str,
        delivery_id: str,
        ordering_key: str,
        part: int,
        sent_parts: Sequence[SentPart],
        origin: RecordOrigin,
    ) -> RedisCommand:
        """Build the command that records the start of a call if Redis has lost it.

        Args:
            lease_token: the token of the lease under which the call was begun.
            delivery_id: the id of the delivery.
            ordering_key: the key of the mailbox.
            part: the number of the call.
            sent_parts: the messages that the previous calls sent.
            origin: from what to make the record if it is missing.
        """
        key = ordering_key.encode()
        shard = self._keys.get_shard(key)
        so_far = DeliveryResult(state=DeliveryState.SENDING, sent_parts=sent_parts)
        return call_script(
            self._scripts.replay_begin,
            shard,
            (
                shard.mailbox_prefix + key,
                shard.pending,
                shard.record_prefix + delivery_id.encode(),
                shard.scheduled,
            ),
            key,
            delivery_id,
            lease_token,
            part,
            self._encode_result(delivery_id, ordering_key, so_far),
            origin.facts,
            origin.report,
            _RECORD_MS,
        )

    def end_delivery(
        self,
        ordering_key: str,
        delivery_id: str,
        result: DeliveryResult,
        origin: RecordOrigin = UNKNOWN_ORIGIN,
        uncommitted_token: str = "",
        recipient: BroadcastRecipient | None = None,
    ) -> RedisCommand:
        """Build the command that ends a delivery if Redis has lost its end.

        Args:
            ordering_key: the key of the mailbox.
            delivery_id: the id of the delivery.
            result: how the delivery ended.
            origin: from what to make the record if it is missing; with `UNKNOWN_ORIGIN`
                none is made.
            uncommitted_token: the token of an owner whose commit was refused: then
                nothing changes if another owner has begun a call. An empty string if
                the end was committed.
            recipient: the recipient, if the delivery belongs to a broadcast; otherwise
                None.
        """
        if recipient is not None:
            return end_recipient(
                self._scripts.end_recipient,
                self._keys.get_shard(ordering_key.encode()),
                ordering_key.encode(),
                delivery_id,
                recipient=recipient,
                result=result,
                encoded_result=self._encode_result(delivery_id, ordering_key, result),
                uncommitted_token=uncommitted_token,
            )
        key = ordering_key.encode()
        shard = self._keys.get_shard(key)
        return call_script(
            self._scripts.end_delivery,
            shard,
            (
                shard.mailbox_prefix + key,
                shard.pending,
                shard.leases,
                shard.record_prefix + delivery_id.encode(),
                shard.scheduled,
                shard.reports,
            ),
            key,
            delivery_id,
            result.state.value,
            self._encode_result(delivery_id, ordering_key, result),
            _RECORD_MS,
            origin.facts,
            origin.report,
            uncommitted_token,
        )

    def replay_delivery(
        self, delivery: Delivery, record: DeliveryRecord | None
    ) -> RedisCommand:
        """Build the command that puts a failed delivery back into its mailbox.

        Messages that were sent are not sent again: the next owner finds them in the
        record, and continues as after an owner that was lost.

        Args:
            delivery: the delivery.
            record: its record; None if that has expired, in which case all calls are in
                doubt.
        """
        key = delivery.ordering_key.encode()
        shard = self._keys.get_shard(key)
        state, owner, result = DeliveryState.ACCEPTED, NO_OWNER, b""
        if record is None or record.sent_parts or record.is_part_begun:
            state, owner = DeliveryState.SENDING, "replay"
            sent_parts = () if record is None else record.sent_parts
            so_far = DeliveryResult(state=state, sent_parts=sent_parts)
            result = self._encode_result(
                delivery.delivery_id, delivery.ordering_key, so_far
            )
        return call_script(
            self._scripts.replay_delivery,
            shard,
            (
                shard.mailbox_prefix + key,
                shard.pending,
                shard.record_prefix + delivery.delivery_id.encode(),
            ),
            key,
            delivery.delivery_id,
            encode_delivery(delivery, self._signatures),
            encode_facts(delivery, self._signatures),
            delivery.report.value,
            state.value,
            owner,
            result,
            0 if delivery.repeat_if_doubtful else _BEHIND_ALL_PARTS,
        )

    def list_due(self, number: int, limit: int) -> RedisCommand:
        """Build the command that lists scheduled deliveries of a shard that are due.

        Args:
            number: the number of the shard.
            limit: the maximum number of deliveries; for the reply see `split_member`.
        """
        shard = self._keys.shards[number]
        return call_script(self._scripts.list_due, shard, (shard.scheduled,), limit)

    def list_bulk(self, number: int, limit: int) -> RedisCommand:
        """Build the command that lists bulk deliveries of a shard that may enter.

        Args:
            number: the number of the shard.
            limit: the maximum number of deliveries. The reply has members (see
                `split_member`) and times, alternating.
        """
        shard = self._keys.shards[number]
        return call_script(
            self._scripts.list_bulk, shard, (shard.scheduled,), limit, BULK_OFFSET_MS
        )

    def enter_delivery(
        self, ordering_key: str, delivery_id: str, *, is_bulk: bool = False
    ) -> RedisCommand:
        """Build the command that puts a waiting delivery into its mailbox.

        The reply is 1 if it was put; for the others see `enter_delivery.lua`.

        Args:
            ordering_key: the key of the mailbox.
            delivery_id: the id of the delivery.
            is_bulk: True for a bulk delivery; False for one that waited for its time.
        """
        key = ordering_key.encode()
        shard = self._keys.get_shard(key)
        return call_script(
            self._scripts.enter_delivery,
            shard,
            (
                shard.mailbox_prefix + key,
                shard.pending,
                shard.record_prefix + delivery_id.encode(),
                shard.scheduled,
            ),
            key,
            delivery_id,
            self._limit,
            FULL_RETRY_MS + (BULK_OFFSET_MS if is_bulk else 0),
        )

    def list_reports(self, number: int, limit: int) -> RedisCommand:
        """Build the command that lists the oldest reports of a shard.

        Args:
            number: the number of the shard.
            limit: the maximum number of reports. The reply has members (see
                `split_member`) and times, alternating.
        """
        shard = self._keys.shards[number]
        return RedisCommand(
            number, (b"ZRANGE", shard.reports, 0, limit - 1, b"WITHSCORES")
        )

    def remove_report(self, ordering_key: str, delivery_id: str) -> RedisCommand:
        """Build the command that removes the report of a delivery."""
        shard = self._keys.get_shard(ordering_key.encode())
        member = f"{delivery_id} {ordering_key}".encode()
        return RedisCommand(shard.number, (b"ZREM", shard.reports, member))

    def read_head(self, ordering_key: str) -> RedisCommand:
        """Build the command that reads the first mail of a mailbox.

        The reply is a list with the stored bytes; it is empty if there is no mail.
        """
        key = ordering_key.encode()
        shard = self._keys.get_shard(key)
        return RedisCommand(shard.number, (b"ZRANGE", shard.mailbox_key(key), 0, 0))

    def _encode_result(
        self, delivery_id: str, ordering_key: str, result: DeliveryResult
    ) -> bytes:
        return encode_result(delivery_id, ordering_key, result, self._signatures)

    def _make_replacement(
        self, delivery: Delivery, replaced_id: str, now: float
    ) -> tuple[Argument, ...]:
        """Return the arguments of a put that replaces the delivery with this id."""
        result = b""
        if replaced_id:
            result = self._encode_result(replaced_id, delivery.ordering_key, COLLAPSED)
        lifetime = max(1, round((delivery.expires_at - now) * 1000))
        return lifetime, replaced_id, result


def _make_collapse_key(shard: ShardKeys, delivery: Delivery) -> bytes:
    """Return the key of the collapse entry: callers do not replace each other's."""
    content = f"{delivery.ordering_key}\n{delivery.caller}\n{delivery.collapse_key}"
    digest = blake2b(content.encode(), digest_size=12).digest()
    return shard.collapse_prefix + urlsafe_b64encode(digest)


def split_member(member: bytes) -> tuple[str, str]:
    """Split a member of the sets of scheduled deliveries or of reports.

    Returns:
        The delivery id, and the ordering key of its mailbox.
    """
    delivery_id, _, ordering_key = member.decode(errors="replace").partition(" ")
    return delivery_id, ordering_key
