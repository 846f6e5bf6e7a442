"""Where a scenario is played: its users on a simulator, and waiting for what happens.

Concurrency: the task that plays, and inside of `open` one that takes the simulator's
events. The first one waits only here, in `until` and `pace`, and is woken by the
second.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import msgspec
from msgspec import Struct

from gateway.sandbox.scenarios.observed_messages import ObservedMessages
from gateway.sandbox.server import Simulator
from gateway.sandbox.simulator.state.event_stream import Listener, StreamClosed
from gateway.sandbox.simulator.state.update_log import LogEntry
from gateway.sandbox.simulator.validation.rules import Parameters

_QUIET_SECONDS = 60.0
_PREFIX = len(b"data: ")


class StepFailed(Exception):
    """A step did not come true. The message is for a person, in one or more lines."""


class Participant(Struct, eq=False):
    """A user of a scenario.

    Attributes:
        name: as in the file.
        id: Telegram's.
        observed: what this user has seen.
        since: messages of the chat up to this one are older than the scenario.
        update_id: of what this user did last. None: nothing the bot wants to know.
    """

    name: str
    id: int
    observed: ObservedMessages
    since: int = 0
    update_id: int | None = None


class Environment:
    """One scenario's view of a simulator.

    Args:
        pace: seconds that must lie between two doings of one user.

    Attributes:
        user_actions: what users do.
        within: seconds that the current step may wait.
    """

    def __init__(self, simulator: Simulator, pace: float) -> None:
        self.user_actions = simulator.user_actions
        self.within = 0.0
        self._simulator = simulator
        self._pace = pace
        self._people: dict[str, Participant] = {}
        self._news = asyncio.Event()
        self._overrun = False
        self._last: int | None = None

    async def enter(self, name: str, language: str, user_id: int) -> None:
        """Let a user come in.

        Raises:
            InvalidInput: there are enough users.
        """
        await self.user_actions.add_user(name[:1].upper() + name[1:], language, user_id)
        earlier = self._simulator.messages(user_id)
        since = earlier[-1]["message_id"] if earlier else 0
        person = Participant(name, user_id, ObservedMessages(), since)
        self._people[name] = person

    def person(self, name: str) -> Participant:
        """Give a user who came in."""
        return self._people[name]

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """See what happens inside of the block."""
        with self._simulator.events.listen(self._lose) as listener:
            taking = asyncio.create_task(self._take(listener), name="events")
            try:
                yield
            finally:
                taking.cancel()
                await asyncio.gather(taking, return_exceptions=True)

    async def until(self, condition: Callable[[], bool], within: float) -> bool:
        """Wait until a condition holds; it is tried whenever something happens.

        Returns:
            Whether it does. It is not tried again after it held.

        Raises:
            StepFailed: more happened than could be watched.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(within):
                while not condition():
                    if self._overrun:
                        raise StepFailed("too much happened at once to be watched")
                    self._news.clear()
                    await self._news.wait()
                return True
        return False

    async def pace(self, person: Participant) -> None:
        """Wait until a user does the next thing: people are not as fast as programs.

        It counts from when the gateway took what the user did last, because the
        gateway's limit counts from there, too.

        Raises:
            StepFailed: the gateway has not taken it yet.
        """
        entry = self.entry(person.update_id)
        if not entry or not self._pace:
            return
        row = entry.row
        if not await self.until(lambda: row.accepted_after is not None, self.within):
            raise StepFailed(
                f"the gateway did not take what {person.name} did before: it is "
                f"{row.state} after {row.attempts} attempts, status {row.status}"
            )
        taken = row.sent_at + (row.accepted_after or 0)
        await asyncio.sleep(taken + self._pace - time.time())

    def note_update(self, person: Participant, update_id: int | None) -> None:
        """Note what a user did last."""
        person.update_id = self._last = update_id

    def entry(self, update_id: int | None) -> LogEntry | None:
        """Give what is known of an update."""
        return None if update_id is None else self._simulator.update_log.find(update_id)

    @property
    def last(self) -> LogEntry | None:
        """What is known of the last update. None: there was none."""
        return self.entry(self._last)

    def chat(self, person: Participant) -> list[Parameters]:
        """List the messages of a user's chat since the scenario began."""
        return [
            message
            for message in self._simulator.messages(person.id)
            if message["message_id"] > person.since
        ]

    async def _take(self, listener: Listener) -> None:
        with suppress(StreamClosed):
            while True:
                for event in (await listener.take(_QUIET_SECONDS)).split(b"\n\n"):
                    if event:
                        shown = msgspec.json.decode(event[_PREFIX:])
                        for person in self._people.values():
                            person.observed.observe(person.id, shown)
                self._news.set()

    def _lose(self) -> None:
        self._overrun = True
        self._news.set()
