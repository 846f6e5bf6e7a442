"""Shows that the bot is typing while a service lets its user wait.

Concurrency: a timer per call of a service. Only if it runs out, a task shows the
typing, again and again until `end` cancels it, or until Telegram does not want to.
Nothing waits for it, and nothing of it is an error.
"""

import asyncio
from typing import Self

from botgateway.chat.v1.context_pb2 import CHAT_TYPE_CHANNEL

from gateway.domain.errors import BotApiError
from gateway.domain.messenger import Messenger
from gateway.domain.services import Match
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

    def begin(self, match: Match, update: Update) -> "Wait":
        """Wait for a service from now on, until the end of the `with` block."""
        wait = Wait(self._messenger, update, self._repeat)
        says_something = update.message is not None or update.callback_query_id
        context = update.context
        if (
            match.shows_typing
            and says_something
            and context.chat_id
            and context.chat_type != CHAT_TYPE_CHANNEL
        ):
            wait.start_after(self._silence)
        return wait


class Wait:
    """A user waits for a service."""

    __slots__ = ("_messenger", "_repeat", "_task", "_timer", "_update")

    def __init__(self, messenger: Messenger, update: Update, repeat: float) -> None:
        self._messenger = messenger
        self._update = update
        self._repeat = repeat
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None

    def start_after(self, seconds: float) -> None:
        """Show the typing from then on."""
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(seconds, self._start)

    def end(self) -> None:
        """The service answered, or will not."""
        if self._timer is not None:
            self._timer.cancel()
        if self._task is not None:
            self._task.cancel()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def _start(self) -> None:
        self._task = asyncio.create_task(self._show(), name="typing")

    async def _show(self) -> None:
        try:
            while True:
                await self._messenger.show_typing(self._update)
                await asyncio.sleep(self._repeat)
        except BotApiError:
            return
