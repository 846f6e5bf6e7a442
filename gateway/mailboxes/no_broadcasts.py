"""Stands in for the broadcasts of a store that keeps none."""

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
    """A `BroadcastStore` without broadcasts, which refuses to create any."""

    async def create_broadcast(self, broadcast: Broadcast) -> bool:
        """Refuse the broadcast.

        Raises:
            BroadcastsUnsupported: always.
        """
        raise BroadcastsUnsupported

    async def get_broadcast(self, broadcast_id: str) -> BroadcastRecord | None:
        """Return None."""
        return None

    async def list_broadcasts(self, limit: int) -> Sequence[BroadcastRecord]:
        """Return nothing."""
        return ()

    async def change_state(
        self,
        broadcast_id: str,
        state: BroadcastState,
        allowed: Collection[BroadcastState],
        *,
        is_open: bool = True,
    ) -> BroadcastState | None:
        """Return None."""
        return None

    async def list_open_broadcasts(self) -> Mapping[str, BroadcastState]:
        """Return nothing."""
        return {}

    async def add_recipients(
        self, broadcast: Broadcast, chat_ids: Collection[int]
    ) -> int:
        """Add nobody."""
        return 0

    async def list_recipients(self, broadcast: Broadcast, limit: int) -> Sequence[int]:
        """Return nobody."""
        return ()

    async def enter_recipient(
        self, delivery: Delivery, *, acquire: bool
    ) -> MailboxLease | EnterResult:
        """Let nobody enter."""
        return EnterResult.NOT_WAITING

    async def drop_recipients(self, broadcast: Broadcast, state: DeliveryState) -> int:
        """Drop nobody."""
        return 0

    async def count_recipients(self, broadcast: Broadcast) -> BroadcastCounts:
        """Return zeros."""
        return BroadcastCounts()

    async def list_failures(
        self, broadcast: Broadcast, limit: int
    ) -> Sequence[RecipientFailure]:
        """Return nothing."""
        return ()
