"""From a reply to calls of the Bot API, and from a refused call to a better one.

Pure: the same update and reply always give the same calls.
"""

from collections.abc import Callable, Sequence
from typing import Any

from botgateway.chat.v1.reply_pb2 import (
    TEXT_FORMAT_HTML,
    TEXT_FORMAT_MARKDOWN_V2,
    CallbackAnswer,
    OutgoingMessage,
    Reply,
)
from msgspec import structs

from gateway.domain.call import Call
from gateway.domain.errors import Part
from gateway.domain.update import Update
from gateway.telegram.keyboard import inline_keyboard
from gateway.telegram.media import (
    CAPTION_LIMIT,
    in_albums,
    media_calls,
    read_media,
    without_formats,
)
from gateway.telegram.queries import amend_answer, answer_query, chat_of_messages
from gateway.telegram.text import blank, shorten, split, split_html, units

TEXT_LIMIT = 4096
"""Bot API, sendMessage: text. This and the next one count UTF-16 code units."""
ANSWER_LIMIT = 200
"""Bot API, answerCallbackQuery: text."""

MOST_CALLS = 100
"""Of one reply. At one message a second and chat it takes minutes to send as many; what
goes on for longer is a fault of the service and would hold up everybody."""

MOST_TEXT = MOST_CALLS * TEXT_LIMIT
"""Characters of one text that are looked at: as many as those calls can hold."""

_PARSE_MODES = {TEXT_FORMAT_HTML: "HTML", TEXT_FORMAT_MARKDOWN_V2: "MarkdownV2"}

_PARTS = {
    Part.FORMAT: "parse_mode",
    Part.KEYBOARD: "reply_markup",
    Part.TOPIC: "message_thread_id",
}

Parameters = dict[str, Any]


def compose(update: Update, reply: Reply, report: Callable[[str], None]) -> list[Call]:
    """Turn a reply into calls, to be made in this order.

    Args:
        update: what the reply answers.
        reply: what the service wants the user to see.
        report: called with a word for everything that had to be left out.
    """
    composer = _Composer(update, report)
    messages: Sequence[OutgoingMessage] = reply.messages
    if update.callback_query_id:
        composer.answer(reply.callback_answer)
    elif update.name:
        composer.calls, messages = answer_query(update, reply, report)
    for message in messages[:MOST_CALLS]:
        composer.add(message)
    if len(reply.messages) > MOST_CALLS or len(composer.calls) > MOST_CALLS:
        report("too_many_messages")
    return composer.calls[:MOST_CALLS]


def amend(call: Call, rejected: Part) -> Call | None:
    """Change what Telegram refused in a call. None: nothing can be done."""
    if rejected is Part.EDIT:
        return _send_anew(call)
    if rejected is Part.FORMAT and call.method == "sendMediaGroup":
        return without_formats(call)
    if call.method.startswith("answer"):
        return amend_answer(call, rejected)
    part = _PARTS.get(rejected)
    # An edit of the keyboard alone without its keyboard would remove the old one.
    if part not in call.parameters or call.method == "editMessageReplyMarkup":
        return None
    return structs.replace(call, parameters=_without(part, call.parameters))


def _send_anew(call: Call) -> Call | None:
    if call.method != "editMessageText" or not call.chat_id:
        return None
    parameters = _without("message_id", call.parameters)
    if call.topic:
        parameters["message_thread_id"] = call.topic
    return Call(method="sendMessage", parameters=parameters)


def _without(name: str, parameters: Parameters) -> Parameters:
    return {each: value for each, value in parameters.items() if each != name}


class _Composer:
    """Collects the calls of one reply."""

    def __init__(self, update: Update, report: Callable[[str], None]) -> None:
        self.calls: list[Call] = []
        self._report = report
        self._callback_query_id = update.callback_query_id
        self._chat_type = update.context.chat_type
        self._topic = update.context.message_thread_id
        self._chat: Parameters = {}
        """Where new messages go. Empty: nowhere."""
        if chat_id := chat_of_messages(update):
            self._chat["chat_id"] = chat_id
            if self._topic and chat_id == update.context.chat_id:
                self._chat["message_thread_id"] = self._topic
        self._pressed = _pressed(update)
        """The message that can be edited. Empty: none, or its text is taken."""

    def answer(self, answer: CallbackAnswer) -> None:
        """Answer the pressed button: Telegram shows a spinner until then."""
        parameters: Parameters = {"callback_query_id": self._callback_query_id}
        self.calls.append(Call(method="answerCallbackQuery", parameters=parameters))
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
        if len(message.text) > MOST_TEXT:
            self._report("text_too_long")
        keyboard = inline_keyboard(message.keyboard, self._chat_type, self._report)
        parts = _parts(message)
        if message.media and self._add_media(message, parts, keyboard):
            return
        target = self._pressed if message.edit else {}
        if parts:
            self._add_text(message, parts, keyboard, target)
        elif target:
            self._add_edit("editMessageReplyMarkup", {**target, **keyboard})
        else:
            self._report("message_empty")

    def _add_text(
        self,
        message: OutgoingMessage,
        parts: list[str],
        keyboard: Parameters,
        target: Parameters,
    ) -> None:
        """Add a text in its parts; the first one edits the target, if there is one."""
        if not self._chat and (not target or len(parts) > 1):
            self._report("no_chat")
            parts = parts[:1] if target else []
        for number, part in enumerate(parts, 1):
            content = {"text": part, **_parse_mode(message)}
            if number == len(parts):
                content |= keyboard
            if target:
                self._add_edit("editMessageText", {**target, **content})
                # A second text would replace the first one.
                target = self._pressed = {}
            else:
                self._add("sendMessage", {**self._chat, **content})

    def _add_media(
        self, message: OutgoingMessage, parts: list[str], keyboard: Parameters
    ) -> bool:
        """Add media and its text. False: there is nothing to send it from."""
        items = read_media(message.media, self._report)
        if not items:
            return False
        if not self._chat:
            self._report("no_chat")
            return True
        caption: Parameters = {}
        if parts and units(message.text) <= CAPTION_LIMIT:
            caption = {"caption": message.text, **_parse_mode(message)}
        groups = in_albums(items) if message.album else [[item] for item in items]
        # Buttons stand under the last thing that is sent.
        under = {} if parts and not caption else keyboard
        calls, captioned, buttoned = media_calls(groups, self._chat, caption, under)
        self.calls += calls
        if parts and not captioned:
            self._add_text(message, parts, keyboard, target={})
        elif keyboard and not buttoned:
            self._report("album_with_keyboard")
        return True

    def _add(self, method: str, parameters: Parameters) -> None:
        self.calls.append(Call(method=method, parameters=parameters))

    def _add_edit(self, method: str, parameters: Parameters) -> None:
        call = Call(method=method, parameters=parameters, topic=self._topic)
        self.calls.append(call)


def _pressed(update: Update) -> Parameters:
    """Name the message whose button was pressed. Empty: there is none."""
    if update.inline_message_id:
        return {"inline_message_id": update.inline_message_id}
    if update.context.chat_id and update.pressed_message_id:
        return {
            "chat_id": update.context.chat_id,
            "message_id": update.pressed_message_id,
        }
    return {}


def _parts(message: OutgoingMessage) -> list[str]:
    text = message.text[:MOST_TEXT]
    if message.format == TEXT_FORMAT_HTML:
        return split_html(text, TEXT_LIMIT)
    return split(text, TEXT_LIMIT)


def _parse_mode(message: OutgoingMessage) -> Parameters:
    mode = _PARSE_MODES.get(message.format)
    return {"parse_mode": mode} if mode else {}
