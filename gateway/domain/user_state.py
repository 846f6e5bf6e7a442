"""The state of a user between updates: session, token bucket and recent update ids.

Every commit writes it. It expires 24 hours after the last activity, because Telegram
repeats an update for that long. It has to be small: every user of the last 24 hours has
one.
"""

from base64 import urlsafe_b64encode
from collections.abc import Collection
from hashlib import blake2b

from msgspec import DecodeError, Struct, msgpack

STATE_TTL = 24 * 3600
"""Seconds until a state expires: no update stays longer in Telegram's queue."""

RECENT_IDS = 64
"""The minimum number of ids to remember."""

RECENT_SECONDS = 10
"""All ids from the last `RECENT_SECONDS` are remembered, regardless of their number.

They include all updates that a worker may replay after an outage of the store.
"""


_PAYLOAD_KEY_PREFIX = "~"
"""The first character of button data that is a key to longer data."""
_KEY_LENGTH = 17

MAX_PAYLOADS = 32
MAX_PAYLOAD_BYTES = 4096
"""Limits on the stored button data, which is read and written with every update."""


class UserState(Struct, array_like=True):
    """What is remembered of a user between updates; encoded, it is the stored state.

    Add fields only at the end: old states have to stay readable. Times are seconds
    since the epoch.
    """

    internal_user_id: str | None = None
    session_until: float = 0
    """The user is not resolved again before this time, even if there is no id."""
    tokens: float = 0
    """The tokens that were left in the bucket at `bucket_updated_at`."""
    bucket_updated_at: float | None = None
    """The arrival of the newest update that the rate limiter checked."""
    last_notice_at: float = 0
    """The arrival of the update to which the last rate-limit notice was sent."""
    album: str | None = None
    """The album that the rate limiter checked last."""
    album_allowed: bool = False
    """The result of this check, which applies to all parts of the album."""
    recent_ids: list[int] = []
    """Ids of handled updates, oldest first. Dead letters are not included, so that they
    can be replayed."""
    recent_times: list[int] = []
    """The times at which the last of them were handled; older ids need no time."""
    dead_lettered: int = 0
    """The number of updates that became dead letters."""

    callback_payloads: dict[str, str] = {}
    """Data that is too long for a button, by its key, oldest first."""
    blocked_after: int | None = None
    """The update after which the user was found to have blocked the bot; 0 if none was
    known. None if the user was never found so."""

    @property
    def is_blocked(self) -> bool:
        """Whether the user was found to have blocked the bot and sent nothing since."""
        return self.blocked_after is not None and (
            self.blocked_after == self._newest_update_id
        )

    def mark_blocked(self, update_id: int | None = None) -> None:
        """Record that the user has blocked the bot.

        `is_blocked` is True until the next update of the user is handled.

        Args:
            update_id: the id of the update whose reply could not be sent; None if it
                was a delivery.
        """
        self.blocked_after = self._newest_update_id if update_id is None else update_id

    @property
    def _newest_update_id(self) -> int:
        return self.recent_ids[-1] if self.recent_ids else 0

    def store_payload(self, data: str, *, beside: Collection[str]) -> str | None:
        """Store button data that is too long for Telegram, and return a key for it.

        The oldest data is removed if there is more than `MAX_PAYLOADS` or
        `MAX_PAYLOAD_BYTES`; buttons with its keys then no longer work.

        Args:
            data: the data of the button.
            beside: the keys of data that must not be removed, because the same reply
                uses them.

        Returns:
            The key, always the same for the same data. None if there is no space beside
            the data to keep; then the new data is not stored.
        """
        key = _key(data)
        self.callback_payloads.pop(key, None)
        self.callback_payloads[key] = data  # as the newest
        size = sum(map(_size, self.callback_payloads.values()))
        while len(self.callback_payloads) > MAX_PAYLOADS or size > MAX_PAYLOAD_BYTES:
            oldest = next(iter(self.callback_payloads))
            removed = key if oldest in beside else oldest
            size -= _size(self.callback_payloads.pop(removed))
            if removed == key:
                return None
        return key

    def is_duplicate(self, update_id: int) -> bool:
        """Return whether this update was handled before, so that it must not be again.

        Only the last ids are remembered: see `RECENT_IDS` and `RECENT_SECONDS`.
        """
        return update_id in self.recent_ids

    def mark_handled(self, update_id: int, now: float) -> None:
        """Remember the id of a handled update, so that a duplicate is recognized.

        The oldest ids are removed, except for the last `RECENT_IDS` and those of the
        last `RECENT_SECONDS`.

        Args:
            update_id: the id of the update.
            now: the present time in seconds since the epoch.
        """
        if update_id in self.recent_ids:
            return
        self.recent_ids.append(update_id)
        self.recent_times.append(int(now))
        oldest = now - RECENT_SECONDS - 1  # times are truncated to whole seconds
        stale = 0
        while self.recent_times[stale] < oldest:
            stale += 1
        del self.recent_times[:stale]
        surplus = len(self.recent_ids) - max(RECENT_IDS, len(self.recent_times))
        del self.recent_ids[: max(0, surplus)]

    def mark_dead_lettered(self) -> None:
        """Record that an update of this user becomes a dead letter.

        Its id is not remembered, because a replay would look like a duplicate. The
        count changes the state nevertheless: a changed state is how a repeated commit
        is distinguished from one that had no effect.
        """
        self.dead_lettered += 1


def _key(data: str) -> str:
    """Return a key of 17 characters: "~" and 12 bytes of the data's digest."""
    digest = blake2b(data.encode(), digest_size=12).digest()
    return f"{_PAYLOAD_KEY_PREFIX}{urlsafe_b64encode(digest).decode()}"


def _size(data: str) -> int:
    return len(data.encode()) + _KEY_LENGTH


encode_user_state = msgpack.Encoder().encode
"""Returns the bytes to store."""

_decoder = msgpack.Decoder(UserState)


def decode_user_state(stored: bytes | None) -> UserState:
    """Decode a stored state; return a new, empty one if it is None or unreadable.

    An unreadable state was written by an incompatible version. A new state costs the
    user a session at most, while an error would stop all of the user's updates.
    """
    if not stored:
        return UserState()
    try:
        return _decoder.decode(stored)
    except (DecodeError, UnicodeDecodeError):
        return UserState()
