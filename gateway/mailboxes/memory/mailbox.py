"""One mailbox in memory."""

from bisect import bisect_left
from enum import Enum

from msgspec import Struct, field

from gateway.domain.poison import MAX_UNSUSPECTED_LOSSES, SUSPECT_PAUSES
from gateway.domain.ports import PutResult
from gateway.domain.update import Envelope

DELIVERY_STEP = 2**-20
"""The distance of a delivery from the mail before it. The sum with the id of an update
is exact, and a mailbox never has so many deliveries that they reach the next id."""


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
    """The mail of one ordering key, and who may process them.

    Attributes:
        mail: at least one update or delivery, in the order of processing.
        positions: the position of each. That of an update is its `update_id`; that of a
            delivery is a little higher than the position of the mail before it.
        claimable_at: the time, by `Clock.uptime`, from which any worker may acquire the
            lease: the end of the current lease or of a pause; without a lease the time
            of the put or release.
        token: the token of the last lease, valid while the mailbox is leased; an empty
            string during the pause after the loss of an owner.
        suspect: the position of the mail to which the next three attributes belong.
        owner_losses: how many owners were lost with that update at the head.
        owner_crashes: how many of these owners were lost in the middle of a step.
        stage: the progress of that update, if it is suspected.
    """

    mail: list[Envelope] = field(default_factory=list)
    positions: list[float] = field(default_factory=list)
    claimable_at: float = 0
    token: str = ""
    suspect: float = 0
    owner_losses: int = 0
    owner_crashes: int = 0
    stage: SuspectStage = SuspectStage.WAITING

    def add(self, envelope: Envelope, limit: int | None) -> PutResult:
        """Insert an update in order, unless the mailbox already has `limit` mail."""
        update_id = envelope.update_id
        index = bisect_left(self.positions, update_id)
        if self._is_at(index, update_id):
            return PutResult.DUPLICATE
        if limit is not None and len(self.mail) >= limit:
            return PutResult.FULL
        self.mail.insert(index, envelope)
        self.positions.insert(index, update_id)
        return PutResult.STORED

    def remove(self, update_id: int) -> Envelope | None:
        """Remove and return an update, or return None if it is not in the mailbox."""
        index = bisect_left(self.positions, update_id)
        return self._pop(index) if self._is_at(index, update_id) else None

    def append_delivery(self, envelope: Envelope) -> None:
        """Append a delivery behind all mail."""
        self.mail.append(envelope)
        self.positions.append((self.positions or [0.0])[-1] + DELIVERY_STEP)

    def remove_delivery(self, delivery_id: str) -> Envelope | None:
        """Remove and return a delivery, or return None if it is not in the mailbox."""
        for index, envelope in enumerate(self.mail):
            delivery = envelope.delivery
            if delivery is not None and delivery.delivery_id == delivery_id:
                return self._pop(index)
        return None

    @property
    def lowest_update_id(self) -> int | None:
        """The lowest id of the updates, or None if there are only deliveries."""
        ids = (it.update_id for it in self.mail if it.delivery is None)
        return next(ids, None)

    def record_owner_loss(self) -> float:
        """Record that the owner of the lease was lost: it ended without releasing it.

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
        """Reset the counts if something else is at the head now."""
        head = self.positions[0]
        if self.suspect != head:
            self.clear_suspicion()
            self.suspect = head

    def _is_at(self, index: int, update_id: int) -> bool:
        return index < len(self.positions) and self.positions[index] == update_id

    def _pop(self, index: int) -> Envelope:
        del self.positions[index]
        return self.mail.pop(index)
