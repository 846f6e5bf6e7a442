"""The environment of a scenario: its users on a simulator, and waiting for events.

Concurrency: two tasks, the one that plays the scenario and, within `open`, one that
reads the simulator's events. The first one waits only here, in `until` and `pace`, and
is woken by the second.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from secrets import token_urlsafe

import msgspec
from botgateway.chat.v1.reply_pb2 import OutgoingMessage
from botgateway.delivery.v1.delivery_service_pb2 import Recipient
from msgspec import Struct

from gateway.background import cancel_and_wait
from gateway.sandbox.samples.delivery_client import DeliveryClient
from gateway.sandbox.scenarios.observed_messages import ObservedMessages
from gateway.sandbox.server import Simulator
from gateway.sandbox.simulator.simulated_bot import SimulatedBot
from gateway.sandbox.simulator.state.event_stream import Listener, StreamClosed
from gateway.sandbox.simulator.state.update_log import LogEntry
from gateway.sandbox.simulator.validation.rules import Parameters

_QUIET_SECONDS = 60.0
_PREFIX = len(b"data: ")


class StepFailed(Exception):
    """A step of a scenario failed. The message says why, in one or more lines."""


class Participant(Struct, eq=False):
    """A user of a scenario, in the chat with one bot.

    Attributes:
        name: the user's name in the file.
        id: Telegram's user id.
        bot: the bot of the chat.
        observed: what this user has seen of the bot.
        since: the id of the last message of the chat before the scenario began.
        update_id: the id of the update of the user's last action; None if there was
            none.
        inline_query_id: the id of the user's last inline query; empty if there was
            none.
    """

    name: str
    id: int
    bot: SimulatedBot
    observed: ObservedMessages
    since: int = 0
    update_id: int | None = None
    inline_query_id: str = ""


class Environment:
    """What the steps of a scenario act on: its users and bots in a simulator.

    Args:
        simulator: the simulator.
        pace: minimum seconds between two actions of one user with one bot.
        bots: the usernames of the bots; empty for the first one of the simulator.
        deliveries: sends messages as a service; None if no step does.

    Attributes:
        within: the timeout of the current step in seconds.

    Raises:
        ValueError: the simulator has no such bot.
    """

    def __init__(
        self,
        simulator: Simulator,
        pace: float,
        bots: Sequence[str] = (),
        deliveries: DeliveryClient | None = None,
    ) -> None:
        self._deliveries = deliveries
        self.within = 0.0
        self._simulator = simulator
        self._bots = [simulator.bots.with_username(name) for name in bots]
        self._bots = self._bots or [simulator.bots.first]
        self._bot = self._bots[0]
        self._pace = pace
        self._participants: dict[tuple[int, str], Participant] = {}
        self._news = asyncio.Event()
        self._overrun = False
        self._last: LogEntry | None = None

    def choose_bot(self, username: str) -> None:
        """Set the bot of the next step by its username; "" means the only one."""
        named = [bot for bot in self._bots if username in {"", bot.profile["username"]}]
        self._bot = named[0]

    async def enter(self, name: str, language: str, user_id: int) -> None:
        """Add a user of the scenario to the simulator.

        Args:
            name: the user's name in the file.
            language: the language of the user's app.
            user_id: Telegram's user id; an existing user with this id is replaced.

        Raises:
            InvalidInput: there are too many users.
        """
        first_name = name[:1].upper() + name[1:]
        await self._bot.user_actions.add_user(first_name, language, user_id)
        for bot in self._bots:
            earlier = bot.chats.messages(user_id)
            since = earlier[-1]["message_id"] if earlier else 0
            person = Participant(name, user_id, bot, ObservedMessages(), since)
            self._participants[bot.id, name] = person

    def person(self, name: str) -> Participant:
        """Return the user with a name, in the chat with the bot of the current step."""
        return self._participants[self._bot.id, name]

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Record within the block what the users see, from the simulator's events."""
        with self._simulator.events.listen(self._lose) as listener:
            taking = asyncio.create_task(self._take(listener), name="events")
            try:
                yield
            finally:
                await cancel_and_wait(taking)

    async def until(self, condition: Callable[[], bool], within: float) -> bool:
        """Wait until a condition is true; it is checked after each event.

        Args:
            condition: returns whether to stop waiting.
            within: the maximum number of seconds to wait.

        Returns:
            True if the condition became true in time. It is not called again after
            that.

        Raises:
            StepFailed: there were too many events to follow.
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
        """Wait until a user may act again: people are not as fast as programs.

        The pause begins when the gateway accepted the user's last update, because the
        gateway's rate limit also counts from there.

        Raises:
            StepFailed: the gateway did not accept the last update within the step's
                timeout.
        """
        entry = self._find_entry(person)
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
        """Remember the update of a user's last action, for `pace` and `last`.

        Args:
            person: the user.
            update_id: the id of the update; None if the bot does not get such updates.
        """
        person.update_id = update_id
        self._last = self._find_entry(person)

    async def deliver(self, person: Participant, text: str) -> None:
        """Send a text to a user through the gateway, as a service does by itself.

        Raises:
            StepFailed: the gateway did not store the message.
        """
        recipient = Recipient(bot=str(person.bot.id), telegram_user_id=person.id)
        message = OutgoingMessage(text=text)
        key = token_urlsafe()
        if self._deliveries is None or not await self._deliveries.send(
            recipient, message, key
        ):
            raise StepFailed("the gateway did not accept the message of the service")

    @property
    def last(self) -> LogEntry | None:
        """The log entry of the last action's update; None if there is no update."""
        return self._last

    def _find_entry(self, person: Participant) -> LogEntry | None:
        """Return the log entry of the update of a user's last action, or None."""
        if person.update_id is None:
            return None
        return self._simulator.update_log.find(person.update_id, person.bot.id)

    def chat(self, person: Participant) -> list[Parameters]:
        """Return the messages of a user's chat since the scenario began."""
        return [
            message
            for message in person.bot.chats.messages(person.id)
            if message["message_id"] > person.since
        ]

    async def _take(self, listener: Listener) -> None:
        with suppress(StreamClosed):
            while True:
                for event in (await listener.take(_QUIET_SECONDS)).split(b"\n\n"):
                    if event:
                        shown = msgspec.json.decode(event[_PREFIX:])
                        self._observe(shown)
                self._news.set()

    def _observe(self, event: Parameters) -> None:
        for person in self._participants.values():
            if event.get("bot_id") == person.bot.id:
                person.observed.observe(person.id, event)

    def _lose(self) -> None:
        self._overrun = True
        self._news.set()
