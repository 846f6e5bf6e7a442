"""Renders a reply as calls of the Bot API.

Pure: the same update and reply always result in the same calls. Nothing is sent here.
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
from gateway.domain.reply_limits import MAX_MESSAGES, MAX_TEXT, MAX_TEXT_LENGTH
from gateway.domain.update import ButtonPress, OtherUpdate, Update, UserMessage
from gateway.telegram.outbound.formatted_text_splitting import split_formatted_text
from gateway.telegram.outbound.media import (
    MAX_CAPTION_LENGTH,
    build_media_calls,
    group_into_albums,
    parse_media,
)
from gateway.telegram.outbound.query_answers import answer_query
from gateway.telegram.outbound.reply_markup import build_reply_markup, limit_to_edit
from gateway.telegram.outbound.send_options import (
    build_link_previews,
    build_parse_mode,
    build_send_options,
)
from gateway.telegram.outbound.text_splitting import (
    count_utf16_units,
    find_visible,
    is_blank,
    truncate,
)

MAX_CALLBACK_ANSWER_LENGTH = 200
"""Bot API, answerCallbackQuery: text. In UTF-16 code units."""

MAX_CALLS = MAX_MESSAGES
"""Maximum number of calls for one reply. Further calls are dropped."""

_PRIVATE_CHAT = RequestContext(chat_type=CHAT_TYPE_PRIVATE)

Parameters = dict[str, Any]
Files = dict[str, Upload]


def render(
    update: Update,
    reply: Reply,
    report_dropped: Callable[[str], None],
    *,
    local_server: bool = False,
    edited_message_id: int | None = None,
    is_press_answered: bool = False,
) -> list[BotApiCall]:
    """Render a reply as calls, to be made in the returned order.

    Args:
        update: the update that the reply answers.
        reply: the service's reply.
        report_dropped: called with the code of each part that is left out.
        local_server: True if the Bot API server is not Telegram's own; see
            `parse_media`.
        edited_message_id: the message that an edit in the reply changes; None for the
            one with the pressed button.
        is_press_answered: True if the callback query was answered already.

    Returns:
        At most `MAX_CALLS` calls; none if there is nothing to send.
    """
    messages = reply.messages
    text = messages[0].text if len(messages) == 1 else ""
    # The most frequent reply is one short text, and needs nothing else.
    if (
        find_visible(text)
        # A character has at most two UTF-16 code units.
        and len(text) <= MAX_TEXT_LENGTH // 2
        and isinstance(update, UserMessage)
        # Counting the fields also covers those that are added to the contract later.
        and len(messages[0].ListFields()) == 1
        and len(reply.ListFields()) == 1
        and (chat := build_chat_parameters(update))
    ):
        chat["text"] = text
        return [BotApiCall(method="sendMessage", parameters=chat)]
    renderer = _Renderer(
        update, report_dropped, edited_message_id, local_server=local_server
    )
    if isinstance(update, ButtonPress) and not is_press_answered:
        renderer.add_callback_answer(update.callback_query_id, reply.callback_answer)
    return _render_all_parts(renderer, update, reply, report_dropped)


def _render_all_parts(
    renderer: "_Renderer",
    update: Update,
    reply: Reply,
    report_dropped: Callable[[str], None],
) -> list[BotApiCall]:
    messages: Sequence[OutgoingMessage] = reply.messages
    if isinstance(update, OtherUpdate):
        renderer.calls, messages = answer_query(update, reply, report_dropped)
    for message in messages[:MAX_MESSAGES]:
        if len(renderer.calls) > MAX_CALLS:
            break  # Further calls would be dropped.
        renderer.add_message(message)
    if len(reply.messages) > MAX_MESSAGES or len(renderer.calls) > MAX_CALLS:
        report_dropped("too_many_messages")
    return renderer.calls[:MAX_CALLS]


class _Renderer:
    """A collector of the calls of one reply."""

    def __init__(
        self,
        update: Update,
        report_dropped: Callable[[str], None],
        edited_message_id: int | None,
        *,
        local_server: bool,
    ) -> None:
        self.calls: list[BotApiCall] = []
        self._report_dropped = report_dropped
        self._local_server = local_server
        self._context = update.context
        if isinstance(update, OtherUpdate) and update.reply_chat_id is not None:
            # A reply that goes to another chat goes to a private chat.
            self._context = _PRIVATE_CHAT
        self._chat_parameters = build_chat_parameters(update)
        """The target of new messages; empty if they cannot be sent."""
        self._send_parameters = self._chat_parameters
        """The target with the send options of the current message."""
        self._edit_target = _find_edit_target(update, edited_message_id)
        """The message to edit; empty if there is none or it has been edited already."""
        self._remaining_characters = MAX_TEXT
        """How many characters the next messages may have in total."""

    def add_callback_answer(self, query_id: str, answer: CallbackAnswer) -> None:
        """Add the answer to the pressed button, which shows a spinner until then."""
        parameters: Parameters = {"callback_query_id": query_id}
        self.calls.append(
            BotApiCall(method="answerCallbackQuery", parameters=parameters)
        )
        text = answer.text
        if is_blank(text):
            return
        if count_utf16_units(text) > MAX_CALLBACK_ANSWER_LENGTH:
            if self._chat_parameters:
                self.add_message(OutgoingMessage(text=text))
                return
            self._report_dropped("answer_too_long")
            text = truncate(text, MAX_CALLBACK_ANSWER_LENGTH - 1) + "…"
        parameters["text"] = text
        if answer.show_alert:
            parameters["show_alert"] = True

    def add_message(self, message: OutgoingMessage) -> None:
        """Add the calls for one message."""
        markup = build_reply_markup(message, self._context, self._report_dropped)
        send_options = build_send_options(message, self._report_dropped)
        self._send_parameters = (
            {**self._chat_parameters, **send_options}
            if send_options
            else self._chat_parameters
        )
        parts = self._split_text(message)
        if message.media and self._add_media(message, parts, markup):
            return
        target = self._edit_target if message.edit else {}
        if parts:
            self._add_text(message, parts, markup, target)
        elif target:
            self._add_keyboard_edit(target, markup)
        else:
            self._report_dropped("message_empty")

    def _split_text(self, message: OutgoingMessage) -> list[str]:
        """Split the text of a message into parts that fit into one message each."""
        text = message.text
        if len(text) > self._remaining_characters:
            self._report_dropped("text_too_long")
            text = text[: self._remaining_characters]
        self._remaining_characters -= len(text)
        return split_formatted_text(text, message.format, MAX_TEXT_LENGTH)

    def _add_text(
        self,
        message: OutgoingMessage,
        parts: list[str],
        markup: Parameters,
        target: Parameters,
    ) -> None:
        """Add the parts of a text; the first one edits the target, if there is one."""
        if not self._chat_parameters and (not target or len(parts) > 1):
            self._report_dropped("no_chat")
            parts = parts[:1] if target else []
        link_previews = build_link_previews(message, len(parts), self._report_dropped)
        for number, (part, preview) in enumerate(
            zip(parts, link_previews, strict=True), 1
        ):
            content = {"text": part, **build_parse_mode(message), **preview}
            is_last = number == len(parts)
            if target:
                content |= (
                    limit_to_edit(markup, self._report_dropped) if is_last else {}
                )
                self._add_edit_call("editMessageText", {**target, **content})
                # A second text would replace the first one.
                target = self._edit_target = {}
            else:
                self._add_send_call(
                    "sendMessage", {**content, **markup} if is_last else content
                )

    def _add_keyboard_edit(self, target: Parameters, markup: Parameters) -> None:
        """Add an edit of only the keyboard; without one it removes the old keyboard."""
        keyboard = limit_to_edit(markup, self._report_dropped)
        # A markup that is impossible in an edit must not remove the old buttons.
        if keyboard or not markup:
            self._add_edit_call("editMessageReplyMarkup", {**target, **keyboard})

    def _add_media(
        self, message: OutgoingMessage, parts: list[str], markup: Parameters
    ) -> bool:
        """Add media and their text. Return False if there are no valid media."""
        items = parse_media(
            message.media, self._report_dropped, local_server=self._local_server
        )
        if not items:
            return False
        if not self._chat_parameters:
            self._report_dropped("no_chat")
            return True
        caption: Parameters = {}
        if parts and count_utf16_units(message.text) <= MAX_CAPTION_LENGTH:
            caption = {"caption": message.text, **build_parse_mode(message)}
        album = message.album
        if album and "ephemeral_message_parameters" in self._send_parameters:
            # sendMediaGroup does not have this parameter.
            self._report_dropped("album_unsupported_here")
            album = False
        groups = group_into_albums(items) if album else [[item] for item in items]
        # The buttons belong under the last message.
        keyboard = {} if parts and not caption else markup
        calls, has_caption, has_keyboard = build_media_calls(groups, caption, keyboard)
        for call in calls:
            self._add_send_call(call.method, call.parameters, call.files)
        if parts and not has_caption:
            self._add_text(message, parts, markup, target={})
        elif markup and not has_keyboard:
            self._report_dropped("album_with_keyboard")
        return True

    def _add_send_call(
        self, method: str, content: Parameters, files: Files | None = None
    ) -> None:
        """Add a call that sends a new message."""
        parameters = {**self._send_parameters, **content}
        call = BotApiCall(method=method, parameters=parameters, files=files or {})
        self.calls.append(call)
        if "reply_parameters" in self._send_parameters:
            # Only the first of several messages is a reply to another message.
            self._send_parameters = {**self._send_parameters}
            del self._send_parameters["reply_parameters"]

    def _add_edit_call(self, method: str, parameters: Parameters) -> None:
        """Add a call that edits a message."""
        if "ephemeral_message_id" in parameters:
            method = method.replace("editMessage", "editEphemeralMessage")
        self.calls.append(
            BotApiCall(
                method=method,
                parameters=parameters,
                resend_parameters=self._send_parameters,
            )
        )


def build_chat_parameters(update: Update) -> Parameters:
    """Build the parameters that say where new messages for an update go.

    Returns:
        The parameters, such as `chat_id`; empty if the bot cannot send messages there.
    """
    context = update.context
    chat_id = context.chat_id
    if isinstance(update, OtherUpdate):
        # In a guest's chat the bot may send only one message: the answer to the query.
        if update.trigger_name == "guest_message":
            return {}
        if update.reply_chat_id is not None:
            chat_id = update.reply_chat_id
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
    if update.ephemeral_message_id is not None:
        receiver = _build_receiver(update)
        if receiver is None:
            return {}
        chat["ephemeral_message_parameters"] = receiver
    return chat


def _build_receiver(update: Update) -> Parameters | None:
    """Build the parameters of the only user who sees the reply to an ephemeral message.

    Bot API, sendMessage: ephemeral_message_parameters. None if the user is unknown: a
    reply to a message that only one user sees must not be public.
    """
    user_id = update.context.telegram_user_id
    if not user_id:
        return None
    receiver: Parameters = {"receiver_user_id": user_id}
    if isinstance(update, ButtonPress):
        receiver["callback_query_id"] = update.callback_query_id
    return receiver


def _find_edit_target(update: Update, message_id: int | None) -> Parameters:
    """Build the parameters of the message to edit; empty if there is none.

    Args:
        update: the update that the reply answers.
        message_id: the message, or None for the one with the pressed button.
    """
    context = update.context
    if message_id is None:
        if not isinstance(update, ButtonPress):
            return {}
        if update.inline_message_id is not None:
            return {"inline_message_id": update.inline_message_id}
        if update.ephemeral_message_id is not None:
            return {
                "chat_id": context.chat_id,
                "receiver_user_id": context.telegram_user_id,
                "ephemeral_message_id": update.ephemeral_message_id,
            }
        message_id = update.message_id
    if message_id is None or not context.chat_id:
        return {}
    message: Parameters = {"chat_id": context.chat_id, "message_id": message_id}
    if context.business_connection_id:
        message["business_connection_id"] = context.business_connection_id
    return message
