"""The ports to the user: sending replies and cancelling them. See `ports.py`."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from botgateway.chat.v1.reply_pb2 import Reply

from gateway.domain.bot_api_call import BotApiCall
from gateway.domain.update import Update

RetryPause = Callable[[Awaitable[None]], Awaitable[None]]
"""Awaits the pause before a retry, and lets the caller account for it."""


async def await_pause(pause: Awaitable[None]) -> None:
    """Await a pause and do nothing else."""
    await pause


class StreamingPreview(Protocol):
    """The live preview of a streamed reply."""

    @property
    def min_interval(self) -> float:
        """The seconds between calls of `show` that keep within Telegram's limits."""

    async def show(self, text: str) -> None:
        """Show the text so far, in place of the text before.

        Calls must not overlap.

        Raises:
            BotApiUnavailable: the text cannot be shown now; `retry_after` says when.
            BotApiError: no text can be shown. Sending the reply may still work.
        """

    def finalize(self, reply: Reply) -> Sequence[BotApiCall]:
        """Return the calls that replace the preview with the complete reply.

        Mutates the reply.
        """


class CancellationBus(Protocol):
    """Notifies all workers that a user stopped a streamed reply.

    Best effort: a worker that misses the message finishes the stream.
    """

    def subscribe(self, stop: Callable[[str, int], None]) -> None:
        """Register a callback for all cancellations, including this worker's own.

        Args:
            stop: called with the ordering key and the id of the draft.
        """

    def publish(self, ordering_key: str, draft_id: int) -> None:
        """Notify all workers without waiting for them."""


class Messenger(Protocol):
    """Sends replies to the user."""

    def preview(self, update: Update) -> StreamingPreview:
        """Return a preview for a streamed reply to an update."""

    async def show_typing(self, update: Update) -> None:
        """Show for five seconds, or until the next message, that the bot is typing.

        Raises:
            BotApiError: Telegram did not accept the call.
        """

    def render(self, update: Update, reply: Reply) -> Sequence[BotApiCall]:
        """Return the Bot API calls for a reply, in the order to send them.

        A pressed button is always answered, even if the reply is empty.
        """

    async def send(
        self, call: BotApiCall, patience: float = 0, wait: RetryPause = await_pause
    ) -> None:
        """Make a call, and retry it while it certainly did not take effect.

        Args:
            call: the call.
            patience: how many seconds to retry, counted from the first failure.
            wait: awaits the pauses between the attempts.

        Raises:
            RecipientBlocked: this user cannot be reached.
            BotApiError: the Bot API did not accept the call, or it is unknown whether
                it did.
        """
