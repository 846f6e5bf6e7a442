"""The steps of scenarios: actions of users, and what they should see.

A verb, such as `says` or `sees`, parses the text after its colon when the file is
parsed, and returns the function that performs the step when the scenario is played.
Parsing raises ValueError with a message for people; performing raises StepFailed or
InvalidInput.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import TypeVar

from gateway.domain.processing_record import Outcome
from gateway.sandbox.scenarios.environment import Environment, Participant, StepFailed
from gateway.sandbox.scenarios.observed_messages import MEDIA, buttons_of
from gateway.sandbox.scenarios.patterns import Pattern, parse_pattern
from gateway.sandbox.simulator.actions.user_actions import BURST_LIMIT
from gateway.sandbox.simulator.state.attachments import CAPTIONED, KINDS
from gateway.sandbox.simulator.validation.rules import Parameters

T = TypeVar("T")

Act = Callable[[Environment, str], Awaitable[None]]
"""Performs a step for the user with this name."""
Verb = Callable[[str | None], Act]
"""Parses the text after the colon, or None, and returns the step's action."""

_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|)")
_UNITS = {"ms": 0.001, "s": 1.0, "": 1.0, "m": 60.0}
_LONGEST = 600.0


def duration(given: str | None) -> float:
    """Parse a time such as `500ms`, `2s` or `1m` into seconds.

    Raises:
        ValueError: the text is missing or is no such time, or it is over ten minutes.
    """
    found = _DURATION.fullmatch(given or "")
    seconds = float(found[1]) * _UNITS[found[2]] if found else _LONGEST + 1
    if seconds > _LONGEST:
        raise ValueError("needs a time such as 500ms, 2s or 1m, at most 10m")
    return seconds


def _text(given: str | None) -> str:
    if given is None or not given.strip():
        raise ValueError("needs a text")
    return given


def _pattern(given: str | None) -> Pattern:
    return parse_pattern(_text(given))


def _answer(given: str | None) -> Pattern:
    if given is None:
        raise ValueError('needs a text, or "" for none')
    return parse_pattern(given)


def _any_or_pattern(given: str | None) -> Pattern:
    return parse_pattern("*" if given is None else given)


def _caption(given: str | None) -> str:
    return given or ""


def _nothing(given: str | None) -> None:
    if given is not None:
        raise ValueError("needs nothing after it")


def _while(given: str | None) -> float:
    return 1.0 if given is None else duration(given)


def _one_of(names: frozenset[str], given: str | None) -> str:
    if given not in names:
        raise ValueError(f"needs one of {', '.join(sorted(names))}")
    return str(given)


def _count(least: int, most: int, given: str | None) -> int:
    if not given or not re.fullmatch("[0-9]{1,6}", given):
        raise ValueError("needs a number")
    if not least <= int(given) <= most:
        raise ValueError(f"needs a number from {least} to {most}")
    return int(given)


async def _say(environment: Environment, person: Participant, text: str) -> None:
    await environment.pace(person)
    environment.note_update(
        person, (await person.bot.user_actions.say(person.id, text))["update_id"]
    )


async def _deliver(environment: Environment, person: Participant, text: str) -> None:
    await environment.deliver(person, text)


async def _attach(environment: Environment, person: Participant, kind: str) -> None:
    await _attach_with(kind, environment, person, "")


async def _attach_with(
    kind: str, environment: Environment, person: Participant, caption: str
) -> None:
    await environment.pace(person)
    sent = await person.bot.user_actions.attach(person.id, kind, caption)
    environment.note_update(person, sent["update_id"])


async def _album(environment: Environment, person: Participant, count: int) -> None:
    await environment.pace(person)
    sent = await person.bot.user_actions.album(person.id, count)
    environment.note_update(person, sent["update_ids"][-1])


async def _burst(environment: Environment, person: Participant, count: int) -> None:
    await environment.pace(person)
    sent = await person.bot.user_actions.burst(person.id, count)
    environment.note_update(person, sent["update_ids"][-1])


async def _block(
    environment: Environment, person: Participant, _: None, *, blocked: bool
) -> None:
    await environment.pace(person)
    sent = await person.bot.user_actions.block(person.id, blocked=blocked)
    environment.note_update(person, sent["update_id"])


async def _press(
    environment: Environment, person: Participant, button: Pattern
) -> None:
    """Press the newest button with this text or data."""
    await environment.pace(person)
    message_id, pressed = await _find_button(environment, person, button)
    if "callback_data" not in pressed:
        raise StepFailed("the bot does not hear of this button: it opens an address")
    sent = await person.bot.user_actions.press(
        person.id, person.id, message_id, pressed["callback_data"]
    )
    environment.note_update(person, sent["update_id"])


async def _search(environment: Environment, person: Participant, query: str) -> None:
    """Type the name of the bot and a text, as in any chat."""
    await environment.pace(person)
    sent = await person.bot.manual_updates.make(
        person.id, "inline_query", {"query": query}
    )
    person.inline_query_id = sent["content"]["id"]
    environment.note_update(person, sent["update_id"])


async def _see_result(
    environment: Environment, person: Participant, title: Pattern
) -> None:
    """Wait for a result of the user's last inline query with this title."""

    def is_there() -> bool:
        titles = person.bot.queries.read_titles(person.inline_query_id)
        return any(title.matches(each) for each in titles)

    if not await environment.until(is_there, environment.within):
        raise StepFailed(f"there was no such result within {environment.within:g} s")


async def _see_button(
    environment: Environment, person: Participant, button: Pattern
) -> None:
    await _find_button(environment, person, button)


async def _find_button(
    environment: Environment, person: Participant, button: Pattern
) -> tuple[int, Parameters]:
    """Wait for a button with this text or data; return its message id and itself."""
    found: list[tuple[int, Parameters]] = []

    def is_there() -> bool:
        found[:] = [
            (message["message_id"], each)
            for message in reversed(environment.chat(person))
            if message["from"]["is_bot"]
            for each in buttons_of(message)
            if button.matches(each["text"]) or each.get("callback_data") == button.words
        ]
        return bool(found)

    if not await environment.until(is_there, environment.within):
        raise StepFailed(f"there was no such button within {environment.within:g} s")
    return found[0]


async def _see_media(
    media: str, environment: Environment, person: Participant, caption: Pattern
) -> None:
    def is_there() -> bool:
        return person.observed.take_match("message", caption, media)

    if not await environment.until(is_there, environment.within):
        raise StepFailed(f"there was no such {media} within {environment.within:g} s")


async def _see(
    kind: str, environment: Environment, person: Participant, pattern: Pattern
) -> None:
    if not await environment.until(
        lambda: person.observed.take_match(kind, pattern), environment.within
    ):
        raise StepFailed(f"there was no such {kind} within {environment.within:g} s")


async def _see_nothing(
    environment: Environment, person: Participant, seconds: float
) -> None:
    if await environment.until(lambda: bool(person.observed.unseen()), seconds):
        raise StepFailed("\n".join(["this came:", *person.observed.unseen()]))


async def _wait(_: Environment, seconds: float) -> None:
    await asyncio.sleep(seconds)


async def _expect(environment: Environment, outcome: str) -> None:
    entry = environment.last
    if not entry:
        raise StepFailed("nothing was sent before that the bot wants to know of")
    if not await environment.until(
        lambda: entry.row.outcome == outcome, environment.within
    ):
        raise StepFailed(f"it was not {outcome} within {environment.within:g} s")


def _verb(
    read: Callable[[str | None], T],
    act: Callable[[Environment, Participant, T], Awaitable[None]],
) -> Verb:
    def bind(given: str | None) -> Act:
        value = read(given)
        return lambda environment, name: act(
            environment, environment.person(name), value
        )

    return bind


def _alone(
    read: Callable[[str | None], T], act: Callable[[Environment, T], Awaitable[None]]
) -> Verb:
    def bind(given: str | None) -> Act:
        value = read(given)
        return lambda environment, _: act(environment, value)

    return bind


USER_STEPS: Mapping[str, Verb] = {
    "says": _verb(_text, _say),
    "presses": _verb(_pattern, _press),
    "attaches": _verb(partial(_one_of, KINDS), _attach),
    **{
        f"attaches {kind}": _verb(_caption, partial(_attach_with, kind))
        for kind in sorted(CAPTIONED)
    },
    "sends album": _verb(partial(_count, 2, 10), _album),
    "sends burst": _verb(partial(_count, 1, BURST_LIMIT), _burst),
    "blocks the bot": _verb(_nothing, partial(_block, blocked=True)),
    "unblocks the bot": _verb(_nothing, partial(_block, blocked=False)),
    "sees": _verb(_pattern, partial(_see, "message")),
    "sees edit": _verb(_pattern, partial(_see, "edit")),
    "sees toast": _verb(_answer, partial(_see, "toast")),
    "sees alert": _verb(_pattern, partial(_see, "alert")),
    **{
        f"sees {media}": _verb(_any_or_pattern, partial(_see_media, media))
        for media in MEDIA
    },
    "sees button": _verb(_pattern, _see_button),
    "sees nothing": _verb(_while, _see_nothing),
    "searches": _verb(_text, _search),
    "sees result": _verb(_pattern, _see_result),
    "gets from a service": _verb(_text, _deliver),
}
"""The steps that follow a user's name."""

GLOBAL_STEPS: Mapping[str, Verb] = {
    "wait": _alone(duration, _wait),
    "expect outcome": _alone(partial(_one_of, frozenset(Outcome)), _expect),
}
"""The steps without a user."""
