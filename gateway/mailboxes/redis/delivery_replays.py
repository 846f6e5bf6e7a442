"""Remembers changes of deliveries for a Redis that loses its last writes.

What `replay_buffer.py` says of updates holds for deliveries. In addition the end of a
delivery and the begin of its last call are replayed: otherwise the next owner of the
mailbox would send again what was sent, without any doubt.

Each worker replays its own changes, and the replays of several workers arrive in any
order. The end of a delivery and the begin of a call therefore make the record if it is
missing. A put that comes later then adds only the mail, or nothing after the end.
"""

from collections.abc import Sequence
from weakref import WeakKeyDictionary

from msgspec import Struct

from gateway.domain.delivery import Delivery, DeliveryResult, SentPart
from gateway.domain.mailbox_lease import MailboxLease
from gateway.domain.ports import Clock
from gateway.mailboxes.redis.client.command import RedisCommand
from gateway.mailboxes.redis.delivery_commands import (
    COLLAPSED,
    UNKNOWN_ORIGIN,
    DeliveryCommandFactory,
    RecordOrigin,
)
from gateway.mailboxes.redis.keys import get_shard_number
from gateway.mailboxes.redis.replay_buffer import ReplayBuffer


class _BegunDelivery(Struct, frozen=True):
    """The delivery of which the owner of a lease has begun a call.

    Attributes:
        delivery_id: the id of the delivery.
        origin: what its record is made from if it is missing.
        replay_count: the number of replays before that.
    """

    delivery_id: str
    origin: RecordOrigin
    replay_count: int


class DeliveryReplays:
    """The changes of deliveries that this worker made in the last seconds.

    Args:
        buffer: keeps the changes.
        commands: builds the commands that repeat them.
        clock: the clock that all gateways share.
    """

    def __init__(
        self, buffer: ReplayBuffer, commands: DeliveryCommandFactory, clock: Clock
    ) -> None:
        self._buffer = buffer
        self._commands = commands
        self._clock = clock
        self._begun: WeakKeyDictionary[MailboxLease, _BegunDelivery] = (
            WeakKeyDictionary()
        )

    def remember_put(self, delivery: Delivery, replaced_id: str) -> None:
        """Remember a delivery, and the end of the one that it replaced."""

        def replay() -> Sequence[RedisCommand]:
            now = self._clock.now()
            return (
                self._commands.idempotency.claim(delivery, now),
                self._commands.put_delivery(delivery, "", now, is_replay=True),
            )

        ordering_key = delivery.ordering_key
        shard = get_shard_number(ordering_key)
        self._buffer.add((ordering_key, delivery.delivery_id), replay, shard)
        if replaced_id:
            self.remember_end(ordering_key, replaced_id, COLLAPSED)

    def remember_begin(
        self,
        lease: MailboxLease,
        delivery_id: str,
        part: int,
        sent_parts: Sequence[SentPart],
        origin: RecordOrigin,
    ) -> None:
        """Remember that the owner of a lease has begun a call."""
        ordering_key, token = lease.ordering_key, lease.token
        self._begun[lease] = _BegunDelivery(
            delivery_id, origin, self._buffer.replay_count
        )

        def replay() -> Sequence[RedisCommand]:
            return (
                self._commands.replay_begin(
                    token, delivery_id, ordering_key, part, sent_parts, origin
                ),
            )

        self._buffer.add(
            (ordering_key, f"begin {delivery_id}"),
            replay,
            get_shard_number(ordering_key),
        )

    def forget_begin(self, lease: MailboxLease, delivery_id: str) -> None:
        """Forget the begin of a call that took no effect."""
        ordering_key = lease.ordering_key
        self._buffer.remove(
            (ordering_key, f"begin {delivery_id}"), get_shard_number(ordering_key)
        )

    def find_origin(self, lease: MailboxLease, delivery_id: str) -> RecordOrigin:
        """Return the origin of the record of a delivery that a lease's owner began."""
        begun = self._begun.get(lease)
        if begun is None or begun.delivery_id != delivery_id:
            return UNKNOWN_ORIGIN
        return begun.origin

    def may_have_lost_begin(self, lease: MailboxLease, delivery_id: str) -> bool:
        """Return whether there was a replay since the lease's owner began a call."""
        begun = self._begun.get(lease)
        return (
            begun is not None
            and begun.delivery_id == delivery_id
            and begun.replay_count < self._buffer.replay_count
        )

    def remember_end(
        self,
        ordering_key: str,
        delivery_id: str,
        result: DeliveryResult,
        origin: RecordOrigin = UNKNOWN_ORIGIN,
        uncommitted_token: str = "",
    ) -> None:
        """Remember the end of a delivery. See `DeliveryCommandFactory.end_delivery`."""

        def replay() -> Sequence[RedisCommand]:
            return (
                self._commands.end_delivery(
                    ordering_key, delivery_id, result, origin, uncommitted_token
                ),
            )

        shard = get_shard_number(ordering_key)
        self._buffer.remove((ordering_key, f"begin {delivery_id}"), shard)
        self._buffer.add((ordering_key, f"end {delivery_id}"), replay, shard)
