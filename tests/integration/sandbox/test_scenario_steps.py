"""Each step of a scenario: when it comes true, and when it does not."""

import asyncio
from collections.abc import Iterator
from itertools import count

import pytest

from gateway.sandbox.scenarios.observed_messages import MEDIA
from gateway.sandbox.scenarios.parser import read_scenario
from gateway.sandbox.scenarios.player import Report, new_ids, play
from gateway.sandbox.scenarios.steps import GLOBAL_STEPS, USER_STEPS
from gateway.sandbox.server import Simulator
from gateway.sandbox.tracing.trace_model import UpdateTrace
from tests.integration.sandbox.bot import Bot
from tests.integration.sandbox.scripted import answering
from tests.support.waiting import wait_until

HEAD = "users: [ada, grace]\npace: 0s\nsteps:\n"

TRUE = {
    "a text": ["ada says: hello", "ada sees: 'Ada (en): hello'"],
    "part of a text": ["ada says: hello", "ada sees: 'Ada *lo'"],
    "messages in between": ["ada says: a", "ada says: b", "ada sees: '*b'"],
    "each user alone": [
        "ada says: a",
        "grace says: b",
        "grace sees: 'Grace (en): b'",
        "grace sees nothing: 50ms",
        "ada sees: 'Ada (en): a'",
    ],
    "a press by the button's text": [
        "ada says: buttons",
        "ada presses: Yes?",
        "ada sees toast: Done",
        "ada sees edit: YES:1 was chosen",
    ],
    "a press by the button's data": [
        "ada says: buttons",
        "ada presses: LOOK:1",
        "ada sees alert: Look!",
        "ada sees edit: 'LOOK:1*'",
    ],
    **{
        f"a file of the bot: {media}": [
            f"ada says: send {media}",
            f"ada sees {media}",
            "ada sees nothing: 20ms",
        ]
        for media in MEDIA
    },
    "a photo by its caption": ["ada says: send photo", "ada sees photo: a ph*"],
    "a caption as a text": ["ada says: send photo", "ada sees: a photo"],
    "a button": [
        "ada says: buttons",
        "ada sees button: L*k",
        "ada sees button: YES:1",
        "ada sees button: Web",
        "ada sees: Choose",
    ],
    "a result of an inline query": [
        "ada searches: tea",
        "ada sees result: '*tea'",
        "ada sees nothing: 20ms",
    ],
    "an attachment": ["ada attaches: sticker", "ada sees: '*: other'"],
    "a caption": ["ada attaches photo: look", "ada sees: '*: photo look'"],
    "no caption": ["ada attaches photo", "ada sees: '*: photo'"],
    "an album": [
        "ada sends album: 2",
        "ada sees: '*: photo'",
        "ada sees: '*: photo'",
        "ada sees nothing: 50ms",
    ],
    "a burst": ["ada sends burst: 30", "ada sees: '*Message 30'"],
    "blocked and back": [
        "ada blocks the bot",
        "ada unblocks the bot",
        "ada sees: back",
    ],
    "an outcome": ["ada says: limit me", "expect outcome: limited"],
    "a wait": ["wait: 10ms"],
    "nothing": ["ada says: silence", "expect outcome: done", "ada sees nothing: 20ms"],
}

FALSE = {
    "another text": (
        ["ada says: hello", "ada sees: goodbye"],
        ["there was no such message within 1 s", "  bot: Ada (en): hello"],
    ),
    "seen only once": (
        ["ada says: hello", "ada sees: '*hello'", "ada sees: '*hello'"],
        ["there was no such message within 1 s"],
    ),
    "another order": (
        ["ada says: a", "ada says: b", "ada sees: '*b'", "ada sees: '*: a'"],
        ["there was no such message within 1 s"],
    ),
    "a message is no edit": (
        ["ada says: a", "ada sees edit: '*'"],
        ["there was no such edit within 1 s", "  message: Ada (en): a"],
    ),
    "a text is no photo": (
        ["ada says: hello", "ada sees photo"],
        ["there was no such photo within 1 s", "  message: Ada (en): hello"],
    ),
    "a video is no photo": (
        ["ada says: send video", "ada sees photo: '*'"],
        ["there was no such photo within 1 s", "  message: [video] a video"],
    ),
    "another caption": (
        ["ada says: send photo", "ada sees photo: b*"],
        ["there was no such photo within 1 s", "  bot: [photo] a photo"],
    ),
    "a photo that was seen": (
        ["ada says: send photo", "ada sees: a photo", "ada sees photo"],
        ["there was no such photo within 1 s"],
    ),
    "no button to see": (
        ["ada says: buttons", "ada sees button: No"],
        [
            "there was no such button within 1 s",
            "  bot: Choose [Yes?] [Look] [Web]",
        ],
    ),
    "an alert is no toast": (
        ["ada says: buttons", "ada presses: Look", "ada sees toast: '*'"],
        ["there was no such toast within 1 s", "  alert: Look!"],
    ),
    "a toast is one user's": (
        ["ada says: buttons", "ada presses: Yes?", "grace sees toast: '*'"],
        ["there was no such toast within 1 s", "  (empty)"],
    ),
    "no such button": (
        ["ada says: buttons", "ada presses: No"],
        [
            "there was no such button within 1 s",
            "  bot: Choose [Yes?] [Look] [Web]",
        ],
    ),
    "a button that opens an address": (
        ["ada says: buttons", "ada presses: Web"],
        ["the bot does not hear of this button: it opens an address"],
    ),
    "another result": (
        ["ada searches: tea", "ada sees result: coffee"],
        ["there was no such result within 1 s"],
    ),
    "a result of an earlier search": (
        [
            "ada searches: tea",
            "ada sees result: About tea",
            "ada searches: coffee",
            "ada sees result: About tea",
        ],
        ["there was no such result within 1 s"],
    ),
    "a result of somebody else": (
        ["ada searches: tea", "grace sees result: About tea"],
        ["there was no such result within 1 s"],
    ),
    "a button of somebody else": (
        ["ada says: buttons", "ada sees: Choose", "grace presses: Look"],
        ["there was no such button within 1 s", "  (empty)"],
    ),
    "something instead of nothing": (
        ["ada says: hello", "ada sees nothing: 10s"],
        ["this came:", "message: Ada (en): hello"],
    ),
    "another outcome": (
        ["ada says: hello", "expect outcome: limited"],
        ["it was not limited within 1 s", "the last update: accepted, done"],
    ),
    "the outcome of nothing": (
        ["expect outcome: done"],
        ["nothing was sent before that the bot wants to know of"],
    ),
    "a message of a service, without a gateway": (
        ["ada gets from a service: hello"],
        ["the gateway did not accept the message of the service"],
    ),
    "words to a blocked bot": (
        ["ada blocks the bot", "ada says: hello"],
        ["Ada blocked the bot; unblock it first"],
    ),
}


async def played(simulator: Simulator, lines: list[str], head: str = HEAD) -> Report:
    """Play steps."""
    text = head + "".join(f"  - {line}\n" for line in lines)
    return await play(read_scenario("x.yaml", text), simulator, ids())


def ids() -> Iterator[int]:
    """Return ids of new users."""
    return count(5000)


@pytest.mark.parametrize("lines", TRUE.values(), ids=TRUE)
async def test_a_step_comes_true(
    simulator: Simulator, bot: Bot, lines: list[str]
) -> None:
    async with answering(simulator, bot):
        report = await played(simulator, lines)
    assert [step.result for step in report.steps] == ["ok"] * len(lines), report


@pytest.mark.parametrize(("lines", "why"), FALSE.values(), ids=FALSE)
async def test_a_step_fails_and_says_why(
    simulator: Simulator, bot: Bot, lines: list[str], why: list[str]
) -> None:
    """With what was seen instead; what comes after it is skipped."""
    head = f"timeout: 1s\n{HEAD}"
    async with answering(simulator, bot):
        report = await played(simulator, [*lines, "wait: 1s"], head)
    results = [step.result for step in report.steps]
    assert results == ["ok"] * (len(lines) - 1) + ["failed", "skipped"], report
    assert report.failed
    assert report.failed.line == len(lines) + 4
    assert report.failed.why[0] == why[0]
    assert set(why) <= set(report.failed.why)


TWO_BOTS = "users: [ada]\nbots: [marmot_desk_bot, support]\npace: 0s\nsteps:\n"


def with_bot(name: str, *lines: str) -> list[str]:
    """Return steps with a bot; a step without a value needs a colon in YAML."""
    steps = [line if ":" in line else f"{line}:" for line in lines]
    return [f"{step}\n    bot: {name}" for step in steps]


async def test_a_user_talks_to_several_bots(simulator: Simulator, bot: Bot) -> None:
    """What one bot sends is not what the other one has sent."""
    other = simulator.bots.add("777:other", "Support", "support")
    caller = Bot(bot.session, bot.url, other.token)
    lines = [
        *with_bot("support", "ada says: buttons", "ada sees: Choose"),
        *with_bot("marmot_desk_bot", "ada says: hi", "ada sees: 'Ada (en): hi'"),
        *with_bot("support", "ada presses: Look", "ada sees alert: Look!"),
        *with_bot("marmot_desk_bot", "ada sees nothing: 20ms"),
        *with_bot("support", "ada blocks the bot", "ada unblocks the bot"),
        *with_bot("marmot_desk_bot", "ada sees nothing: 20ms"),
        *with_bot("support", "ada sees: back"),
        "expect outcome: done",
    ]
    async with answering(simulator, bot), answering(simulator, caller):
        report = await played(simulator, lines, TWO_BOTS)
    assert not report.failed, report
    assert len(other.chats.messages(5000)) == 3


async def test_a_failure_shows_the_chat_with_the_bot_of_the_step(
    simulator: Simulator, bot: Bot
) -> None:
    simulator.bots.add("777:other", "Support", "support")
    lines = [
        *with_bot("marmot_desk_bot", "ada says: hi", "ada sees: '*hi'"),
        *(
            f"{step}\n    within: 50ms"
            for step in with_bot("support", "ada sees: '*hi'")
        ),
    ]
    async with answering(simulator, bot):
        report = await played(simulator, lines, TWO_BOTS)
    assert report.failed
    assert report.failed.words == "ada sees: *hi (@support)"
    assert report.failed.why[1:3] == ["the chat of ada:", "  (empty)"]


async def test_a_bot_that_the_simulator_has_not_is_refused(
    simulator: Simulator,
) -> None:
    with pytest.raises(ValueError, match="there is no bot @support"):
        await played(simulator, ["wait: 0s"], TWO_BOTS)


def test_the_steps_above_are_all_there_are() -> None:
    tried = " / ".join(line for lines in TRUE.values() for line in lines)
    captioned = {"attaches document", "attaches video", "attaches voice"}
    # It needs a gateway: contact.yaml, which tests/e2e/test_scenarios.py plays.
    elsewhere = {"gets from a service"}
    missing = [
        verb
        for verb in [*USER_STEPS, *GLOBAL_STEPS]
        if verb not in captioned | elsewhere
        and f"{verb}:" not in tried
        and verb not in tried
    ]
    assert missing == []


async def test_what_a_reply_lost_is_reported(simulator: Simulator) -> None:
    """It may be why a button is not there."""

    async def lose() -> None:
        await wait_until(lambda: simulator.update_log.total == 1)
        update_id = simulator.update_log.rows(1)[0].update_id
        losses = ("Left out of the reply: button url.",)
        told = UpdateTrace(update_id=update_id, outcome="done", losses=losses)
        simulator.update_log.add_trace(told)

    losing = asyncio.create_task(lose())
    button = "ada sees button: Go\n    within: 50ms"
    lines = ["ada says: a", "expect outcome: done", button]
    report = await played(simulator, lines)
    await losing
    assert report.failed
    assert report.failed.why[-1] == "  Left out of the reply: button url."


async def test_a_step_has_a_limit_of_its_own(simulator: Simulator) -> None:
    lines = ["ada sees: hello\n    within: 50ms"]
    report = await played(simulator, lines, f"timeout: 10m\n{HEAD}")
    assert report.failed
    assert report.failed.why[0] == "there was no such message within 0.05 s"


async def test_a_user_is_as_slow_as_people_are(simulator: Simulator, bot: Bot) -> None:
    """The next thing comes a second after the bot took the last; others are free."""
    async with answering(simulator, bot):
        head = HEAD.replace("0s", "400ms")
        report = await played(simulator, ["ada says: a", "ada says: b"], head)
        head = HEAD.replace("0s", "10m")
        others = await played(simulator, ["ada says: a", "grace says: b"], head)
    assert report.steps[1].seconds >= 0.39
    assert others.steps[1].seconds < 600


async def test_a_gateway_that_takes_nothing_is_reported(simulator: Simulator) -> None:
    """A user who would have to wait for it does not wait for ever."""
    head = f"timeout: 50ms\n{HEAD.replace('0s', '10ms')}"
    report = await played(simulator, ["ada says: a", "ada says: b"], head)
    assert report.failed
    assert report.failed.why[0] == (
        "the gateway did not take what ada did before: it is waiting after 0 attempts,"
        " status 0"
    )


async def test_the_newest_of_several_buttons_is_pressed(
    simulator: Simulator, bot: Bot
) -> None:
    """Who sees two of them means the lower one."""
    lines = ["ada says: buttons", "ada sees: Choose"] * 2
    async with answering(simulator, bot):
        report = await played(
            simulator, [*lines, "ada presses: Look", "ada sees edit: '*'"]
        )
    assert not report.failed
    shown = [message["text"] for message in simulator.messages(5000)]
    assert shown == ["buttons", "Choose", "buttons", "LOOK:1 was chosen"]


async def test_users_are_new_or_have_the_id_that_the_file_says(
    simulator: Simulator, bot: Bot
) -> None:
    """Files with new users do not disturb each other."""
    head = "users: {ada: {id: 1001, language: de}, bob: }\npace: 0s\nsteps:\n"
    lines = ["ada says: x", "ada sees: 'Ada (de): x'", "bob says: y"]
    async with answering(simulator, bot):
        assert not (await played(simulator, lines, head)).failed
        report = await played(simulator, ["ada presses: x"], f"timeout: 20ms\n{head}")
    assert report.failed
    assert "  (empty)" in report.failed.why  # not what the file before left there
    by_id = {user["id"]: user for user in simulator.snapshot()["users"]}
    assert by_id[1001]["first_name"] == "Ada"
    assert by_id[5000]["first_name"] == "Bob"


def test_new_users_are_others_in_each_run() -> None:
    """A service that outlives a run has not met them."""
    first, second = new_ids(), new_ids()
    assert next(first) + 1 == next(first)
    assert next(first) != next(second)


async def test_more_than_can_be_watched_is_a_failure(
    simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "gateway.sandbox.simulator.state.event_stream.LISTENER_LIMIT", 20
    )
    report = await played(simulator, ["ada sends burst: 40", "ada sees: x"])
    assert report.failed
    assert report.failed.why[0] == "too much happened at once to be watched"
