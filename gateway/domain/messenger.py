"""What the actors need from the way back to the user: see `ports.py`."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from botgateway.chat.v1.reply_pb2 import Reply

from gateway.domain.bot_api_call import BotApiCall
from gateway.domain.update import Update

RetryPause = Callable[[Awaitable[None]], Awaitable[None]]
"""Awaits the pause before a retry, with all that its caller has to do meanwhile."""


async def await_pause(pause: Awaitable[None]) -> None:
    """Await a pause, and do nothing else."""
    await pause


class StreamingPreview(Protocol):
    """An answer that the user sees while it is still being written."""

    @property
    def min_interval(self) -> float:
        """From one `show` to the next, so that Telegram puts up with it."""

    async def show(self, text: str) -> None:
        """Show the text so far, in place of what was shown before.

        One at a time: whoever calls waits for the one before.

        Raises:
            BotApiUnavailable: not now; `retry_after` says when.
            BotApiError: it cannot be shown at all. The answer itself may get there.
        """

    def finalize(self, reply: Reply) -> Sequence[BotApiCall]:
        """Turn the whole answer into calls that put it in the preview's place.

        The reply is used up.
        """


class CancellationBus(Protocol):
    """Tells all workers that a user stopped an answer.

    Quick and without a promise: whom it does not reach goes on to the end.
    """

    def subscribe(self, stop: Callable[[str, int], None]) -> None:
        """Ask to be told the lane and the draft of every stop, also of one's own."""

    def publish(self, ordering_key: str, draft_id: int) -> None:
        """Tell everybody, without waiting."""


class Messenger(Protocol):
    """The way back to the user."""

    def preview(self, update: Update) -> StreamingPreview:
        """Prepare to show the answer to an update while it is being written."""

    async def show_typing(self, update: Update) -> None:
        """Show for five seconds, or until the next message, that the bot is typing.

        Raises:
            BotApiError: Telegram does not want to.
        """

    def render(self, update: Update, reply: Reply) -> Sequence[BotApiCall]:
        """Turn a reply into calls of the Bot API, to be sent in this order.

        A pressed button is always answered, also by an empty reply.
        """

    async def send(
        self, call: BotApiCall, patience: float = 0, wait: RetryPause = await_pause
    ) -> None:
        """Make one call. It is retried while it certainly did not arrive.

        Args:
            call: the call.
            patience: for how many seconds, from the first failure on.
            wait: awaits the pauses between the attempts.

        Raises:
            Blocked: this user cannot be reached.
            BotApiError: the Bot API did not take it, or nobody knows whether it did.
        """
