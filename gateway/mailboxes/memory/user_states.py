"""The states of users, held in memory: bounded in number and in time."""

from collections import OrderedDict
from itertools import islice

from msgspec import Struct

from gateway.domain.user_state import STATE_TTL


class _Kept(Struct, eq=False, gc=False):  # part of no circle; spares the collector
    """A state, and until when it is kept, by `Clock.uptime`."""

    state: bytes
    until: float


class States:
    """The stored states by lane. Of the users served longest ago they go first.

    Args:
        most: how many are kept at most.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        # In the order of `until`: what is saved goes to the end. An ordered dictionary,
        # because a plain one that is taken from at the front walks over every entry
        # that was deleted there before.
        self._kept: OrderedDict[str, _Kept] = OrderedDict()

    def __len__(self) -> int:
        """Give the number of states, those included that expired a moment ago."""
        return len(self._kept)

    def get(self, ordering_key: str, now: float) -> bytes | None:
        """Give the state of a lane. None: there is none any more."""
        kept = self._kept.get(ordering_key)
        return kept.state if kept is not None and kept.until > now else None

    def save(self, ordering_key: str, state: bytes, now: float) -> None:
        """Save a state, and let go of surplus and expired ones.

        Of two at most: only one is added, so they still become fewer, and no one save
        pays for all the users of a day.
        """
        self._kept[ordering_key] = _Kept(state, now + STATE_TTL)
        self._kept.move_to_end(ordering_key)
        for oldest in list(islice(self._kept, 2)):
            if len(self._kept) > self._most or self._kept[oldest].until <= now:
                del self._kept[oldest]
