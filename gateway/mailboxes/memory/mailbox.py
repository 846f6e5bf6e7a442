"""One mailbox in memory: its mail, its lease, and whether its mail is suspected."""

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
    """The progress of the first mail of a mailbox, if it is a suspected update.

    It decides what the loss of an owner means: see `Mailbox.record_owner_loss`.
    """

    QUEUED = "queued"
    """Its actor has not started to process it."""
    RUNNING = "running"
    """A step of it is running."""
    WAITING = "waiting"
    """It waits for something else, such as a service. Updates that are not suspected
    are always in this stage."""


class Mailbox(Struct, eq=False):
    """The mail of one ordering key in order, and who may process it.

    Attributes:
        mail: updates and deliveries, in the order of processing. Empty only for a
            moment, or after its last delivery was cancelled.
        positions: the position of each mail, a number by which they are sorted. That of
            an update is its `update_id`; that of a delivery is a little higher than the
            position of the mail before it.
        claimable_at: the time, by `Clock.uptime`, from which any worker may acquire the
            lease: the end of the current lease or of a pause; without a lease the time
            of the put or release.
        token: the fencing token of the last lease, valid while the mailbox is leased;
            an empty string during the pause after the loss of an owner.
        suspect: the position of the mail to which the next three attributes belong.
        owner_losses: how many owners were lost while that mail was the first one.
        owner_crashes: how many of these owners were lost during a step of it.
        stage: the progress of that mail, if it is a suspected update.
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
        """Insert an update at its position, unless it is there or the mailbox is full.

        Args:
            envelope: the update.
            limit: the number of mail from which on the mailbox is full; None for no
                limit.
        """
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
        """Remove and return the update with an id; return None if it is not there."""
        index = bisect_left(self.positions, update_id)
        return self._pop(index) if self._is_at(index, update_id) else None

    def append_delivery(self, envelope: Envelope) -> None:
        """Append an envelope with a delivery behind all mail, without any limit."""
        self.mail.append(envelope)
        self.positions.append((self.positions or [0.0])[-1] + DELIVERY_STEP)

    def remove_delivery(self, delivery_id: str) -> Envelope | None:
        """Remove and return the mail with a delivery; None if it is not there."""
        for index, envelope in enumerate(self.mail):
            delivery = envelope.delivery
            if delivery is not None and delivery.delivery_id == delivery_id:
                return self._pop(index)
        return None

    @property
    def lowest_update_id(self) -> int | None:
        """The lowest id of the updates in the mailbox; None if there are none."""
        ids = (it.update_id for it in self.mail if it.delivery is None)
        return next(ids, None)

    def record_owner_loss(self) -> float:
        """Count a lease that expired without a release against the first mail.

        Nothing is counted if that mail is a suspect whose processing had not begun. The
        mailbox must not be empty.

        Returns:
            For how many seconds the caller must let nobody acquire the lease: see
            `SUSPECT_PAUSES`; 0 for no pause.
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
        """Prepare the counts for a new owner, which has not begun the first mail yet.

        The mailbox must not be empty.
        """
        self._reset_for_new_head()
        is_suspected = self.owner_losses > MAX_UNSUSPECTED_LOSSES
        self.stage = SuspectStage.QUEUED if is_suspected else SuspectStage.WAITING

    def clear_suspicion(self) -> None:
        """Reset the counts of lost owners, because mail was finished."""
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
