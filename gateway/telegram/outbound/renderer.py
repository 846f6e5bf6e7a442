"""From a reply to calls of the Bot API.

Pure: the same update and reply always give the same calls.
"""

from collections.abc import Callable, Sequence
from typing import Any

from botgateway.chat.v1.context_pb2 import CHAT_TYPE_PRIVATE, RequestContext
from botgateway.chat.v1.reply_pb2 import (
    CallbackAnswer,
    OutgoingMessage,
    Reply,
)

from gateway.domain.bot_api_call import BotApiCall, Upload
from gateway.domain.reply_limits import MAX_MESSAGES, MAX_TEXT
from gateway.domain.update import Update
from gateway.telegram.outbound.formatted_text import split_formatted
from gateway.telegram.outbound.media import (
    CAPTION_LIMIT,
    in_albums,
    media_calls,
    read_media,
)
from gateway.telegram.outbound.query_answers import answer_query, chat_of_messages
from gateway.telegram.outbound.reply_markup import for_edit, reply_markup
from gateway.telegram.outbound.send_options import options, parse_mode, previews
from gateway.telegram.outbound.text_splitting import blank, shorten, units

TEXT_LIMIT = 4096
"""Bot API, sendMessage: text. This and the next one count UTF-16 code units."""
ANSWER_LIMIT = 200
"""Bot API, answerCallbackQuery: text."""

MOST_CALLS = MAX_MESSAGES
"""Calls that one reply is turned into. The rest is left out."""

_PRIVATE = RequestContext(chat_type=CHAT_TYPE_PRIVATE)

Parameters = dict[str, Any]
Files = dict[str, Upload]


def compose(
    update: Update,
    reply: Reply,
    report: Callable[[str], None],
    *,
    local_server: bool = False,
) -> list[BotApiCall]:
    """Turn a reply into calls, to be made in this order.

    Args:
        update: what the reply answers.
        reply: what the service wants the user to see.
        report: called with a word for everything that had to be left out.
        local_server: the Bot API server is not Telegram's own; see `read_media`.
    """
    if call := _plain(update, reply):
        return [call]
    composer = _Composer(update, report, local_server=local_server)
    messages: Sequence[OutgoingMessage] = reply.messages
    if update.callback_query_id:
        composer.answer(reply.callback_answer)
    elif update.trigger_name:
        composer.calls, messages = answer_query(update, reply, report)
    for message in messages[:MAX_MESSAGES]:
        if len(composer.calls) > MOST_CALLS:
            break  # what follows would be left out
        composer.add(message)
    if len(reply.messages) > MAX_MESSAGES or len(composer.calls) > MOST_CALLS:
        report("too_many_messages")
    return composer.calls[:MOST_CALLS]


def _plain(update: Update, reply: Reply) -> BotApiCall | None:
    """Give the call of the most frequent reply: one short text. None: it is another."""
    messages = reply.messages
    if update.callback_query_id or update.trigger_name or len(messages) != 1:
        return None
    message = messages[0]
    text = message.text
    # No character has more than two units.
    if len(text) > TEXT_LIMIT // 2 or blank(text):
        return None
    # The text was seen, so it is all that is set. A field that is new in the contract
    # is not passed over in this way.
    if len(message.ListFields()) != 1 or len(reply.ListFields()) != 1:
        return None
    if not (chat := place_of(update)):
        return None
    chat["text"] = text
    return BotApiCall(method="sendMessage", parameters=chat)


class _Composer:
    """Collects the calls of one reply."""

    def __init__(
        self, update: Update, report: Callable[[str], None], *, local_server: bool
    ) -> None:
        self.calls: list[BotApiCall] = []
        self._report = report
        self._local_server = local_server
        self._callback_query_id = update.callback_query_id
        # Whoever is written to elsewhere is written to in a private chat.
        elsewhere = update.reply_chat_id
        self._context = _PRIVATE if elsewhere else update.context
        self._chat = place_of(update)
        """Where new messages go. Empty: nowhere."""
        self._to = self._chat
        """The same, with how the current message is sent."""
        self._pressed = _pressed(update)
        """The message that can be edited. Empty: none, or its text is taken."""
        self._text_left = MAX_TEXT
        """How many characters the texts of the next messages may have together."""

    def answer(self, answer: CallbackAnswer) -> None:
        """Answer the pressed button: Telegram shows a spinner until then."""
        parameters: Parameters = {"callback_query_id": self._callback_query_id}
        self.calls.append(
            BotApiCall(method="answerCallbackQuery", parameters=parameters)
        )
        text = answer.text
        if blank(text):
            return
        if units(text) > ANSWER_LIMIT:
            if self._chat:
                self.add(OutgoingMessage(text=text))
                return
            self._report("answer_too_long")
            text = shorten(text, ANSWER_LIMIT - 1) + "…"
        parameters["text"] = text
        if answer.show_alert:
            parameters["show_alert"] = True

    def add(self, message: OutgoingMessage) -> None:
        """Add the calls that one message takes."""
        markup = reply_markup(message, self._context, self._report)
        how = options(message, self._report)
        self._to = {**self._chat, **how} if how else self._chat
        parts = self._parts(message)
        if message.media and self._add_media(message, parts, markup):
            return
        target = self._pressed if message.edit else {}
        if parts:
            self._add_text(message, parts, markup, target)
        elif target:
            self._edit_keyboard(target, markup)
        else:
            self._report("message_empty")

    def _parts(self, message: OutgoingMessage) -> list[str]:
        """Split the text of a message into what fits into one message each."""
        text = message.text
        if len(text) > self._text_left:
            self._report("text_too_long")
            text = text[: self._text_left]
        self._text_left -= len(text)
        return split_formatted(text, message.format, TEXT_LIMIT)

    def _add_text(
        self,
        message: OutgoingMessage,
        parts: list[str],
        markup: Parameters,
        target: Parameters,
    ) -> None:
        """Add a text in its parts; the first one edits the target, if there is one."""
        if not self._chat and (not target or len(parts) > 1):
            self._report("no_chat")
            parts = parts[:1] if target else []
        shown = previews(message, len(parts), self._report)
        for number, (part, preview) in enumerate(zip(parts, shown, strict=True), 1):
            content = {"text": part, **parse_mode(message), **preview}
            is_last = number == len(parts)
            if target:
                content |= for_edit(markup, self._report) if is_last else {}
                self._edit("editMessageText", {**target, **content})
                # A second text would replace the first one.
                target = self._pressed = {}
            else:
                self._send("sendMessage", {**content, **markup} if is_last else content)

    def _edit_keyboard(self, target: Parameters, markup: Parameters) -> None:
        """Add the edit of a keyboard alone; without one it takes the old one away."""
        keyboard = for_edit(markup, self._report)
        # What an edit cannot carry does not mean that the old buttons should go.
        if keyboard or not markup:
            self._edit("editMessageReplyMarkup", {**target, **keyboard})

    def _add_media(
        self, message: OutgoingMessage, parts: list[str], markup: Parameters
    ) -> bool:
        """Add media and its text. False: there is nothing to send it from."""
        items = read_media(message.media, self._report, local_server=self._local_server)
        if not items:
            return False
        if not self._chat:
            self._report("no_chat")
            return True
        caption: Parameters = {}
        if parts and units(message.text) <= CAPTION_LIMIT:
            caption = {"caption": message.text, **parse_mode(message)}
        album = message.album
        if album and "ephemeral_message_parameters" in self._to:
            self._report("album_unsupported_here")  # sendMediaGroup knows no receiver
            album = False
        groups = in_albums(items) if album else [[item] for item in items]
        # Buttons stand under the last thing that is sent.
        under = {} if parts and not caption else markup
        calls, captioned, buttoned = media_calls(groups, caption, under)
        for call in calls:
            self._send(call.method, call.parameters, call.files)
        if parts and not captioned:
            self._add_text(message, parts, markup, target={})
        elif markup and not buttoned:
            self._report("album_with_keyboard")
        return True

    def _send(
        self, method: str, content: Parameters, files: Files | None = None
    ) -> None:
        """Add a call that makes a new message."""
        parameters = {**self._to, **content}
        call = BotApiCall(method=method, parameters=parameters, files=files or {})
        self.calls.append(call)
        if "reply_parameters" in self._to:  # the next one is no answer by itself
            self._to = {**self._to}
            del self._to["reply_parameters"]

    def _edit(self, method: str, parameters: Parameters) -> None:
        """Add a call that changes a message."""
        if "ephemeral_message_id" in parameters:
            method = method.replace("editMessage", "editEphemeralMessage")
        self.calls.append(
            BotApiCall(method=method, parameters=parameters, resend_parameters=self._to)
        )


def place_of(update: Update) -> Parameters:
    """Name the chat, topic and account for new messages. Empty: there is none."""
    context, chat_id = update.context, chat_of_messages(update)
    if not chat_id:
        return {}
    chat: Parameters = {"chat_id": chat_id}
    if context.message_thread_id and chat_id == context.chat_id:
        chat["message_thread_id"] = context.message_thread_id
    topic = context.direct_messages_topic_id
    if topic and chat_id == context.chat_id:
        # Bot API, sendMessage: required in a channel's direct messages.
        chat["direct_messages_topic_id"] = topic
    if context.business_connection_id:
        chat["business_connection_id"] = context.business_connection_id
    if update.ephemeral_message_id:
        receiver = _receiver(update)
        if receiver is None:
            return {}
        chat["ephemeral_message_parameters"] = receiver
    return chat


def _receiver(update: Update) -> Parameters | None:
    """Say who alone sees the answer to an ephemeral message.

    Bot API, sendMessage: ephemeral_message_parameters. None: nobody is known, and what
    was asked in secret is not answered in public.
    """
    user_id = update.context.telegram_user_id
    if not user_id:
        return None
    receiver: Parameters = {"receiver_user_id": user_id}
    if update.callback_query_id:
        receiver["callback_query_id"] = update.callback_query_id
    return receiver


def _pressed(update: Update) -> Parameters:
    """Name the message whose button was pressed. Empty: there is none."""
    if update.inline_message_id:
        return {"inline_message_id": update.inline_message_id}
    if update.ephemeral_message_id and update.callback_query_id:
        return {
            "chat_id": update.context.chat_id,
            "receiver_user_id": update.context.telegram_user_id,
            "ephemeral_message_id": update.ephemeral_message_id,
        }
    if not update.context.chat_id or not update.pressed_message_id:
        return {}
    message: Parameters = {
        "chat_id": update.context.chat_id,
        "message_id": update.pressed_message_id,
    }
    if update.context.business_connection_id:
        message["business_connection_id"] = update.context.business_connection_id
    return message
