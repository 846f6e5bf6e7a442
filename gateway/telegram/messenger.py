"""Sends replies: renders Bot API calls, makes them, simplifies rejected ones."""

import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from botgateway.chat.v1.reply_pb2 import Reply

from gateway.domain.bot_api_call import BotApiCall
from gateway.domain.errors import CallRejected, RejectedPart
from gateway.domain.ports import BeforeRequest, RetryPause, await_pause
from gateway.domain.update import Update
from gateway.telegram.bot_api.client import BotApiClient
from gateway.telegram.outbound.degrade import degrade
from gateway.telegram.outbound.renderer import build_chat_parameters, render
from gateway.telegram.outbound.streaming_preview import TelegramPreview

logger = logging.getLogger(__name__)

_MAX_DEGRADATIONS = 2
"""Maximum degradations of a call, which may have more than one unacceptable part, such
as its format and its keyboard."""


class TelegramMessenger:
    """Renders replies as Bot API calls, and makes these calls.

    Args:
        api: the bot's Bot API client.
        observe_call: called with the method and the duration of each call in seconds,
            including its retries and the pauses before them.
        count_dropped_part: called with the code of each part that is left out of a
            reply because Telegram would reject it.
        local_server: True if the Bot API server is not Telegram's own. Such a server
            must not be made to fetch private URLs.
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

    def render(
        self,
        update: Update,
        reply: Reply,
        *,
        edited_message_id: int | None = None,
        is_press_answered: bool = False,
    ) -> Sequence[BotApiCall]:
        """Turn a reply into Bot API calls, to be made in this order; send nothing.

        The calls always answer a callback query, even if the reply is empty, and every
        other query that Telegram expects an answer to. Parts that Telegram would reject
        are left out, counted and logged.

        Args:
            update: the update that the reply answers.
            reply: the reply.
            edited_message_id: the message that an edit in the reply changes; None for
                the one with the pressed button.
            is_press_answered: True if the callback query was answered already, so that
                the calls must not answer it.
        """
        dropped_parts: list[str] = []
        calls = render(
            update,
            reply,
            dropped_parts.append,
            local_server=self._local_server,
            edited_message_id=edited_message_id,
            is_press_answered=is_press_answered,
        )
        if dropped_parts:
            self._report_dropped_parts(dropped_parts, update)
        return calls

    def _report_dropped_parts(self, dropped_parts: list[str], update: Update) -> None:
        """Count and log the dropped parts of a reply."""
        for dropped_part in dropped_parts:
            self._count_dropped_part(dropped_part)
        logger.warning(
            "reply_parts_dropped",
            extra={
                "request_id": update.context.request_id,
                "dropped_parts": Counter(dropped_parts),
            },
        )

    async def send(
        self,
        call: BotApiCall,
        patience: float = 0,
        wait: RetryPause = await_pause,
        before_request: BeforeRequest | None = None,
    ) -> Any:  # noqa: ANN401 - each method has its own result type
        """Make one call, and retry it as long as it certainly was not applied.

        If Telegram rejects a part of the call, such as its format or keyboard, that
        part is changed or removed and the call is made again, up to twice. A call with
        `is_verbatim` is never changed.

        Args:
            call: the call.
            patience: for how many seconds from the first failure to retry; the call may
                require more.
            wait: awaits the pauses between the attempts.
            before_request: awaited immediately before each attempt; None for nothing.

        Returns:
            The result of the method. None if the call answers a query that has expired.

        Raises:
            RecipientBlocked: the user cannot be reached.
            BotApiError: the Bot API did not accept the call, or it is unknown whether
                it did.
        """
        degradations = 0
        while True:
            start = time.perf_counter()
            try:
                return await self._api.call(
                    call.method,
                    call.parameters,
                    call.files,
                    patience=max(patience, call.min_patience),
                    wait=wait,
                    before_request=before_request,
                )
            except CallRejected as rejected:
                if degradations == _MAX_DEGRADATIONS:
                    raise
                _log_rejection(call, rejected)
                if _is_too_late(call, rejected):
                    return None
                degraded = None
                if not call.is_verbatim:
                    degraded = degrade(call, rejected.part)
                if degraded is None:
                    raise
            finally:
                self._observe_call(call.method, time.perf_counter() - start)
            call = degraded
            degradations += 1

    async def learn_cooldown(self, chat_id: int) -> float:
        """Ask the other workers for a cool-down of a chat, and observe it from now on.

        Returns:
            The seconds until the cool-down of the chat ends; 0 if there is none.
        """
        return await self._api.learn_cooldown(chat_id)

    def preview(self, update: Update) -> TelegramPreview:
        """Create the object that shows a streamed reply to an update while it grows."""
        return TelegramPreview(update, self._call_once, self.render)

    async def show_typing(self, update: Update) -> None:
        """Show in the update's chat that the bot is typing, for 5 s (sendChatAction).

        Does nothing if only one member of a group is to see the reply: everybody would
        see the indicator.

        Raises:
            BotApiError: the call failed. It was not retried.
        """
        if update.ephemeral_message_id is not None:
            return  # everybody else in the group would see it
        chat_parameters = build_chat_parameters(update)
        # Only methods that send messages accept this parameter.
        chat_parameters.pop("direct_messages_topic_id", None)
        await self._call_once("sendChatAction", {**chat_parameters, "action": "typing"})

    async def _call_once(self, method: str, parameters: dict[str, Any]) -> Any:  # noqa: ANN401 - each method has its own result type
        start = time.perf_counter()
        try:
            return await self._api.call_once(method, parameters)
        finally:
            self._observe_call(method, time.perf_counter() - start)


def _log_rejection(call: BotApiCall, rejected: CallRejected) -> None:
    logger.warning(
        "bot_api_call_rejected",
        extra={"method": call.method, "rejected_part": rejected.part.value},
    )


def _is_too_late(call: BotApiCall, rejected: CallRejected) -> bool:
    """Return whether a call answers a query that has expired or was answered before."""
    answer_methods = ("answer", "approveChatJoinRequest", "declineChatJoinRequest")
    return rejected.part is RejectedPart.TOO_LATE and call.method.startswith(
        answer_methods
    )
