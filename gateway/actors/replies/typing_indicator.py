"""Shows that the bot is typing while a service lets its user wait.

Concurrency: one timer for all calls of services, because nearly all end before it has
to do anything. Only for one that lasts longer a task shows the typing, again and again
until `end` cancels it, or until Telegram does not want to. Nothing waits for it, and
nothing of it is an error.
"""

import asyncio
from typing import Self

from botgateway.chat.v1.context_pb2 import CHAT_TYPE_CHANNEL

from gateway.domain.errors import BotApiError
from gateway.domain.messenger import Messenger
from gateway.domain.services import BoundCall
from gateway.domain.update import Update

SILENCE_SECONDS = 0.7
"""A service that answers sooner makes nobody wonder."""

REPEAT_SECONDS = 4.0
"""What is shown ends by itself after 5 s (Bot API, sendChatAction)."""


class Typing:
    """Begins to show that the bot is typing.

    Args:
        messenger: shows it.
        silence: for how many seconds a service may be silent.
        repeat: after how many seconds it is shown again.
    """

    def __init__(
        self,
        messenger: Messenger,
        silence: float = SILENCE_SECONDS,
        repeat: float = REPEAT_SECONDS,
    ) -> None:
        self._messenger = messenger
        self._silence = silence
        self._repeat = repeat
        self._silent: dict[Wait, float] = {}
        """Who is shown nothing yet, and when that changes, the soonest first."""
        self._timer: asyncio.TimerHandle | None = None
        """Set for the first of them, or for one that is gone by now."""

    def begin(self, match: BoundCall, update: Update) -> "Wait":
        """Wait for a service from now on, until the end of the `with` block."""
        wait = Wait(self._messenger, update, self._repeat, self._silent)
        says_something = update.message is not None or update.callback_query_id
        context = update.context
        if (
            match.shows_typing
            and says_something
            and context.chat_id
            and context.chat_type != CHAT_TYPE_CHANNEL
        ):
            loop = asyncio.get_running_loop()
            self._silent[wait] = end = loop.time() + self._silence
            if self._timer is None:
                self._timer = loop.call_at(end, self._show_longest)
        return wait

    def _show_longest(self) -> None:
        """Begin to show the typing to those who wait longest."""
        loop = asyncio.get_running_loop()
        self._timer = None
        for wait, end in list(self._silent.items()):
            if end > loop.time():
                self._timer = loop.call_at(end, self._show_longest)
                return
            del self._silent[wait]
            wait.show()


class Wait:
    """A user waits for a service."""

    __slots__ = ("_messenger", "_repeat", "_silent", "_task", "_update")

    def __init__(
        self,
        messenger: Messenger,
        update: Update,
        repeat: float,
        silent: "dict[Wait, float]",
    ) -> None:
        self._messenger = messenger
        self._update = update
        self._repeat = repeat
        self._silent = silent
        self._task: asyncio.Task[None] | None = None

    def show(self) -> None:
        """Show the typing from now on."""
        self._task = asyncio.create_task(self._show(), name="typing")

    def end(self) -> None:
        """The service answered, or will not."""
        self._silent.pop(self, None)
        if self._task is not None:
            self._task.cancel()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    async def _show(self) -> None:
        try:
            while True:
                await self._messenger.show_typing(self._update)
                await asyncio.sleep(self._repeat)
        except BotApiError:
            return
