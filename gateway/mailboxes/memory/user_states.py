"""User states in memory, limited in number and age."""

from collections import OrderedDict
from itertools import islice

from msgspec import Struct

from gateway.domain.user_state import STATE_TTL


# gc=False: an entry is never part of a reference cycle, so the garbage collector need
# not visit it.
class _CacheEntry(Struct, eq=False, gc=False):
    """A state, and the time by `Clock.uptime` at which it expires."""

    state: bytes
    expires_at: float


class UserStateCache:
    """Stores user states by ordering key, for `STATE_TTL` seconds after each save.

    Args:
        max_entries: the maximum number of states; the least recently saved are removed
            first.
    """

    def __init__(self, max_entries: int) -> None:
        self._max_entries = max_entries
        # Ordered by `expires_at`: a saved entry moves to the end. A plain dict would
        # be slow here: finding its first entry steps over all deleted ones before it.
        self._entries: OrderedDict[str, _CacheEntry] = OrderedDict()

    def __len__(self) -> int:
        """Return the number of states, including expired ones not removed yet."""
        return len(self._entries)

    def get(self, ordering_key: str, now: float) -> bytes | None:
        """Return the state of an ordering key; None if there is none or it has expired.

        Args:
            ordering_key: the ordering key.
            now: the present time by `Clock.uptime`.
        """
        entry = self._entries.get(ordering_key)
        return entry.state if entry is not None and entry.expires_at > now else None

    def save(self, ordering_key: str, state: bytes, now: float) -> None:
        """Store a state for `STATE_TTL`, and remove up to two old ones.

        Removed are the least recently saved that are expired or too many.

        A save adds one entry and removes at most two: the number still shrinks, and no
        single save pays for a large clean-up.

        Args:
            ordering_key: the ordering key; an earlier state of it is replaced.
            state: the encoded user state.
            now: the present time by `Clock.uptime`.
        """
        self._entries[ordering_key] = _CacheEntry(state, now + STATE_TTL)
        self._entries.move_to_end(ordering_key)
        for oldest in list(islice(self._entries, 2)):
            if (
                len(self._entries) > self._max_entries
                or self._entries[oldest].expires_at <= now
            ):
                del self._entries[oldest]
