"""Remembers changes of deliveries, to repeat them if Redis loses its last writes.

What `replay_buffer.py` says of updates holds for deliveries. In addition the end of a
delivery and the start of its last call are replayed: otherwise the next owner of the
mailbox would send again what was sent, without any doubt.

Each worker replays its own changes, and the replays of several workers arrive in any
order. The end of a delivery and the start of a call therefore make the record if it is
missing. A put that comes later then adds only the mail, or nothing after the end.
"""

from collections import OrderedDict
from collections.abc import Sequence
from weakref import WeakKeyDictionary

from msgspec import Struct, structs

from gateway.domain.broadcast import BroadcastRecipient
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
from gateway.mailboxes.redis.replay_buffer import REPLAY_WINDOW_SECONDS, ReplayBuffer

LARGE_REQUEST_BYTES = 2**14
"""The size from which the requests of remembered deliveries are counted."""

MAX_LARGE_BYTES = 64 * 2**20
"""The maximum total size of large requests. The oldest ones are forgotten first."""


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
    """Puts this worker's changes of deliveries into the replay buffer.

    A change stays there for `REPLAY_WINDOW_SECONDS`, or until a later change of the
    same delivery replaces it.

    Args:
        buffer: keeps the changes, and repeats them after a loss.
        commands: builds the commands that repeat them.
        clock: the clock that all gateways share.
    """

    def __init__(
        self, buffer: ReplayBuffer, commands: DeliveryCommandFactory, clock: Clock
    ) -> None:
        self._buffer = buffer
        self._commands = commands
        self._clock = clock
        self._large_puts: OrderedDict[tuple[str, str], tuple[float, int]] = (
            OrderedDict()
        )
        """The times and sizes of remembered deliveries with large requests."""
        self._large_bytes = 0
        self._begun: WeakKeyDictionary[MailboxLease, _BegunDelivery] = (
            WeakKeyDictionary()
        )

    def remember_put(self, delivery: Delivery, replaced_id: str) -> None:
        """Remember that Redis stored a delivery, and the end of the one it replaced.

        Args:
            delivery: the delivery.
            replaced_id: the id of the delivery that was replaced; empty if there is
                none.
        """
        ordering_key, delivery_id = delivery.ordering_key, delivery.delivery_id
        shard = get_shard_number(ordering_key)
        # The key is needed after the end as well, the request is not.
        key_only = structs.replace(delivery, request=b"")

        def replay_key() -> Sequence[RedisCommand]:
            return (self._commands.idempotency.claim(key_only, self._clock.now()),)

        def replay() -> Sequence[RedisCommand]:
            now = self._clock.now()
            return (self._commands.put_delivery(delivery, "", now, is_replay=True),)

        self._buffer.add((ordering_key, f"key {delivery_id}"), replay_key, shard)
        self._buffer.add((ordering_key, delivery_id), replay, shard)
        if len(delivery.request) >= LARGE_REQUEST_BYTES:
            self._count_large_put((ordering_key, delivery_id), len(delivery.request))
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
        """Remember that the owner of a lease has begun a call of a delivery.

        Args:
            lease: the lease.
            delivery_id: the id of the delivery.
            part: the number of the call.
            sent_parts: the messages that the previous calls sent.
            origin: from what to make the record if Redis loses it.
        """
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
        """Forget the start of a call that had no effect, so that it is not repeated."""
        ordering_key = lease.ordering_key
        self._buffer.remove(
            (ordering_key, f"begin {delivery_id}"), get_shard_number(ordering_key)
        )

    def find_origin(self, lease: MailboxLease, delivery_id: str) -> RecordOrigin:
        """Return from what the record of a delivery can be made again.

        Returns `UNKNOWN_ORIGIN` if the lease's owner has not begun a call of it.
        """
        begun = self._begun.get(lease)
        if begun is None or begun.delivery_id != delivery_id:
            return UNKNOWN_ORIGIN
        return begun.origin

    def may_have_lost_begin(self, lease: MailboxLease, delivery_id: str) -> bool:
        """Return whether Redis may have lost the start of a call by this lease's owner.

        True if there was a replay after the owner began a call of the delivery.
        """
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
        recipient: BroadcastRecipient | None = None,
    ) -> None:
        """Remember that a delivery has ended, instead of its last begun call.

        The arguments are those of `DeliveryCommandFactory.end_delivery`.
        """

        def replay() -> Sequence[RedisCommand]:
            return (
                self._commands.end_delivery(
                    ordering_key,
                    delivery_id,
                    result,
                    origin,
                    uncommitted_token,
                    recipient,
                ),
            )

        shard = get_shard_number(ordering_key)
        self._buffer.remove((ordering_key, f"begin {delivery_id}"), shard)
        if origin.facts:  # its record can be made without its mail
            self._forget_put((ordering_key, delivery_id))
        self._buffer.add((ordering_key, f"end {delivery_id}"), replay, shard)

    def _count_large_put(self, key: tuple[str, str], size: int) -> None:
        """Count a remembered delivery, and forget the oldest ones if need be."""
        now = self._clock.uptime()
        self._uncount_large_put(key)
        self._large_puts[key] = now, size
        self._large_bytes += size
        while self._large_puts:
            oldest = next(iter(self._large_puts))
            time, _ = self._large_puts[oldest]
            if self._large_bytes > MAX_LARGE_BYTES:
                self._forget_put(oldest)
            elif time < now - REPLAY_WINDOW_SECONDS:
                self._uncount_large_put(oldest)
            else:
                return

    def _forget_put(self, key: tuple[str, str]) -> None:
        self._uncount_large_put(key)
        self._buffer.remove(key, get_shard_number(key[0]))

    def _uncount_large_put(self, key: tuple[str, str]) -> None:
        _, size = self._large_puts.pop(key, (0.0, 0))
        self._large_bytes -= size
