"""Shows that the bot is typing while a service lets its user wait.

Concurrency: one timer for all calls of services, because nearly all end before it has
to do anything. Only for one that lasts longer a task shows the typing, again and again
until `cancel` ends it, or until Telegram does not want to. Nothing waits for it, and
nothing of it is an error.
"""

import asyncio
from typing import Self

from botgateway.chat.v1.context_pb2 import CHAT_TYPE_CHANNEL

from gateway.domain.errors import BotApiError
from gateway.domain.messenger import Messenger
from gateway.domain.services import BoundCall
from gateway.domain.update import Update

DELAY_SECONDS = 0.7
"""A service that answers sooner makes nobody wonder."""

REPEAT_INTERVAL_SECONDS = 4.0
"""What is shown ends by itself after 5 s (Bot API, sendChatAction)."""


class TypingIndicator:
    """Begins to show that the bot is typing.

    Args:
        messenger: shows it.
        silence: for how many seconds a service may be silent.
        repeat: after how many seconds it is shown again.
    """

    def __init__(
        self,
        messenger: Messenger,
        delay: float = DELAY_SECONDS,
        repeat_interval: float = REPEAT_INTERVAL_SECONDS,
    ) -> None:
        self._messenger = messenger
        self._delay = delay
        self._repeat_interval = repeat_interval
        self._pending: dict[PendingIndicator, float] = {}
        """Who is shown nothing yet, and when that changes, the soonest first."""
        self._timer: asyncio.TimerHandle | None = None
        """Set for the first of them, or for one that is gone by now."""

    def show_during_call(
        self, bound_call: BoundCall, update: Update
    ) -> "PendingIndicator":
        """Wait for a service from now on, until the end of the `with` block."""
        indicator = PendingIndicator(
            self._messenger, update, self._repeat_interval, self._pending
        )
        is_from_user = update.message is not None or update.callback_query_id
        context = update.context
        if (
            bound_call.shows_typing
            and is_from_user
            and context.chat_id
            and context.chat_type != CHAT_TYPE_CHANNEL
        ):
            loop = asyncio.get_running_loop()
            self._pending[indicator] = due_at = loop.time() + self._delay
            if self._timer is None:
                self._timer = loop.call_at(due_at, self._show_due)
        return indicator

    def _show_due(self) -> None:
        """Begin to show the typing to those who wait longest."""
        loop = asyncio.get_running_loop()
        self._timer = None
        for indicator, due_at in list(self._pending.items()):
            if due_at > loop.time():
                self._timer = loop.call_at(due_at, self._show_due)
                return
            del self._pending[indicator]
            indicator.show()


class PendingIndicator:
    """A user waits for a service."""

    __slots__ = ("_messenger", "_pending", "_repeat_interval", "_task", "_update")

    def __init__(
        self,
        messenger: Messenger,
        update: Update,
        repeat_interval: float,
        pending: "dict[PendingIndicator, float]",
    ) -> None:
        self._messenger = messenger
        self._update = update
        self._repeat_interval = repeat_interval
        self._pending = pending
        self._task: asyncio.Task[None] | None = None

    def show(self) -> None:
        """Show the typing from now on."""
        self._task = asyncio.create_task(self._show_repeatedly(), name="typing")

    def cancel(self) -> None:
        """The service answered, or will not."""
        self._pending.pop(self, None)
        if self._task is not None:
            self._task.cancel()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.cancel()

    async def _show_repeatedly(self) -> None:
        try:
            while True:
                await self._messenger.show_typing(self._update)
                await asyncio.sleep(self._repeat_interval)
        except BotApiError:
            return
