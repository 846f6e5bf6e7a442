"""The mailbox of one lane, held in memory."""

from bisect import bisect_left
from enum import Enum
from operator import attrgetter

from msgspec import Struct

from gateway.domain.ports import PutResult
from gateway.domain.suspicion import MAX_UNSUSPECTED_LOSSES, SUSPECT_PAUSES
from gateway.domain.update import Envelope

_update_id = attrgetter("update_id")


class SuspectStage(Enum):
    """What a suspected update is doing."""

    QUEUED = "queued"
    """Its actor has not begun with it."""
    RUNNING = "running"
    """A step of it is under way."""
    WAITING = "waiting"
    """It waits for others, such as a service. So do all that are not suspected."""


class Mailbox(Struct, eq=False):
    """What there is of a lane that has mail.

    Attributes:
        updates: at least one update, ordered by `update_id`.
        claimable_at: from when on anybody may claim the lane, by `Clock.uptime`: the
            end of the lease or of a pause; in an unclaimed lane the time of the put or
            release.
        token: the token of the last claim, current as long as the lane is claimed.
            Empty: the owner vanished, and the lane pauses.
        suspect_id: the update whose owners vanished.
        owner_losses: how many of them did.
        owner_crashes: how many of them did in the middle of a step.
        stage: what the update is doing, if it is suspected.
    """

    updates: list[Envelope]
    claimable_at: float = 0
    token: str = ""
    suspect_id: int = 0
    owner_losses: int = 0
    owner_crashes: int = 0
    stage: SuspectStage = SuspectStage.WAITING

    def add(self, envelope: Envelope, limit: int | None) -> PutResult:
        """Put an update in its place, unless `limit` updates are there already."""
        index = bisect_left(self.updates, envelope.update_id, key=_update_id)
        if self._is_at(index, envelope.update_id):
            return PutResult.DUPLICATE
        if limit is not None and len(self.updates) >= limit:
            return PutResult.FULL
        self.updates.insert(index, envelope)
        return PutResult.STORED

    def remove(self, update_id: int) -> Envelope | None:
        """Remove an update. None: it is not there."""
        index = bisect_left(self.updates, update_id, key=_update_id)
        return self.updates.pop(index) if self._is_at(index, update_id) else None

    def record_owner_loss(self) -> float:
        """Note that the owner vanished.

        Returns:
            For how many seconds the lane is to wait now.
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
        """Note that there is a new owner, who has not begun with the head yet."""
        self._reset_for_new_head()
        is_suspected = self.owner_losses > MAX_UNSUSPECTED_LOSSES
        self.stage = SuspectStage.QUEUED if is_suspected else SuspectStage.WAITING

    def clear_suspicion(self) -> None:
        """Forget the owners that vanished: an update was done."""
        self.owner_losses = self.owner_crashes = 0
        self.stage = SuspectStage.WAITING

    def _reset_for_new_head(self) -> None:
        """Begin to count anew if there is another update at the head."""
        head = self.updates[0].update_id
        if self.suspect_id != head:
            self.clear_suspicion()
            self.suspect_id = head

    def _is_at(self, index: int, update_id: int) -> bool:
        return index < len(self.updates) and self.updates[index].update_id == update_id
