"""The states of users, held in memory: bounded in number and in time."""

from collections import OrderedDict
from itertools import islice

from msgspec import Struct

from gateway.domain.user_state import STATE_TTL


class _CacheEntry(
    Struct, eq=False, gc=False
):  # part of no circle; spares the collector
    """A state, and until when it is kept, by `Clock.uptime`."""

    state: bytes
    expires_at: float


class UserStateCache:
    """The stored states by lane. Of the users served longest ago they go first.

    Args:
        most: how many are kept at most.
    """

    def __init__(self, max_entries: int) -> None:
        self._max_entries = max_entries
        # In the order of `expires_at`: what is saved goes to the end. An ordered
        # dictionary, because a plain one that is taken from at the front walks over
        # every entry that was deleted there before.
        self._entries: OrderedDict[str, _CacheEntry] = OrderedDict()

    def __len__(self) -> int:
        """Give the number of states, those included that expired a moment ago."""
        return len(self._entries)

    def get(self, ordering_key: str, now: float) -> bytes | None:
        """Give the state of a lane. None: there is none any more."""
        entry = self._entries.get(ordering_key)
        return entry.state if entry is not None and entry.expires_at > now else None

    def save(self, ordering_key: str, state: bytes, now: float) -> None:
        """Save a state, and let go of surplus and expired ones.

        Of two at most: only one is added, so they still become fewer, and no one save
        pays for all the users of a day.
        """
        self._entries[ordering_key] = _CacheEntry(state, now + STATE_TTL)
        self._entries.move_to_end(ordering_key)
        for oldest in list(islice(self._entries, 2)):
            if (
                len(self._entries) > self._max_entries
                or self._entries[oldest].expires_at <= now
            ):
                del self._entries[oldest]
