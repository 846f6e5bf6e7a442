"""The port of the store of broadcasts, which is part of the mailbox store."""

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from gateway.domain.broadcast import (
    Broadcast,
    BroadcastCounts,
    BroadcastRecord,
    BroadcastState,
    EnterResult,
    RecipientFailure,
)
from gateway.domain.delivery import Delivery, DeliveryState
from gateway.domain.mailbox_lease import MailboxLease


class BroadcastStore(Protocol):
    """Stores broadcasts and the recipients who wait for their delivery.

    Every method may be repeated with the same arguments after a lost reply, and raises
    StoreUnavailable if the store does not answer or is full. How the deliveries end is
    counted by `DeliveryStore.commit_delivery`.
    """

    async def create_broadcast(self, broadcast: Broadcast) -> bool:
        """Store a new broadcast as a draft.

        Returns whether it is new; otherwise the same request was stored before.

        Raises:
            IdempotencyKeyReused: the key was used with another request.
        """

    async def get_broadcast(self, broadcast_id: str) -> BroadcastRecord | None:
        """Return a broadcast, or None if there is none with this id."""

    async def list_broadcasts(self, limit: int) -> Sequence[BroadcastRecord]:
        """Return the broadcasts of all bots and callers, newest first."""

    async def change_state(
        self,
        broadcast_id: str,
        state: BroadcastState,
        allowed: Collection[BroadcastState],
        *,
        is_open: bool = True,
    ) -> BroadcastState | None:
        """Change the state of a broadcast if its present state is allowed.

        Args:
            broadcast_id: the broadcast.
            state: the new state.
            allowed: the states from which it may change.
            is_open: whether something of the broadcast may still be left to do: until
                it is closed, `list_open_broadcasts` has it.

        Returns:
            The state before the change, or None if there is no such broadcast.
        """

    async def list_open_broadcasts(self) -> Mapping[str, BroadcastState]:
        """Return the ids and states of the broadcasts that have something left to do.

        A state may be up to half a second old. Drafts are not among them.
        """

    async def add_recipients(
        self, broadcast: Broadcast, chat_ids: Collection[int]
    ) -> int:
        """Add recipients; those that were added before are left out.

        Returns the number of new ones, which a repetition after a lost reply lowers.
        """

    async def list_recipients(self, broadcast: Broadcast, limit: int) -> Sequence[int]:
        """Return the chat ids of waiting recipients in no order, about `limit`."""

    async def enter_recipient(
        self, delivery: Delivery, *, acquire: bool
    ) -> MailboxLease | EnterResult:
        """Put the delivery for a recipient into its mailbox, if the recipient waits.

        The recipient stops waiting in the same step, so it enters once.

        Args:
            delivery: the delivery, from `build_recipient_delivery`.
            acquire: whether to acquire the lease if the mailbox is free.

        Returns:
            The lease if it was acquired, otherwise the result.
        """

    async def drop_recipients(self, broadcast: Broadcast, state: DeliveryState) -> int:
        """Let no waiting recipient enter any more, and count them as ended in a state.

        Returns the number of recipients that were dropped.
        """

    async def count_recipients(self, broadcast: Broadcast) -> BroadcastCounts:
        """Count the recipients of a broadcast by what became of them."""

    async def list_failures(
        self, broadcast: Broadcast, limit: int
    ) -> Sequence[RecipientFailure]:
        """Return recipients whose delivery was blocked, failed or is doubtful.

        If there are very many, the store does not have all of them.
        """
