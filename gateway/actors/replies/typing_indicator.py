"""Shows that the bot is typing while the user waits for a service.

Concurrency: one timer for all calls to services of all bots, because nearly all calls
end before the typing has to be shown. Only a call that lasts longer gets a task, which
shows the typing repeatedly until `stop` cancels it or Telegram rejects a request.
Nothing waits for this task, and its failures are ignored.
"""

import asyncio

from botgateway.chat.v1.context_pb2 import CHAT_TYPE_CHANNEL
from msgspec import Struct

from gateway.domain.errors import BotApiError
from gateway.domain.ports import BoundCall, Messenger
from gateway.domain.update import ButtonPress, Update, UserMessage
from gateway.shared_timer import SharedTimer

DELAY_SECONDS = 0.7
"""How long a call has to last before the typing is shown."""

REPEAT_INTERVAL_SECONDS = 4.0
"""The interval at which the typing is shown again. Telegram hides it after 5 s (Bot
API, sendChatAction)."""


class PendingIndicator(Struct, eq=False):
    """The typing indicator of one call, shown if the call lasts long enough.

    Attributes:
        owner: sends the chat action to Telegram.
        update: the update that the call is for.
        task: shows the typing repeatedly; None until the delay is over.
    """

    owner: "TypingIndicator"
    update: Update
    task: asyncio.Task[None] | None = None


class TypingIndicator:
    """Shows that the bot is typing during calls to services.

    Args:
        messenger: shows the typing.
        timer: has the indicators that are not shown yet, and shows each after a delay.
            Several bots may share it. None for a timer of its own.
        repeat_interval: seconds after which the typing is shown again.
    """

    def __init__(
        self,
        messenger: Messenger,
        timer: SharedTimer[PendingIndicator] | None = None,
        repeat_interval: float = REPEAT_INTERVAL_SECONDS,
    ) -> None:
        self._messenger = messenger
        self._repeat_interval = repeat_interval
        self._pending = timer or make_typing_timer()

    def start(self, bound_call: BoundCall, update: Update) -> PendingIndicator:
        """Start the indicator of a call, which is shown if the call lasts long enough.

        It is never shown if the route does not want it, or for an update other than a
        message or a pressed button. The caller has to call `stop` in every case.
        """
        indicator = PendingIndicator(self, update)
        context = update.context
        if (
            bound_call.shows_typing
            and isinstance(update, (UserMessage, ButtonPress))
            and context.chat_id
            and context.chat_type != CHAT_TYPE_CHANNEL
        ):
            self._pending.add(indicator)
        return indicator

    def stop(self, indicator: PendingIndicator) -> None:
        """Stop an indicator, because the call ended or its reply is visible.

        May be called again. A request to Telegram that is being made is cancelled.
        """
        self._pending.remove(indicator)
        if indicator.task is not None:
            indicator.task.cancel()

    async def show_repeatedly(self, update: Update) -> None:
        """Tell Telegram repeatedly that the bot is typing, until this is cancelled.

        It also returns when Telegram rejects the request or does not answer.
        """
        try:
            while True:
                await self._messenger.show_typing(update)
                await asyncio.sleep(self._repeat_interval)
        except BotApiError:
            return


def make_typing_timer(
    delay: float = DELAY_SECONDS,
) -> SharedTimer[PendingIndicator]:
    """Return a timer for the indicators of any number of bots.

    Args:
        delay: seconds after which the typing is shown for the first time.
    """
    return SharedTimer(delay, _show)


def _show(indicator: PendingIndicator, _: float) -> None:
    """Start to show the typing."""
    indicator.task = asyncio.create_task(
        indicator.owner.show_repeatedly(indicator.update), name="typing"
    )
