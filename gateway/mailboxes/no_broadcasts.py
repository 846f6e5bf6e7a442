"""Stands in for the broadcasts of a store that keeps none, such as the file."""

from collections.abc import Collection, Mapping, Sequence

from gateway.domain.broadcast import (
    Broadcast,
    BroadcastCounts,
    BroadcastRecord,
    BroadcastState,
    EnterResult,
    RecipientFailure,
)
from gateway.domain.delivery import Delivery, DeliveryState
from gateway.domain.errors import BroadcastsUnsupported
from gateway.domain.mailbox_lease import MailboxLease


class NoBroadcasts:
    """A `BroadcastStore` that has no broadcasts and refuses to create any.

    Only `create_broadcast` raises an exception; all other methods find nothing and
    change nothing.
    """

    async def create_broadcast(self, broadcast: Broadcast) -> bool:
        """Refuse the broadcast.

        Raises:
            BroadcastsUnsupported: always.
        """
        raise BroadcastsUnsupported

    async def get_broadcast(self, broadcast_id: str) -> BroadcastRecord | None:
        """Return None: there is no broadcast with this id."""
        return None

    async def list_broadcasts(self, limit: int) -> Sequence[BroadcastRecord]:
        """Return an empty sequence."""
        return ()

    async def change_state(
        self,
        broadcast_id: str,
        state: BroadcastState,
        allowed: Collection[BroadcastState],
        *,
        is_open: bool = True,
    ) -> BroadcastState | None:
        """Return None: there is no broadcast with this id."""
        return None

    async def list_open_broadcasts(self) -> Mapping[str, BroadcastState]:
        """Return an empty mapping."""
        return {}

    async def add_recipients(
        self, broadcast: Broadcast, chat_ids: Collection[int]
    ) -> int:
        """Return 0: no recipient was added."""
        return 0

    async def list_recipients(self, broadcast: Broadcast, limit: int) -> Sequence[int]:
        """Return an empty sequence: no recipient waits."""
        return ()

    async def enter_recipient(
        self, delivery: Delivery, *, acquire: bool
    ) -> MailboxLease | EnterResult:
        """Return NOT_WAITING: no recipient waits, and nothing is stored."""
        return EnterResult.NOT_WAITING

    async def drop_recipients(self, broadcast: Broadcast, state: DeliveryState) -> int:
        """Return 0: no recipient was removed."""
        return 0

    async def count_recipients(self, broadcast: Broadcast) -> BroadcastCounts:
        """Return counts that are all 0."""
        return BroadcastCounts()

    async def list_failures(
        self, broadcast: Broadcast, limit: int
    ) -> Sequence[RecipientFailure]:
        """Return an empty sequence."""
        return ()
