"""An answer in Telegram while it is still being written.

In private chats it is a draft (Bot API, sendMessageDraft): a preview that the user can
stop, and that vanishes when the answer itself arrives. Elsewhere, and where drafts are
refused, it is a message that is edited, and that the answer takes the place of.

Nothing here is sent twice: the next text is newer anyway. The 429 of a draft holds back
nothing else; that of a message or an edit holds back the chat, as any other does.
"""

import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from botgateway.chat.v1.context_pb2 import CHAT_TYPE_PRIVATE
from botgateway.chat.v1.reply_pb2 import OutgoingMessage, Reply
from msgspec import structs

from gateway.domain.bot_api_call import BotApiCall
from gateway.domain.errors import BotApiError, BotApiUnavailable, CallRejected
from gateway.domain.update import Update
from gateway.telegram.outbound.query_answers import find_reply_chat_id
from gateway.telegram.outbound.renderer import MAX_TEXT_LENGTH, build_chat_parameters
from gateway.telegram.outbound.text_splitting import (
    count_utf16_units,
    is_blank,
    split_text,
)

logger = logging.getLogger(__name__)

DRAFT_INTERVAL_SECONDS = 0.5
"""From one draft to the next. Telegram names no limit, but refuses what is too much."""

EDIT_INTERVAL_SECONDS = 1.0
"""From one edit to the next: they count as messages, and a chat takes one a second."""

MAX_FAST_EDITS = 5
SLOW_EDIT_INTERVAL_SECONDS = 4.0
"""After so many edits in a group: it takes about 20 messages a minute, and what goes
beyond earns a 429 that the whole answer would have to wait for too."""

FINAL_PATIENCE_SECONDS = 300.0
"""For how many seconds a whole answer is worth a retry at least: the edits before it
earn 429s that ask for long waits (about 280 s were reported), and it was written
already."""

Parameters = dict[str, Any]
CallOnce = Callable[[str, Parameters], Awaitable[Any]]
Render = Callable[[Update, Reply], Sequence[BotApiCall]]


class TelegramPreview:
    """The preview of the answer to one update.

    Args:
        update: what is answered.
        call_once: makes a call once, and gives its result or raises.
        render: turns a reply into calls.
    """

    def __init__(self, update: Update, call_once: CallOnce, render: Render) -> None:
        self._update = update
        self._call_once = call_once
        self._render = render
        context = update.context
        self._can_show = 0 != context.chat_id == find_reply_chat_id(update)
        """False: what is sent goes elsewhere than where the update is from, or a
        message may show a text that nobody can edit."""
        if update.ephemeral_message_id:
            self._can_show = False  # what is sent has no id to edit it by
        self._uses_drafts = context.chat_type == CHAT_TYPE_PRIVATE
        if context.business_connection_id or not context.chat_id:
            self._uses_drafts = False
        self._message_id = 0
        """The message that shows the text. 0: none."""
        self._shown_text = ""
        """What it shows."""
        self._edit_count = 0
        self._is_press_answered = False
        """A pressed button was answered already."""

    @property
    def min_interval(self) -> float:
        """How long to wait from one `show` to the next."""
        if self._uses_drafts:
            return DRAFT_INTERVAL_SECONDS
        in_private = self._update.context.chat_type == CHAT_TYPE_PRIVATE
        if in_private or self._edit_count < MAX_FAST_EDITS:
            return EDIT_INTERVAL_SECONDS
        return SLOW_EDIT_INTERVAL_SECONDS

    async def show(self, text: str) -> None:
        """Show the text so far; of a long one the last part.

        Raises:
            BotApiUnavailable: not now.
            BotApiError: not at all.
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
                    "drafts are refused", extra={"kind": self._update.update_type}
                )
                self._uses_drafts = False
            else:
                return
        await self._show_as_message(text)

    def finalize(self, reply: Reply) -> Sequence[BotApiCall]:
        """Turn the whole answer into calls that put it in the preview's place.

        The reply is used up: a copy would hold its files twice.
        """
        return [
            structs.replace(call, min_patience=FINAL_PATIENCE_SECONDS)
            for call in self._build_final_calls(reply)
        ]

    def _build_final_calls(self, reply: Reply) -> Sequence[BotApiCall]:
        if self._is_press_answered and not is_blank(reply.callback_answer.text):
            # The press was answered when the text could be seen.
            reply.messages.add(text=reply.callback_answer.text)
        if not self._message_id:
            return self._render(self._update, reply)
        if not _can_replace_preview(reply.messages):
            # Last: if Telegram does not take the answer, this much of it stays.
            return [*self._render(self._update, reply), self._build_deletion()]
        reply.messages[0].edit = True
        update = structs.replace(
            self._update, pressed_message_id=self._message_id, inline_message_id=""
        )
        return self._render(update, reply)

    async def _answer_callback_query(self) -> None:
        """Answer a pressed button at once: its answer may take minutes."""
        query = self._update.callback_query_id
        if not query:
            return
        self._update = structs.replace(self._update, callback_query_id="")
        self._is_press_answered = True
        with contextlib.suppress(BotApiError):  # it ends by itself too
            await self._call_once("answerCallbackQuery", {"callback_query_id": query})

    def _build_draft(self, text: str) -> Parameters:
        # The same after a crash, so that the draft of before is the one that goes on.
        parameters = build_chat_parameters(self._update) | {
            "draft_id": self._update.update_id,
            "text": text,
        }
        return parameters | {"can_stop": True, "keep_on_stop": True}

    async def _show_as_message(self, text: str) -> None:
        if text == self._shown_text:  # unlike a draft it does not vanish
            return
        if self._message_id:
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
            # Without a 429 it may have arrived: a second one would stand beside it.
            self._can_show = error.retry_after > 0
            raise
        self._message_id, self._shown_text = int(result["message_id"]), text

    def _build_deletion(self) -> BotApiCall:
        """Take the message away that shows the text."""
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
        """Name the message that shows the text."""
        chat_parameters = build_chat_parameters(self._update)
        chat_parameters.pop("message_thread_id", None)
        chat_parameters.pop("direct_messages_topic_id", None)
        return chat_parameters | {"message_id": self._message_id}


def _can_replace_preview(messages: Sequence[OutgoingMessage]) -> bool:
    """Tell whether the first message can take the place of the one that is shown."""
    if not messages or any(message.edit for message in messages):
        return False  # what is edited is the message with the pressed button
    first = messages[0]
    is_plain_text = not first.media and not is_blank(first.text)
    has_same_options = not first.protect_content and not first.reply_to_message_id
    has_editable_markup = first.WhichOneof("markup") in {None, "keyboard"}
    return is_plain_text and has_same_options and has_editable_markup
