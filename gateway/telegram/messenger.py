"""The way back to the user: composes calls, makes them, amends what is refused."""

import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from botgateway.chat.v1.reply_pb2 import Reply

from gateway.domain.bot_api_call import BotApiCall
from gateway.domain.errors import CallRejected, RejectedPart
from gateway.domain.messenger import RetryPause, await_pause
from gateway.domain.update import Update
from gateway.telegram.bot_api.client import BotApiClient
from gateway.telegram.outbound.degrade import degrade
from gateway.telegram.outbound.renderer import build_chat_parameters, render
from gateway.telegram.outbound.streaming_preview import TelegramPreview

logger = logging.getLogger(__name__)

_MAX_DEGRADATIONS = 2
"""A call may have more than one fault, such as its format and its keyboard."""


class TelegramMessenger:
    """Sends replies through the Bot API.

    Args:
        api: the bot's client.
        observe_call: called with the method and the seconds of each call, in which
            its retries and the pauses before them are included.
        count_dropped_part: called with a word for each part of a reply that had to be
            left out.
        local_server: the Bot API server is not Telegram's own: it must not be sent to
            private addresses.
    """

    def __init__(
        self,
        api: BotApiClient,
        *,
        observe_call: Callable[[str, float], None],
        count_dropped_part: Callable[[str], None],
        local_server: bool = False,
    ) -> None:
        self._api = api
        self._observe_call = observe_call
        self._count_dropped_part = count_dropped_part
        self._local_server = local_server

    def render(self, update: Update, reply: Reply) -> Sequence[BotApiCall]:
        """Turn a reply into calls of the Bot API, to be sent in this order.

        A pressed button is always answered, also by an empty reply; so is every other
        question to which Telegram waits for an answer.
        """
        dropped_parts: list[str] = []
        calls = render(
            update, reply, dropped_parts.append, local_server=self._local_server
        )
        if dropped_parts:
            self._tell(dropped_parts, update)
        return calls

    def _tell(self, dropped_parts: list[str], update: Update) -> None:
        """Count and log what was left out of a reply."""
        for dropped_part in dropped_parts:
            self._count_dropped_part(dropped_part)
        logger.warning(
            "parts of a reply left out",
            extra={
                "request_id": update.context.request_id,
                "faults": Counter(dropped_parts),
            },
        )

    async def send(
        self, call: BotApiCall, patience: float = 0, wait: RetryPause = await_pause
    ) -> None:
        """Make one call. It is retried while it certainly did not arrive.

        What Telegram refuses in a call is changed or taken out, and the rest is sent.

        Args:
            call: the call.
            patience: for how many seconds, from the first failure on.
            wait: awaits the pauses between the attempts.

        Raises:
            RecipientBlocked: this user cannot be reached.
            BotApiError: the Bot API did not take it, or nobody knows whether it did.
        """
        for amendments in range(_MAX_DEGRADATIONS + 1):
            start = time.perf_counter()
            try:
                await self._api.call(
                    call.method,
                    call.parameters,
                    call.files,
                    patience=max(patience, call.min_patience),
                    wait=wait,
                )
            except CallRejected as rejected:
                if amendments == _MAX_DEGRADATIONS:
                    raise
                _log_refusal(call, rejected)
                if _is_too_late(call, rejected):
                    return
                degraded = degrade(call, rejected.part)
                if degraded is None:
                    raise
            else:
                return
            finally:
                self._observe_call(call.method, time.perf_counter() - start)
            call = degraded

    def preview(self, update: Update) -> TelegramPreview:
        """Prepare to show the answer to an update while it is being written."""
        return TelegramPreview(update, self._call_once, self.render)

    async def show_typing(self, update: Update) -> None:
        """Show that the bot is typing, for 5 s (Bot API, sendChatAction).

        Raises:
            BotApiError: Telegram does not want to.
        """
        if update.ephemeral_message_id:
            return  # all the others in the group would see it
        chat_parameters = build_chat_parameters(update)
        chat_parameters.pop("direct_messages_topic_id", None)  # only messages have one
        await self._call_once("sendChatAction", {**chat_parameters, "action": "typing"})

    async def _call_once(self, method: str, parameters: dict[str, Any]) -> Any:  # noqa: ANN401 - each method has a result of its own
        start = time.perf_counter()
        try:
            return await self._api.call_once(method, parameters)
        finally:
            self._observe_call(method, time.perf_counter() - start)


def _log_refusal(call: BotApiCall, rejected: CallRejected) -> None:
    logger.warning(
        "call refused",
        extra={"method": call.method, "fault": rejected.part.value},
    )


def _is_too_late(call: BotApiCall, rejected: CallRejected) -> bool:
    """Tell whether nobody waits for an answer any more, or it was given already."""
    answer_methods = ("answer", "approveChatJoinRequest", "declineChatJoinRequest")
    return rejected.part is RejectedPart.TOO_LATE and call.method.startswith(
        answer_methods
    )
