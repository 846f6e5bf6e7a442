"""The interface of the store of broadcasts, which is part of the mailbox store."""

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
    """Stores broadcasts, and their recipients whose delivery is not in a mailbox yet.

    Such a recipient "waits". Every method may be repeated with the same arguments after
    a lost reply, and raises StoreUnavailable if the store does not answer or is full.
    `DeliveryStore.commit_delivery` counts how the deliveries end.
    """

    async def create_broadcast(self, broadcast: Broadcast) -> bool:
        """Store a new broadcast in the state DRAFT, without recipients.

        Returns:
            True if it was stored now; False if the same request stored it before, in
            which case nothing was changed.

        Raises:
            IdempotencyKeyReused: its id was stored before with another request (the
                fingerprints differ); nothing was changed.
            BroadcastsUnsupported: this store keeps no broadcasts.
            StoreUnavailable: the store does not answer or is full.
        """

    async def get_broadcast(self, broadcast_id: str) -> BroadcastRecord | None:
        """Return a broadcast with its state.

        Returns None if there is none with this id. A broadcast is removed
        `RETENTION_SECONDS` after it has expired.
        """

    async def list_broadcasts(self, limit: int) -> Sequence[BroadcastRecord]:
        """Return up to `limit` broadcasts of all bots and callers, newest first.

        They may be in any state.
        """

    async def change_state(
        self,
        broadcast_id: str,
        state: BroadcastState,
        allowed: Collection[BroadcastState],
        *,
        is_open: bool = True,
    ) -> BroadcastState | None:
        """Change the state of a broadcast, if its present state is one of `allowed`.

        Args:
            broadcast_id: the id of the broadcast.
            state: the new state.
            allowed: the states from which it may change. In any other state nothing
                changes.
            is_open: True if the broadcast still needs the pacer or the final count, so
                that `list_open_broadcasts` lists it from now on; False to take it off
                that list.

        Returns:
            The state before the call. The change was made if and only if that state is
            one of `allowed`. None if there is no such broadcast, which is then taken
            off the list of open ones.
        """

    async def list_open_broadcasts(self) -> Mapping[str, BroadcastState]:
        """Return the ids and states of the broadcasts that are not finished yet.

        These are the ones that `change_state` opened and has not closed again. Drafts
        are not among them. A state may be up to half a second old.
        """

    async def add_recipients(
        self, broadcast: Broadcast, chat_ids: Collection[int]
    ) -> int:
        """Add chats to the waiting recipients of a broadcast.

        The state of the broadcast has to be DRAFT, which the caller checks. Chats that
        wait already are ignored.

        Args:
            broadcast: the broadcast, which must have been created.
            chat_ids: Telegram's ids of the chats.

        Returns:
            The number of chats that were added now. If the call is repeated after a
            lost reply, those that the first attempt added are not counted.
        """

    async def list_recipients(self, broadcast: Broadcast, limit: int) -> Sequence[int]:
        """Return the chat ids of about `limit` waiting recipients, in no special order.

        Nothing is changed: the recipients wait until `enter_recipient`. The sequence is
        empty if none wait, and during a replay pause.
        """

    async def enter_recipient(
        self, delivery: Delivery, *, acquire: bool
    ) -> MailboxLease | EnterResult:
        """Put the delivery for a recipient into its mailbox, if the recipient waits.

        The recipient stops waiting in the same atomic step, so that no second call
        stores the delivery again.

        Args:
            delivery: the delivery, from `build_recipient_delivery`.
            acquire: True to acquire the lease of the mailbox if it is free (see
                `MailboxStore`); False to leave the delivery to the next scan.

        Returns:
            The lease if it was acquired, otherwise what was stored.
        """

    async def drop_recipients(self, broadcast: Broadcast, state: DeliveryState) -> int:
        """Remove all waiting recipients, and count each as ended in the given state.

        Deliveries that are in a mailbox already are not affected.

        Args:
            broadcast: the broadcast.
            state: the final state under which the recipients are counted: CANCELLED or
                EXPIRED.

        Returns:
            The number of recipients that were removed now.
        """

    async def count_recipients(self, broadcast: Broadcast) -> BroadcastCounts:
        """Count the recipients of a broadcast by what became of their deliveries.

        All numbers are 0 if there is no such broadcast.
        """

    async def list_failures(
        self, broadcast: Broadcast, limit: int
    ) -> Sequence[RecipientFailure]:
        """Return up to `limit` recipients who may not have got the message.

        Their delivery was blocked, failed or is doubtful. The store keeps only a
        limited number of them for each broadcast, so that some may be missing if there
        are thousands.
        """
