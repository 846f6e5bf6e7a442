"""One mailbox in memory."""

from bisect import bisect_left
from enum import Enum
from operator import attrgetter

from msgspec import Struct

from gateway.domain.poison import MAX_UNSUSPECTED_LOSSES, SUSPECT_PAUSES
from gateway.domain.ports import PutResult
from gateway.domain.update import Envelope

_update_id = attrgetter("update_id")


class SuspectStage(Enum):
    """The progress of a suspected update."""

    QUEUED = "queued"
    """Its actor has not started to process it."""
    RUNNING = "running"
    """A step of it is running."""
    WAITING = "waiting"
    """It waits for something else, such as a service. Updates that are not suspected
    are always in this stage."""


class Mailbox(Struct, eq=False):
    """The updates of one ordering key, and who may process them.

    Attributes:
        updates: at least one update, ordered by `update_id`.
        claimable_at: the time, by `Clock.uptime`, from which any worker may acquire the
            lease: the end of the current lease or of a pause; without a lease the time
            of the put or release.
        token: the token of the last lease, valid while the mailbox is leased; an empty
            string during the pause after the loss of an owner.
        suspect_id: the id of the update to which the next three attributes belong.
        owner_losses: how many owners were lost with that update at the head.
        owner_crashes: how many of these owners were lost in the middle of a step.
        stage: the progress of that update, if it is suspected.
    """

    updates: list[Envelope]
    claimable_at: float = 0
    token: str = ""
    suspect_id: int = 0
    owner_losses: int = 0
    owner_crashes: int = 0
    stage: SuspectStage = SuspectStage.WAITING

    def add(self, envelope: Envelope, limit: int | None) -> PutResult:
        """Insert an update in order, unless the mailbox already has `limit` updates."""
        index = bisect_left(self.updates, envelope.update_id, key=_update_id)
        if self._is_at(index, envelope.update_id):
            return PutResult.DUPLICATE
        if limit is not None and len(self.updates) >= limit:
            return PutResult.FULL
        self.updates.insert(index, envelope)
        return PutResult.STORED

    def remove(self, update_id: int) -> Envelope | None:
        """Remove and return an update, or return None if it is not in the mailbox."""
        index = bisect_left(self.updates, update_id, key=_update_id)
        return self.updates.pop(index) if self._is_at(index, update_id) else None

    def record_owner_loss(self) -> float:
        """Record that the owner was lost.

        Returns:
            The seconds for which no worker may acquire the lease.
        """
        self._reset_for_new_head()
        if self.stage is SuspectStage.QUEUED:
            return 0.0
        self.owner_losses += 1
        self.owner_crashes += self.stage is SuspectStage.RUNNING
        suspected_losses = self.owner_losses - MAX_UNSUSPECTED_LOSSES
        if suspected_losses <= 0 or self.owner_crashes:
            return 0.0
        return SUSPECT_PAUSES[min(suspected_losses, len(SUSPECT_PAUSES)) - 1]

    def record_new_owner(self) -> None:
        """Record a new owner, which has not started to process the head yet."""
        self._reset_for_new_head()
        is_suspected = self.owner_losses > MAX_UNSUSPECTED_LOSSES
        self.stage = SuspectStage.QUEUED if is_suspected else SuspectStage.WAITING

    def clear_suspicion(self) -> None:
        """Reset the counts of lost owners, because an update was finished."""
        self.owner_losses = self.owner_crashes = 0
        self.stage = SuspectStage.WAITING

    def _reset_for_new_head(self) -> None:
        """Reset the counts if another update is at the head now."""
        head = self.updates[0].update_id
        if self.suspect_id != head:
            self.clear_suspicion()
            self.suspect_id = head

    def _is_at(self, index: int, update_id: int) -> bool:
        return index < len(self.updates) and self.updates[index].update_id == update_id
