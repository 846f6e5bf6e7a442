"""The mailbox of one lane, held in memory."""

from bisect import bisect_left
from operator import attrgetter

from msgspec import Struct

from gateway.domain.ports import Placed
from gateway.domain.update import Envelope

_update_id = attrgetter("update_id")


class Mailbox(Struct, eq=False):
    """What there is of a lane that has mail.

    Attributes:
        mail: at least one update, ordered by `update_id`.
        due: from when on anybody may claim the lane, by `Clock.uptime`: the end of the
            lease; in an unclaimed lane the time of the put or the release.
        token: the token of the last claim, current as long as the lane is claimed.
        suspect: the update whose owners vanished.
        deaths: how many of them did.
    """

    mail: list[Envelope]
    due: float = 0
    token: str = ""
    suspect: int = 0
    deaths: int = 0

    def add(self, envelope: Envelope, limit: int | None) -> Placed:
        """Put an update in its place, unless `limit` updates are there already."""
        place = bisect_left(self.mail, envelope.update_id, key=_update_id)
        if self._is_at(place, envelope.update_id):
            return Placed.ALREADY
        if limit is not None and len(self.mail) >= limit:
            return Placed.FULL
        self.mail.insert(place, envelope)
        return Placed.STORED

    def take(self, update_id: int) -> Envelope | None:
        """Remove an update. None: it is not there."""
        place = bisect_left(self.mail, update_id, key=_update_id)
        return self.mail.pop(place) if self._is_at(place, update_id) else None

    def count_deaths(self, *, vanished: bool) -> int:
        """Give how many owners vanished with the update that is at the head now.

        Args:
            vanished: count one more.
        """
        head = self.mail[0].update_id
        deaths = self.deaths if self.suspect == head else 0
        if vanished:
            deaths += 1
            self.suspect, self.deaths = head, deaths
        return deaths

    def _is_at(self, place: int, update_id: int) -> bool:
        return place < len(self.mail) and self.mail[place].update_id == update_id
