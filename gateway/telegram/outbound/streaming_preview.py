"""Shows the user the beginning of a streamed reply while the service writes the rest.

In private chats this preview is a draft (Bot API, sendMessageDraft): the user can stop
the stream, and the draft disappears when the reply arrives. In other chats, and where
Telegram rejects drafts, the preview is a message that is edited, and that the reply
finally replaces.

Calls for the preview are not retried, because the next text is newer. A 429 for a draft
delays nothing else; a 429 for a message or an edit starts a cool-down of the chat.
"""

import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

from botgateway.chat.v1.context_pb2 import CHAT_TYPE_PRIVATE
from botgateway.chat.v1.reply_pb2 import OutgoingMessage, Reply
from msgspec import structs

from gateway.domain.bot_api_call import BotApiCall
from gateway.domain.errors import BotApiError, BotApiUnavailable, CallRejected
from gateway.domain.reply_limits import MAX_TEXT_LENGTH
from gateway.domain.update import ButtonPress, Update
from gateway.telegram.outbound.renderer import build_chat_parameters
from gateway.telegram.outbound.text_splitting import (
    count_utf16_units,
    is_blank,
    split_text,
)

logger = logging.getLogger(__name__)

DRAFT_INTERVAL_SECONDS = 0.5
"""Seconds between two drafts. Telegram documents no limit, but rejects too many."""

EDIT_INTERVAL_SECONDS = 1.0
"""Seconds between two edits. Edits count as messages: a chat accepts one a second."""

MAX_FAST_EDITS = 5
SLOW_EDIT_INTERVAL_SECONDS = 4.0
"""Seconds between two edits in a group after MAX_FAST_EDITS edits. A group accepts
about 20 messages a minute, and the final reply would also have to wait after a 429."""

FINAL_PATIENCE_SECONDS = 300.0
"""Minimum time for which the calls of a final reply are retried. The edits before it
can cause a 429 with a long wait (about 280 s were reported), and the reply has been
written already."""

Parameters = dict[str, Any]
CallOnce = Callable[[str, Parameters], Awaitable[Any]]


class Render(Protocol):
    """A function that renders a reply as calls; see `TelegramMessenger.render`."""

    def __call__(
        self,
        update: Update,
        reply: Reply,
        *,
        edited_message_id: int | None = None,
        is_press_answered: bool = False,
    ) -> Sequence[BotApiCall]:
        """Return the calls."""


class TelegramPreview:
    """Shows the streamed reply to one update while it grows.

    Args:
        update: the update that the reply answers.
        call_once: makes a call without a retry and returns its result.
        render: renders a reply as calls.
    """

    def __init__(self, update: Update, call_once: CallOnce, render: Render) -> None:
        self._update = update
        self._call_once = call_once
        self._render = render
        context = update.context
        reply_chat_id = build_chat_parameters(update).get("chat_id")
        self._can_show = context.chat_id == reply_chat_id
        """False if the reply goes to another chat, or if a lost response means that a
        preview may already exist that cannot be edited."""
        if update.ephemeral_message_id is not None:
            self._can_show = False  # The sent message has no ID to edit it by.
        self._uses_drafts = context.chat_type == CHAT_TYPE_PRIVATE
        if context.business_connection_id or not context.chat_id:
            self._uses_drafts = False
        self._message_id: int | None = None
        """The ID of the preview's message, or None if there is none."""
        self._shown_text = ""
        """The text of that message."""
        self._edit_count = 0
        self._is_press_answered = False
        """Whether the callback query of a pressed button was answered already."""

    @property
    def min_interval(self) -> float:
        """The number of seconds that the caller must leave between two calls of `show`.

        The value grows for a message in a group that was edited several times.
        """
        if self._uses_drafts:
            return DRAFT_INTERVAL_SECONDS
        in_private = self._update.context.chat_type == CHAT_TYPE_PRIVATE
        if in_private or self._edit_count < MAX_FAST_EDITS:
            return EDIT_INTERVAL_SECONDS
        return SLOW_EDIT_INTERVAL_SECONDS

    async def show(self, text: str) -> None:
        """Show the user the text so far; of a long text, only the last part.

        The first call also answers a pressed button. Does nothing if the text is blank
        or if the reply cannot be shown before it is complete.

        Raises:
            BotApiUnavailable: this text was not shown; a later call may succeed.
            BotApiError: the preview does not work in this chat.
        """
        if is_blank(text) or not self._can_show:
            return
        await self._answer_callback_query()
        if count_utf16_units(text) > MAX_TEXT_LENGTH:
            text = split_text(text, MAX_TEXT_LENGTH)[-1]
        if self._uses_drafts:
            try:
                await self._call_once("sendMessageDraft", self._build_draft(text))
            except CallRejected:
                logger.warning(
                    "drafts_rejected", extra={"kind": self._update.update_type}
                )
                self._uses_drafts = False
            else:
                return
        await self._show_as_message(text)

    def finalize(self, reply: Reply) -> Sequence[BotApiCall]:
        """Render the final reply as calls that replace the preview; make no call.

        This may modify the reply, because a copy would duplicate its files in memory.
        """
        return [
            structs.replace(call, min_patience=FINAL_PATIENCE_SECONDS)
            for call in self._build_final_calls(reply)
        ]

    def _build_final_calls(self, reply: Reply) -> Sequence[BotApiCall]:
        if self._is_press_answered and not is_blank(reply.callback_answer.text):
            # The query was answered by the first preview, so this becomes a message.
            reply.messages.add(text=reply.callback_answer.text)
        edited_message_id = None
        if self._message_id is not None and _can_replace_preview(reply.messages):
            reply.messages[0].edit = True
            edited_message_id = self._message_id
        calls = self._render(
            self._update,
            reply,
            edited_message_id=edited_message_id,
            is_press_answered=self._is_press_answered,
        )
        if self._message_id is None or edited_message_id is not None:
            return calls
        # Deleted last: if Telegram rejects the reply, the preview remains.
        return [*calls, self._build_deletion()]

    async def _answer_callback_query(self) -> None:
        """Answer a pressed button at once, because the reply may take minutes."""
        if not isinstance(self._update, ButtonPress) or self._is_press_answered:
            return
        self._is_press_answered = True
        parameters = {"callback_query_id": self._update.callback_query_id}
        with contextlib.suppress(BotApiError):  # The query also expires by itself.
            await self._call_once("answerCallbackQuery", parameters)

    def _build_draft(self, text: str) -> Parameters:
        # The draft has the same ID after a crash, so that the old draft continues.
        parameters = build_chat_parameters(self._update) | {
            "draft_id": self._update.update_id,
            "text": text,
        }
        return parameters | {"can_stop": True, "keep_on_stop": True}

    async def _show_as_message(self, text: str) -> None:
        if text == self._shown_text:  # Unlike a draft, a message does not expire.
            return
        if self._message_id is not None:
            self._edit_count += 1
            await self._call_once(
                "editMessageText", {**self._build_message_parameters(), "text": text}
            )
            self._shown_text = text
            return
        try:
            result = await self._call_once(
                "sendMessage", {**build_chat_parameters(self._update), "text": text}
            )
        except BotApiUnavailable as error:
            # Without a 429 the message may have arrived: do not send a second one.
            self._can_show = error.retry_after is not None
            raise
        self._message_id, self._shown_text = int(result["message_id"]), text

    def _build_deletion(self) -> BotApiCall:
        """Build the call that deletes the preview's message."""
        connection = self._update.context.business_connection_id
        if not connection:
            return BotApiCall(
                method="deleteMessage", parameters=self._build_message_parameters()
            )
        parameters = {
            "business_connection_id": connection,
            "message_ids": [self._message_id],
        }
        return BotApiCall(method="deleteBusinessMessages", parameters=parameters)

    def _build_message_parameters(self) -> Parameters:
        """Build the parameters that identify the preview's message."""
        chat_parameters = build_chat_parameters(self._update)
        chat_parameters.pop("message_thread_id", None)
        chat_parameters.pop("direct_messages_topic_id", None)
        return chat_parameters | {"message_id": self._message_id}


def _can_replace_preview(messages: Sequence[OutgoingMessage]) -> bool:
    """Return whether the first message can replace the preview by an edit."""
    if not messages or any(message.edit for message in messages):
        return False  # `edit` refers to the message with the pressed button.
    first = messages[0]
    is_plain_text = not first.media and not is_blank(first.text)
    has_same_options = not first.protect_content and not first.reply_to_message_id
    has_editable_markup = first.WhichOneof("markup") in {None, "inline_keyboard"}
    return is_plain_text and has_same_options and has_editable_markup
