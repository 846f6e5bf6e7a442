"""Plays scenarios on a simulator and records the result of each step."""

import itertools
import random
import time
from collections.abc import Iterator

from msgspec import Struct

from gateway.sandbox.samples.delivery_client import DeliveryClient
from gateway.sandbox.scenarios.environment import Environment, StepFailed
from gateway.sandbox.scenarios.observed_messages import describe
from gateway.sandbox.scenarios.scenario import Scenario, Step
from gateway.sandbox.server import Simulator
from gateway.sandbox.simulator.actions.message_builder import InvalidInput


class StepResult(Struct, kw_only=True):
    """The result of one step of a scenario.

    Attributes:
        line: the line of the step in the file.
        words: the text of the step in the file.
        result: ok, failed, or skipped after a step that failed.
        seconds: how long the step took.
        why: for a failed step, the lines with the reason and what the user has seen.
    """

    line: int
    words: str
    result: str = "skipped"
    seconds: float = 0.0
    why: list[str] = []


class Report(Struct, kw_only=True):
    """The results of one scenario.

    Attributes:
        path: the path of the file with the scenario.
        name: the title of the scenario.
        seconds: how long the scenario took.
        steps: the result of each step.
    """

    path: str
    name: str
    seconds: float
    steps: list[StepResult]

    @property
    def failed(self) -> StepResult | None:
        """The result of the step that failed; None if the scenario succeeded."""
        return next((step for step in self.steps if step.result == "failed"), None)


def new_ids() -> Iterator[int]:
    """Yield user ids, from a random one on, so that no earlier run has used them."""
    first = random.randrange(2 * 10**9, 9 * 10**9)  # noqa: S311 - no secret
    return itertools.count(first)


async def play(
    scenario: Scenario,
    simulator: Simulator,
    ids: Iterator[int],
    deliveries: DeliveryClient | None = None,
) -> Report:
    """Play a scenario up to the first step that fails, and return its results.

    Args:
        scenario: the scenario to play.
        simulator: the simulator; a gateway must get the updates of its bots.
        ids: yields a new id for each user who has none in the file.
        deliveries: sends messages as a service; None if no step does.
    """
    began = time.monotonic()
    played = [StepResult(line=step.line, words=step.words) for step in scenario.steps]
    environment = Environment(simulator, scenario.pace, scenario.bots, deliveries)
    async with environment.open():
        for user in scenario.users:
            user_id = next(ids) if user.id is None else user.id
            await environment.enter(user.name, user.language, user_id)
        for step, note in zip(scenario.steps, played, strict=True):
            await _play(step, environment, note)
            if note.result == "failed":
                note.why += _describe_scene(
                    environment, step.user or scenario.users[0].name
                )
                break
    return Report(
        path=scenario.path,
        name=scenario.name,
        seconds=time.monotonic() - began,
        steps=played,
    )


async def _play(step: Step, environment: Environment, note: StepResult) -> None:
    environment.within = step.within
    environment.choose_bot(step.bot)
    start = time.monotonic()
    try:
        await step.act(environment, step.user)
        note.result = "ok"
    except (InvalidInput, StepFailed) as failure:
        note.result = "failed"
        note.why = str(failure).splitlines()
    note.seconds = time.monotonic() - start


def _describe_scene(environment: Environment, name: str) -> list[str]:
    """Return a user's chat and the outcome of the last update as lines."""
    person = environment.person(name)
    lines = [f"  {each}" for each in describe(environment.chat(person), name)]
    lines.insert(0, f"the chat of {name}:")
    if unseen := person.observed.unseen():
        lines += ["not looked at by any step:", *(f"  {each}" for each in unseen)]
    if entry := environment.last:
        record = entry.turn
        fault = f", {record.fault}" if record and record.fault else ""
        outcome = entry.row.outcome or "no outcome yet"
        lines.append(f"the last update: {entry.row.state}, {outcome}{fault}")
        lines += [f"  {loss}" for loss in record.losses] if record else []
    return lines
