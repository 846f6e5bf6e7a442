"""The mailbox of one lane, held in memory."""

from bisect import bisect_left
from enum import Enum
from operator import attrgetter

from msgspec import Struct

from gateway.domain.ports import PutResult
from gateway.domain.suspicion import MAX_UNSUSPECTED_LOSSES, SUSPECT_PAUSES
from gateway.domain.update import Envelope

_update_id = attrgetter("update_id")


class Stage(Enum):
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
        mail: at least one update, ordered by `update_id`.
        due: from when on anybody may claim the lane, by `Clock.uptime`: the end of the
            lease or of a pause; in an unclaimed lane the time of the put or release.
        token: the token of the last claim, current as long as the lane is claimed.
            Empty: the owner vanished, and the lane pauses.
        suspect: the update whose owners vanished.
        deaths: how many of them did.
        crashes: how many of them did in the middle of a step.
        stage: what the update is doing, if it is suspected.
    """

    mail: list[Envelope]
    due: float = 0
    token: str = ""
    suspect: int = 0
    deaths: int = 0
    crashes: int = 0
    stage: Stage = Stage.WAITING

    def add(self, envelope: Envelope, limit: int | None) -> PutResult:
        """Put an update in its place, unless `limit` updates are there already."""
        place = bisect_left(self.mail, envelope.update_id, key=_update_id)
        if self._is_at(place, envelope.update_id):
            return PutResult.DUPLICATE
        if limit is not None and len(self.mail) >= limit:
            return PutResult.FULL
        self.mail.insert(place, envelope)
        return PutResult.STORED

    def take(self, update_id: int) -> Envelope | None:
        """Remove an update. None: it is not there."""
        place = bisect_left(self.mail, update_id, key=_update_id)
        return self.mail.pop(place) if self._is_at(place, update_id) else None

    def count_death(self) -> float:
        """Note that the owner vanished.

        Returns:
            For how many seconds the lane is to wait now.
        """
        self._look_at_head()
        if self.stage is Stage.QUEUED:
            return 0.0
        self.deaths += 1
        self.crashes += self.stage is Stage.RUNNING
        beyond = self.deaths - MAX_UNSUSPECTED_LOSSES
        if beyond <= 0 or self.crashes:
            return 0.0
        return SUSPECT_PAUSES[min(beyond, len(SUSPECT_PAUSES)) - 1]

    def begin(self) -> None:
        """Note that there is a new owner, who has not begun with the head yet."""
        self._look_at_head()
        suspected = self.deaths > MAX_UNSUSPECTED_LOSSES
        self.stage = Stage.QUEUED if suspected else Stage.WAITING

    def clear(self) -> None:
        """Forget the owners that vanished: an update was done."""
        self.deaths = self.crashes = 0
        self.stage = Stage.WAITING

    def _look_at_head(self) -> None:
        """Begin to count anew if there is another update at the head."""
        head = self.mail[0].update_id
        if self.suspect != head:
            self.clear()
            self.suspect = head

    def _is_at(self, place: int, update_id: int) -> bool:
        return place < len(self.mail) and self.mail[place].update_id == update_id
