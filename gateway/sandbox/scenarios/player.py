"""Plays scenarios on a simulator and notes what came of each step."""

import itertools
import random
import time
from collections.abc import Iterator

from msgspec import Struct

from gateway.sandbox.scenarios.environment import Failure, Stage
from gateway.sandbox.scenarios.observed_messages import describe
from gateway.sandbox.scenarios.scenario import Scenario, Step
from gateway.sandbox.server import Simulator
from gateway.sandbox.simulator.actions.message_builder import BadInput


class Played(Struct, kw_only=True):
    """What came of a step.

    Attributes:
        line: where it stands in the file.
        words: what stands there.
        result: ok, failed or skipped.
        seconds: how long it took.
        why: of a failed one: what was wrong, and what was seen instead, as lines.
    """

    line: int
    words: str
    result: str = "skipped"
    seconds: float = 0.0
    why: list[str] = []


class Report(Struct, kw_only=True):
    """What came of a scenario.

    Attributes:
        path: its file.
        name: what it shows.
        seconds: how long it took.
        steps: what came of each step.
    """

    path: str
    name: str
    seconds: float
    steps: list[Played]

    @property
    def failed(self) -> Played | None:
        """The step that failed. None: all is well."""
        return next((step for step in self.steps if step.result == "failed"), None)


def new_ids() -> Iterator[int]:
    """Give ids of users whom no service has met in an earlier run."""
    first = random.randrange(2 * 10**9, 9 * 10**9)  # noqa: S311 - no secret
    return itertools.count(first)


async def play(scenario: Scenario, simulator: Simulator, ids: Iterator[int]) -> Report:
    """Play a scenario up to the first step that fails.

    Args:
        scenario: what to play.
        simulator: where; a bot must take its updates.
        ids: for users who have none.
    """
    began = time.monotonic()
    played = [Played(line=step.line, words=step.words) for step in scenario.steps]
    stage = Stage(simulator, scenario.pace)
    async with stage.open():
        for user in scenario.users:
            user_id = next(ids) if user.id is None else user.id
            await stage.enter(user.name, user.language, user_id)
        for step, note in zip(scenario.steps, played, strict=True):
            await _play(step, stage, note)
            if note.result == "failed":
                note.why += _scene(stage, step.user or scenario.users[0].name)
                break
    return Report(
        path=scenario.path,
        name=scenario.name,
        seconds=time.monotonic() - began,
        steps=played,
    )


async def _play(step: Step, stage: Stage, note: Played) -> None:
    stage.within = step.within
    start = time.monotonic()
    try:
        await step.act(stage, step.user)
        note.result = "ok"
    except (BadInput, Failure) as failure:
        note.result = "failed"
        note.why = str(failure).splitlines()
    note.seconds = time.monotonic() - start


def _scene(stage: Stage, name: str) -> list[str]:
    """Show what a user sees, and what became of the last update, as lines."""
    person = stage.person(name)
    lines = [f"  {each}" for each in describe(stage.chat(person), name)]
    lines.insert(0, f"the chat of {name}:")
    if unseen := person.sight.unseen():
        lines += ["not looked at by any step:", *(f"  {each}" for each in unseen)]
    if entry := stage.last:
        record = entry.turn
        fault = f", {record.fault}" if record and record.fault else ""
        outcome = entry.row.outcome or "no outcome yet"
        lines.append(f"the last update: {entry.row.state}, {outcome}{fault}")
        lines += [f"  {loss}" for loss in record.losses] if record else []
    return lines
