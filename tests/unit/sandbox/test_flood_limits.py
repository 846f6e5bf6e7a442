"""Telegram's limits: which calls count toward which, and what is counted."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.sandbox.simulator.limits.flood_limits import FloodLimits, LimitSettings
from gateway.sandbox.simulator.validation.rules import ApiError

BOT = 123456


class Telegram:
    """Limits with a clock that the test moves."""

    def __init__(self, settings: LimitSettings | None = None) -> None:
        self.now = 1000.0
        self.limits = FloodLimits(settings, lambda: self.now)

    def call(self, chat: int, method: str = "sendMessage", **more: object) -> int:
        """Make a call; return the seconds that a refusal demands, or 0."""
        bot = int(str(more.pop("bot", BOT)))
        try:
            self.limits.check(bot, method, {"chat_id": chat, **more})
        except ApiError as refused:
            return int(refused.parameters["retry_after"])
        return 0

    def counts(self, kind: str, bot: int = BOT) -> dict[str, Any]:
        """Return the counts of one kind of window, as JSON shows them."""
        view = msgspec.json.decode(msgspec.json.encode(self.limits.view()))
        counts: dict[str, Any] = view["bots"][str(bot)][kind]
        return counts


def test_without_limits_nothing_is_refused() -> None:
    telegram = Telegram()
    assert [telegram.call(7) for _ in range(2000)] == [0] * 2000
    assert telegram.limits.view() == {"settings": None, "bots": {}, "holds": []}


def test_a_bot_may_send_30_messages_a_second() -> None:
    telegram = Telegram(LimitSettings())
    assert [telegram.call(chat) for chat in range(1, 32)] == [0] * 30 + [1]
    telegram.now += 1.0
    assert telegram.call(99) == 0
    counts = telegram.counts("bot")
    assert (counts["calls"], counts["violations"], counts["highest"]) == (32, 1, 31)
    assert (counts["limit"], counts["seconds"]) == (30, 1.0)


def test_a_refusal_is_the_one_of_telegram() -> None:
    telegram = Telegram(LimitSettings(chat_burst=1))
    assert telegram.call(7) == 0
    with pytest.raises(ApiError) as it:
        telegram.limits.check(BOT, "sendMessage", {"chat_id": 7})
    assert it.value.status == 429
    assert it.value.description == "Too Many Requests: retry after 1"
    assert it.value.parameters == {"retry_after": 1}


def test_a_paid_broadcast_may_send_1000_messages_a_second() -> None:
    """Free messages beside it have their own limit."""
    telegram = Telegram(LimitSettings())
    waits = [
        telegram.call(chat, allow_paid_broadcast="true") for chat in range(1, 1002)
    ]
    assert waits == [0] * 1000 + [1]
    assert telegram.call(2000) == 0
    assert telegram.counts("paid")["violations"] == 1
    assert telegram.counts("bot")["violations"] == 0


def test_a_private_chat_takes_a_short_burst() -> None:
    telegram = Telegram(LimitSettings())
    assert [telegram.call(7) for _ in range(4)] == [0, 0, 0, 3]
    assert telegram.call(8) == 0
    telegram.now += 3
    assert telegram.call(7) == 0
    assert telegram.counts("private_chat")["violations"] == 1


def test_a_private_chat_may_take_one_message_a_second() -> None:
    telegram = Telegram(LimitSettings(chat_burst=1))
    assert [telegram.call(7), telegram.call(7)] == [0, 1]
    telegram.now += 1
    assert telegram.call(7) == 0


def test_a_group_takes_20_messages_a_minute() -> None:
    telegram = Telegram(LimitSettings())
    waits = []
    for _ in range(21):
        waits.append(telegram.call(-1001))
        telegram.now += 1
    assert waits == [0] * 20 + [40]
    assert telegram.call(-1001) == 39
    counts = telegram.counts("group")
    assert (counts["violations"], counts["early_calls"]) == (2, 1)
    telegram.now += 39
    assert telegram.call(-1001) == 0


def test_a_refused_call_takes_no_space_in_any_window() -> None:
    """The message that a chat refuses does not count as a message of the bot."""
    telegram = Telegram(LimitSettings(bot_calls=2, chat_burst=1))
    assert [telegram.call(7), telegram.call(7), telegram.call(8)] == [0, 1, 0]
    assert telegram.call(9) == 1


@pytest.mark.parametrize(
    ("method", "is_message", "is_limited"),
    [
        ("sendPhoto", True, True),
        ("sendMediaGroup", True, True),
        ("editMessageText", False, True),
        ("sendChatAction", False, False),
        ("sendMessageDraft", False, False),
        ("answerCallbackQuery", False, False),
        ("deleteMessage", False, False),
        ("getMe", False, False),
    ],
)
def test_edits_count_for_chats_and_what_is_no_message_counts_for_nothing(
    method: str, is_message: bool, is_limited: bool
) -> None:
    telegram = Telegram(LimitSettings(bot_calls=1, chat_burst=1))
    assert telegram.call(7, method) == 0
    assert bool(telegram.call(7, method)) == is_limited
    if is_limited:
        assert telegram.counts("bot")["calls"] == (2 if is_message else 0)


@given(
    st.lists(
        st.tuples(
            st.sampled_from([0.0, 0.1, 0.5, 1.0, 7.0]),
            st.sampled_from([1, 2, -1]),
            st.sampled_from(["sendMessage", "editMessageText"]),
            st.booleans(),
        ),
        max_size=60,
    )
)
def test_a_call_is_admitted_if_every_limit_has_space(
    calls: list[tuple[float, int, str, bool]],
) -> None:
    """As in a model that looks at all admitted calls each time."""
    settings = LimitSettings(
        bot_calls=3, paid_calls=4, chat_burst=2, group_calls=2, group_seconds=10
    )
    telegram, admitted = Telegram(settings), list[tuple[float, object]]()

    def has_space(limit: int, seconds: float, of: object) -> bool:
        recent = [at for at, key in admitted if key == of and at + seconds > now]
        return len(recent) < limit

    for pause, chat, method, is_paid in calls:
        telegram.now = now = telegram.now + pause
        keys: dict[object, bool] = {chat: has_space(2, 2.0 if chat > 0 else 10.0, chat)}
        if method == "sendMessage":
            kind = "paid" if is_paid else "bot"
            keys[kind] = has_space(4 if is_paid else 3, 1.0, kind)
        wait = telegram.call(chat, method, allow_paid_broadcast=is_paid)
        assert (wait == 0) == all(keys.values())
        if not wait:
            admitted += [(now, key) for key in keys]


def test_each_bot_has_limits_of_its_own() -> None:
    telegram = Telegram(LimitSettings(bot_calls=1))
    assert [telegram.call(7, bot=bot) for bot in (1, 2, 1)] == [0, 0, 1]
    assert telegram.counts("bot", 2)["violations"] == 0


def test_a_call_without_a_chat_counts_for_the_bot_alone() -> None:
    """It fails later, for it has no chat."""
    telegram = Telegram(LimitSettings())
    telegram.limits.check(BOT, "sendMessage", {})
    assert telegram.counts("bot")["calls"] == 1
    assert telegram.counts("private_chat")["calls"] == 0


def test_a_hold_counts_every_call_into_its_chat_until_it_is_over() -> None:
    """It begins with the first call, from which the bot learns of it."""
    telegram = Telegram()
    telegram.limits.hold_chat(BOT, 7, 37)
    telegram.now += 100
    assert telegram.limits.view()["holds"][0]["state"] == "waiting for a call"
    assert telegram.call(7) == 37
    telegram.now += 36.5
    assert telegram.call(7, "sendChatAction") == 1
    assert telegram.call(8) == 0
    assert telegram.call(7, bot=5) == 0
    hold = {"bot_id": BOT, "chat_id": 7, "retry_after": 37, "calls": 1}
    assert telegram.limits.view()["holds"] == [hold | {"state": "holding"}]
    telegram.now += 0.5
    assert telegram.call(7) == 0
    assert telegram.limits.view()["holds"] == [hold | {"state": "over"}]
    telegram.limits.hold_chat(BOT, 7, 0)
    assert telegram.limits.view()["holds"] == []


def test_a_wait_that_nobody_can_demand_is_refused() -> None:
    telegram = Telegram()
    for seconds in (-1, 86_401):
        with pytest.raises(ValueError, match="seconds: 0 to 86400"):
            telegram.limits.hold_chat(BOT, 7, seconds)


def test_other_limits_begin_to_count_again() -> None:
    telegram = Telegram(LimitSettings(bot_calls=1))
    assert [telegram.call(7), telegram.call(8)] == [0, 1]
    telegram.limits.enforce(LimitSettings(bot_calls=2))
    assert [telegram.call(7), telegram.call(8), telegram.call(9)] == [0, 0, 1]
    telegram.limits.enforce(None)
    assert telegram.call(7) == 0
    assert telegram.limits.view()["bots"] == {}


@pytest.mark.parametrize("name", LimitSettings.__struct_fields__)
def test_a_limit_out_of_its_range_is_refused(name: str) -> None:
    for value in (0, -1, 100_001):
        with pytest.raises(ValueError, match=f"{name}: over 0"):
            LimitSettings(**{name: value})
