"""Enforces Telegram's limits of how often a bot may send, and counts violations.

Telegram publishes about 30 messages a second for one bot, 1000 with paid broadcasts,
one a second for one chat with short bursts, and 20 a minute for one group (Bots FAQ).
How long a burst may be is not published. Edits count toward the limits of chats only;
answers to pressed buttons are not limited (tdlib/telegram-bot-api issue 648). Chat
actions and drafts have limits that are not published; they are not limited here.
"""

import math
import time
from collections.abc import Callable

from msgspec import Struct

from gateway.sandbox.simulator.limits.sliding_window import SlidingWindows, WindowCounts
from gateway.sandbox.simulator.validation.rules import (
    Parameters,
    is_true,
    number,
    too_many_requests,
)

_NOT_LIMITED = frozenset({"sendChatAction", "sendMessageDraft"})
_SENDING = ("send", "copy", "forward")
_EDITING = ("edit",)
_ONLY_KEY = 0
"""The key of windows that a bot has only one of."""


class LimitSettings(Struct, frozen=True, kw_only=True):
    """How many messages each bot may send, and where.

    Attributes:
        bot_calls: the messages of the bot within a second.
        paid_calls: the messages with `allow_paid_broadcast` within a second. They do
            not count for `bot_calls`.
        chat_seconds: the average seconds between two messages in a private chat.
        chat_burst: the messages in a private chat that may come at once: so many within
            `chat_burst * chat_seconds`.
        group_calls: the messages in a group within `group_seconds`.
        group_seconds: the length of that period in seconds.
    """

    bot_calls: int = 30
    paid_calls: int = 1000
    chat_seconds: float = 1.0
    chat_burst: int = 3
    group_calls: int = 20
    group_seconds: float = 60.0

    def __post_init__(self) -> None:
        """Check the ranges.

        Raises:
            ValueError: a limit or a period is out of its range.
        """
        for name in LimitSettings.__struct_fields__:
            if not 0 < getattr(self, name) <= 100_000:
                raise ValueError(f"{name}: over 0 and at most 100000")


class ChatHold(Struct, kw_only=True):
    """A wait for one chat that the simulator demands by a 429.

    The wait begins with the first call to the chat.

    Attributes:
        bot_id: the bot whose calls have to wait.
        chat_id: the chat.
        retry_after: the seconds to wait.
        calls: the number of calls to the chat during the wait, without the first.
        until: the end of the wait, by the clock of `FloodLimits`; None before the first
            call.
    """

    bot_id: int
    chat_id: int
    retry_after: int
    calls: int = 0
    until: float | None = None

    def seconds_left(self, now: float) -> int:
        """Count a call; the first one begins the wait.

        Args:
            now: the seconds of a monotonic clock.

        Returns:
            The whole seconds that the bot has to wait; 0 if the wait is over.
        """
        if self.until is None:
            self.until = now + self.retry_after
            return self.retry_after
        if now >= self.until:
            return 0
        self.calls += 1
        return math.ceil(self.until - now)


class _BotWindows:
    """The windows of one bot."""

    def __init__(self, settings: LimitSettings) -> None:
        self.bot = SlidingWindows(settings.bot_calls, 1.0)
        self.paid = SlidingWindows(settings.paid_calls, 1.0)
        self.private_chat = SlidingWindows(
            settings.chat_burst, settings.chat_burst * settings.chat_seconds
        )
        self.group = SlidingWindows(settings.group_calls, settings.group_seconds)

    def check(self, method: str, parameters: Parameters, now: float) -> int:
        """Count a call; return the whole seconds to wait, or 0 if it is admitted."""
        concerned: list[tuple[SlidingWindows, int]] = []
        if method.startswith(_SENDING):
            is_paid = is_true(parameters.get("allow_paid_broadcast"))
            concerned.append((self.paid if is_paid else self.bot, _ONLY_KEY))
        if chat_id := number(parameters.get("chat_id")):
            chats = self.private_chat if chat_id > 0 else self.group
            concerned.append((chats, chat_id))
        waits = [windows.count_call(key, now) for windows, key in concerned]
        if wait := max(waits, default=0):
            return wait
        for windows, key in concerned:
            windows.admit(key, now)
        return 0

    def counts(self) -> dict[str, WindowCounts]:
        """Return the counts by the kind of window."""
        return {
            "bot": self.bot.counts,
            "paid": self.paid.counts,
            "private_chat": self.private_chat.counts,
            "group": self.group.counts,
        }


class FloodLimits:
    """Counts the calls of all bots, and rejects those that exceed a limit.

    Args:
        settings: the limits; None to enforce none.
        clock: returns the seconds of a monotonic clock.
    """

    def __init__(
        self,
        settings: LimitSettings | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._bots: dict[int, _BotWindows] = {}
        self._holds: dict[tuple[int, int], ChatHold] = {}

    def enforce(self, settings: LimitSettings | None) -> None:
        """Enforce other limits from now on; all counts begin again.

        Args:
            settings: the limits; None to enforce none.
        """
        self._settings = settings
        self._bots.clear()

    def hold_chat(self, bot_id: int, chat_id: int, retry_after: int) -> None:
        """Demand a wait for one chat, whether other limits are enforced or not.

        Args:
            bot_id: the bot whose calls have to wait.
            chat_id: the chat.
            retry_after: the seconds to wait, from the next call to the chat on; 0
                removes an earlier wait.

        Raises:
            ValueError: the seconds are out of their range.
        """
        if not 0 <= retry_after <= 86_400:
            raise ValueError("seconds: 0 to 86400")
        self._holds.pop((bot_id, chat_id), None)
        if retry_after:
            self._holds[bot_id, chat_id] = ChatHold(
                bot_id=bot_id, chat_id=chat_id, retry_after=retry_after
            )

    def check(self, bot_id: int, method: str, parameters: Parameters) -> None:
        """Count a call, and check that no limit forbids it.

        Args:
            bot_id: the bot that calls.
            method: the method as Telegram spells it.
            parameters: the parameters of the call.

        Raises:
            ApiError: a 429, because the call exceeds a limit.
        """
        if self._holds:
            self._check_hold(bot_id, parameters)
        if self._settings and _is_limited(method):
            windows = self._bots.get(bot_id)
            if windows is None:
                windows = self._bots[bot_id] = _BotWindows(self._settings)
            if wait := windows.check(method, parameters, self._clock()):
                raise too_many_requests(wait)

    def view(self) -> Parameters:
        """Return limits, counts and waits for a page, without contents of calls."""
        return {
            "settings": self._settings,
            "bots": {
                str(bot_id): windows.counts() for bot_id, windows in self._bots.items()
            },
            "holds": [self._view_hold(hold) for hold in self._holds.values()],
        }

    def _check_hold(self, bot_id: int, parameters: Parameters) -> None:
        hold = self._holds.get((bot_id, number(parameters.get("chat_id"))))
        if hold and (wait := hold.seconds_left(self._clock())):
            raise too_many_requests(wait)

    def _view_hold(self, hold: ChatHold) -> Parameters:
        state = "waiting for a call"
        if hold.until is not None:
            state = "over" if self._clock() >= hold.until else "holding"
        return {
            "bot_id": hold.bot_id,
            "chat_id": hold.chat_id,
            "retry_after": hold.retry_after,
            "calls": hold.calls,
            "state": state,
        }


def _is_limited(method: str) -> bool:
    return method not in _NOT_LIMITED and method.startswith(_SENDING + _EDITING)
