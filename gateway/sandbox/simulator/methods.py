"""The methods of the Bot API: checks their parameters and executes them."""

import time
from collections.abc import Callable, Mapping

from gateway.sandbox.simulator.albums import album
from gateway.sandbox.simulator.delivery.deliveries import UpdateDelivery
from gateway.sandbox.simulator.state import attachments
from gateway.sandbox.simulator.state.callback_queries import CallbackQueries
from gateway.sandbox.simulator.state.chats import Chats
from gateway.sandbox.simulator.state.event_stream import EventStream
from gateway.sandbox.simulator.state.users import Users
from gateway.sandbox.simulator.state.webhook import Webhook
from gateway.sandbox.simulator.validation import (
    keyboard_rules,
    reply_keyboard_rules,
    rules,
    sending_rules,
    setup_rules,
    text_rules,
)
from gateway.sandbox.simulator.validation.rules import (
    ApiError,
    Parameters,
    bad_request,
    number,
)

_MEDIA = ("photo", "document", "voice", "audio", "video", "animation", "sticker")
_PARTS = {
    "text": {"text", "entities", "link_preview_options"},
    "caption": {"caption", "caption_entities"},
}
"""The fields that an edit replaces, besides the keyboard."""
_NOTHING_NEW = (
    "message is not modified: specified new message content and reply markup are "
    "exactly the same as a current content and reply markup of the message"
)


class BotApiMethods:
    """Executes the methods of the Bot API for one bot.

    Args:
        bot: Telegram's User object of the bot.
        users: the users, and which of them blocked the bot.
        chats: the messages.
        callback_queries: the pressed buttons.
        webhook: the settings of the webhook.
        deliveries: executes the methods about updates.
        events: where chat actions and drafts are published.
        strict: True to reject calls to unknown chats and too frequent setWebhook calls.
    """

    def __init__(
        self,
        bot: Parameters,
        *,
        users: Users,
        chats: Chats,
        callback_queries: CallbackQueries,
        webhook: Webhook,
        deliveries: UpdateDelivery,
        events: EventStream,
        strict: bool,
    ) -> None:
        self._strict = strict
        self._webhook = webhook
        self._bot = bot
        self._users = users
        self._chats = chats
        self._callback_queries = callback_queries
        self._deliveries = deliveries
        self._events = events
        self._commands: dict[str, list[Parameters]] = {}
        methods: dict[str, Callable[[Parameters], object]] = {
            "getMe": self._get_me,
            "sendMessage": self._send_message,
            "sendMessageDraft": self._send_message_draft,
            "editMessageText": lambda call: self._edit(call, "text", _text),
            "editMessageCaption": lambda call: self._edit(
                call, "caption", text_rules.caption
            ),
            "editMessageReplyMarkup": lambda call: self._edit(call, "", lambda _: {}),
            "deleteMessage": self._delete_message,
            "deleteBusinessMessages": self._delete_business_messages,
            "answerCallbackQuery": self._answer_callback_query,
            "sendChatAction": self._send_chat_action,
            "setMyCommands": self._set_my_commands,
            "getMyCommands": self._get_my_commands,
            "setWebhook": self._set_webhook,
            "getWebhookInfo": lambda _: webhook.info,
            "deleteWebhook": self._delete_webhook,
            "getUpdates": deliveries.get_updates,
        }
        methods["sendMediaGroup"] = self._send_media_group
        methods |= {f"send{kind.title()}": self._sender_of(kind) for kind in _MEDIA}
        self._methods: dict[str, tuple[str, Callable[[Parameters], object]]] = {}
        self.add(methods)

    def add(self, methods: Mapping[str, Callable[[Parameters], object]]) -> None:
        """Add methods that other objects implement, by Telegram's names for them."""
        for name, run in methods.items():
            self._methods[name.lower()] = name, run

    @property
    def menu(self) -> list[Parameters]:
        """The command menu that the bot set for all users and languages."""
        return self._commands.get(_audience({}), [])

    def find(self, name: str) -> str:
        """Return Telegram's spelling of a method's name, or "" if it is unknown."""
        return self._methods.get(name.lower(), ("", None))[0]

    def call(self, name: str, parameters: Parameters) -> object:
        """Execute a method, and return its result; for getUpdates, an awaitable of it.

        Args:
            name: the name of a method that `find` knows.
            parameters: the parameters of the call.

        Raises:
            ApiError: Telegram would return an error.
        """
        return self._methods[name.lower()][1](parameters)

    def _get_me(self, _: Parameters) -> Parameters:
        return self._bot | {
            "can_join_groups": True,
            "can_read_all_group_messages": False,
            "supports_inline_queries": False,
            "can_manage_bots": True,
        }

    def _chat(self, parameters: Parameters) -> int:
        chat = rules.chat_id(parameters)
        if chat in self._users.blocked:
            raise ApiError("Forbidden: bot was blocked by the user", 403)
        is_known = self._users.find(chat) or chat in self._chats.groups
        if self._strict and not is_known:
            raise bad_request("chat not found")
        return chat

    def _send_message(self, parameters: Parameters) -> Parameters:
        return self._show(parameters, _text(parameters))

    def _show(self, parameters: Parameters, content: Parameters) -> Parameters:
        """Validate the common parameters and add a message of the bot to the chat."""
        content |= keyboard_rules.keyboard(parameters)
        asked = reply_keyboard_rules.reply_markup(parameters)
        chat = self._chat(parameters)
        if reply := rules.reply(parameters):
            answered = number(reply.get("message_id"))
            quoted = self._chats.quote(number(reply.get("chat_id")) or chat, answered)
            patient = rules.is_true(reply.get("allow_sending_without_reply"))
            if answered <= 0 or not (quoted or patient):
                raise bad_request("message to be replied not found")
            content |= quoted
        content |= sending_rules.message_fields(parameters)
        message = self._chats.show(self._bot, chat, content)
        if asked:
            self._chats.show_reply_markup(chat, message, asked)
        return message

    def _sender_of(self, kind: str) -> Callable[[Parameters], Parameters]:
        def send(parameters: Parameters) -> Parameters:
            source = rules.media(parameters, kind)
            content = attachments.sent_file(kind, source, parameters)
            if kind != "sticker":
                content |= text_rules.caption(parameters)
            return self._show(parameters, content)

        return send

    def _send_media_group(self, parameters: Parameters) -> list[Parameters]:
        return [self._show(parameters, each) for each in album(parameters)]

    def _edit(
        self,
        parameters: Parameters,
        part: str,
        read: Callable[[Parameters], Parameters],
    ) -> object:
        """Replace the text or caption of a message, and its keyboard."""
        change = read(parameters) | keyboard_rules.keyboard_alone(parameters)
        message_id = number(parameters.get("message_id"))
        if not parameters.get("chat_id") and not message_id:
            if not parameters.get("inline_message_id"):
                raise bad_request("Message identifier is not specified")
            return True  # the message is in a chat that the bot cannot see
        chat = self._chat(parameters)
        old = self._chats.find(chat, message_id)
        if not old:
            raise bad_request("message to edit not found")
        if not old["from"]["is_bot"]:
            raise bad_request("message can't be edited")
        if part and (part == "text") != ("text" in old):
            raise bad_request(f"There is no {part} in the message to edit")
        replaced = _PARTS.get(part, set()) | {"reply_markup"}
        new = {name: old[name] for name in old if name not in replaced} | change
        if new == old:
            raise bad_request(_NOTHING_NEW)
        return self._chats.replace(chat, message_id, new)

    def _delete_message(self, parameters: Parameters) -> bool:
        chat, message_id = self._chat(parameters), number(parameters.get("message_id"))
        if not self._chats.find(chat, message_id):
            raise bad_request("message to delete not found")
        self._chats.delete(chat, message_id)
        return True

    def _delete_business_messages(self, parameters: Parameters) -> bool:
        message_ids = set(rules.message_ids(parameters))
        connection = str(parameters.get("business_connection_id") or "")
        if not connection:
            raise bad_request("Business connection not found")
        self._chats.delete_business(connection, message_ids)
        return True

    def _answer_callback_query(self, parameters: Parameters) -> bool:
        self._callback_queries.answer(parameters)
        return True

    def _send_chat_action(self, parameters: Parameters) -> bool:
        rules.chat_action(parameters)
        chat = self._chat(parameters)
        action = str(parameters["action"]).lower()
        self._events.publish("action", chat_id=chat, action=action)
        return True

    def _send_message_draft(self, parameters: Parameters) -> bool:
        draft = text_rules.draft(parameters)
        chat = self._chat(parameters)
        if chat < 0:
            raise bad_request("TEXTDRAFT_PEER_INVALID")
        if not number(parameters.get("draft_id")):
            # 0 is documented as invalid; Telegram's error text is unknown.
            raise bad_request("draft_id must be non-zero")
        stop_id = parameters["draft_id"] if parameters.get("can_stop") else 0
        self._events.publish("draft", chat_id=chat, text=draft["text"], stop_id=stop_id)
        return True

    def _set_my_commands(self, parameters: Parameters) -> bool:
        self._commands[_audience(parameters)] = setup_rules.commands(parameters)
        self._events.publish("commands", commands=self.menu)
        return True

    def _get_my_commands(self, parameters: Parameters) -> list[Parameters]:
        return self._commands.get(_audience(parameters), [])

    def _set_webhook(self, parameters: Parameters) -> bool:
        if self._strict:
            self._webhook.hold_back(parameters, time.monotonic())
        self._deliveries.set_webhook(parameters)
        return True

    def _delete_webhook(self, parameters: Parameters) -> bool:
        self._deliveries.delete_webhook(parameters)
        return True


def _text(parameters: Parameters) -> Parameters:
    return text_rules.text(parameters) | sending_rules.link_preview(parameters)


def _audience(parameters: Parameters) -> str:
    """Return the key of a command menu: its scope and language."""
    scope = rules.json_value(parameters, "scope", "BotCommandScope")
    default = scope is None or scope == {"type": "default"}
    return f"{'' if default else scope}/{parameters.get('language_code', '')}"
