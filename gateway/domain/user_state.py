"""What is remembered of a user between updates: session, token bucket, recent ids.

It is written by every commit and kept for 24 hours after the last activity, because
Telegram repeats an update for that long. It is kept small: every user seen in a day
has one.
"""

from base64 import urlsafe_b64encode
from collections.abc import Collection
from hashlib import blake2b

from msgspec import DecodeError, Struct, msgpack

STATE_TTL = 24 * 3600
"""For how long a state is kept: no update lives longer in Telegram's queue."""

RECENT_IDS = 64
"""How many ids are remembered at least."""

RECENT_SECONDS = 10
"""All ids of this time are remembered, however many there are.

They cover what a worker may put again after an outage of the store.
"""


PAYLOAD_KEY_PREFIX = "~"
"""What the data of a button begins with that is a key to longer data."""
_KEY_LENGTH = 17

MAX_PAYLOADS = 32
MAX_PAYLOAD_BYTES = 4096
"""How much data of buttons is kept. It is read and written with every update."""


class UserState(Struct, array_like=True):
    """A user's state. Fields are only ever added, at the end: old states stay readable.

    Times are seconds since the epoch.
    """

    internal_user_id: str = ""
    session_until: float = 0
    """Until then the user is not resolved again, whether there is an id or not."""
    tokens: float = 0
    """What was left in the token bucket at `judged_at`."""
    bucket_updated_at: float = 0
    """The arrival of the newest update that the bucket judged. 0: none yet."""
    last_notice_at: float = 0
    """The arrival of the update that was last answered with the notice."""
    album: str = ""
    """The album judged last."""
    album_allowed: bool = False
    """What the judgement was; it holds for the whole album."""
    recent_ids: list[int] = []
    """Ids of handled updates, oldest first; of those given up none, for a replay."""
    recent_times: list[int] = []
    """When the last of them were handled; older ones need no time."""
    dead_lettered: int = 0
    """How many updates went into the dead letters."""

    callback_payloads: dict[str, str] = {}
    """Data of buttons that is too long for a button, by its key, oldest first."""

    def store_payload(self, data: str, *, beside: Collection[str]) -> str:
        """Keep the data of a button; the oldest gives way to it.

        Args:
            data: what the press of the button stands for.
            beside: keys that must not give way.

        Returns:
            The key for the button, the same for the same data. Empty: there is no room.
        """
        key = _key(data)
        self.callback_payloads.pop(key, None)
        self.callback_payloads[key] = data  # the youngest again
        size = sum(map(_size, self.callback_payloads.values()))
        while len(self.callback_payloads) > MAX_PAYLOADS or size > MAX_PAYLOAD_BYTES:
            oldest = next(iter(self.callback_payloads))
            gone = key if oldest in beside else oldest
            size -= _size(self.callback_payloads.pop(gone))
            if gone == key:
                return ""
        return key

    def is_duplicate(self, update_id: int) -> bool:
        """Tell whether the update was handled before."""
        return update_id in self.recent_ids

    def mark_handled(self, update_id: int, now: float) -> None:
        """Take the update into the recent ids and let go of what may be forgotten."""
        if self.is_duplicate(update_id):
            return
        self.recent_ids.append(update_id)
        self.recent_times.append(int(now))
        oldest = now - RECENT_SECONDS - 1  # times are cut to whole seconds
        stale = 0
        while self.recent_times[stale] < oldest:
            stale += 1
        del self.recent_times[:stale]
        surplus = len(self.recent_ids) - max(RECENT_IDS, len(self.recent_times))
        del self.recent_ids[: max(0, surplus)]

    def mark_dead_lettered(self) -> None:
        """Note that an update goes into the dead letters.

        Its id is not remembered: a replay of it would be taken for a repetition. The
        number makes the state another one all the same, by which a repeated commit is
        told from one that took no effect.
        """
        self.dead_lettered += 1


def _key(data: str) -> str:
    """Give 17 characters that stand for the data: "~" and 12 bytes of its digest."""
    digest = blake2b(data.encode(), digest_size=12).digest()
    return f"{PAYLOAD_KEY_PREFIX}{urlsafe_b64encode(digest).decode()}"


def _size(data: str) -> int:
    return len(data.encode()) + _KEY_LENGTH


_encoder = msgpack.Encoder()
_decoder = msgpack.Decoder(UserState)


def encode_user_state(state: UserState) -> bytes:
    """Give the bytes to store."""
    return _encoder.encode(state)


def decode_user_state(stored: bytes | None) -> UserState:
    """Read a stored state; an absent or unreadable one is a new one.

    An unreadable one comes from an incompatible version. Starting anew costs the user
    a session at most, while an error would stop all of the user's updates.
    """
    if not stored:
        return UserState()
    try:
        return _decoder.decode(stored)
    except (DecodeError, UnicodeDecodeError):
        return UserState()
