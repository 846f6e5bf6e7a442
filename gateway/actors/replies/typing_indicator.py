"""Shows that the bot is typing while the user waits for a service.

Concurrency: one timer for all calls to services, because nearly all calls end before
the typing has to be shown. Only a call that lasts longer gets a task, which shows the
typing repeatedly until `cancel` ends it or Telegram rejects it. Nothing waits for this
task, and its failures are ignored.
"""

import asyncio
from typing import Self

from botgateway.chat.v1.context_pb2 import CHAT_TYPE_CHANNEL

from gateway.domain.errors import BotApiError
from gateway.domain.ports import BoundCall, Messenger
from gateway.domain.update import Update
from gateway.shared_timer import SharedTimer

DELAY_SECONDS = 0.7
"""If a service replies sooner, users do not notice the delay."""

REPEAT_INTERVAL_SECONDS = 4.0
"""Shorter than 5 s, after which Telegram hides the typing (Bot API, sendChatAction)."""


class TypingIndicator:
    """Shows that the bot is typing during calls to services.

    Args:
        messenger: shows the typing.
        delay: seconds after which the typing is shown for the first time.
        repeat_interval: seconds after which the typing is shown again.
    """

    def __init__(
        self,
        messenger: Messenger,
        delay: float = DELAY_SECONDS,
        repeat_interval: float = REPEAT_INTERVAL_SECONDS,
    ) -> None:
        self._messenger = messenger
        self._repeat_interval = repeat_interval
        self._pending: SharedTimer[PendingIndicator] = SharedTimer(
            delay, lambda indicator, _: indicator.show()
        )
        """The indicators that are not shown yet."""

    def show_during_call(
        self, bound_call: BoundCall, update: Update
    ) -> "PendingIndicator":
        """Return an indicator for a call that lasts until the end of a `with` block."""
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
            self._pending.add(indicator)
        return indicator


class PendingIndicator:
    """The typing indicator of one call, shown if the call lasts long enough."""

    __slots__ = ("_messenger", "_pending", "_repeat_interval", "_task", "_update")

    def __init__(
        self,
        messenger: Messenger,
        update: Update,
        repeat_interval: float,
        pending: "SharedTimer[PendingIndicator]",
    ) -> None:
        self._messenger = messenger
        self._update = update
        self._repeat_interval = repeat_interval
        self._pending = pending
        self._task: asyncio.Task[None] | None = None

    def show(self) -> None:
        """Start to show the typing."""
        self._task = asyncio.create_task(self._show_repeatedly(), name="typing")

    def cancel(self) -> None:
        """Stop the indicator, because the call ended or its reply is visible."""
        self._pending.remove(self)
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
