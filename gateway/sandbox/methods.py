"""The Bot API's methods: what they check, what they change, what they give back."""

import time
from collections import OrderedDict
from collections.abc import Callable
from itertools import count

from gateway.sandbox import keyboard_rules, rules, setup_rules, text_rules
from gateway.sandbox.rules import Parameters, Refused, bad, number

KEPT = 10_000
"""Messages of all chats together, and answers; the oldest go first."""

_MEDIA = ("photo", "document", "voice", "audio", "video", "animation", "sticker")
_PARTS = {"text": {"text", "entities"}, "caption": {"caption", "caption_entities"}}
"""What an edit replaces, besides the keyboard."""
_NOTHING_NEW = (
    "message is not modified: specified new message content and reply markup are "
    "exactly the same as a current content and reply markup of the message"
)


class Methods:
    """A bot's chats, its webhook and its commands.

    Attributes:
        blocked: users who blocked the bot.
        answers: the answers to pressed buttons, oldest first.
        webhook: what getWebhookInfo gives back.
        secret_token: the webhook's secret. Empty: none.
    """

    def __init__(self, bot_id: int, username: str) -> None:
        self.blocked: set[int] = set()
        self.answers: list[Parameters] = []
        self.webhook: Parameters = {
            "url": "",
            "has_custom_certificate": False,
            "pending_update_count": 0,
        }
        self.secret_token = ""
        self._bot: Parameters = {
            "id": bot_id,
            "is_bot": True,
            "first_name": "Sandbox",
            "username": username,
        }
        self._message_ids = count(1)
        self._messages: OrderedDict[tuple[int, int], Parameters] = OrderedDict()
        self._commands: dict[str, list[Parameters]] = {}
        methods: dict[str, Callable[[Parameters], object]] = {
            "getMe": self._get_me,
            "sendMessage": self._send_message,
            "editMessageText": lambda call: self._edit(call, "text", text_rules.text),
            "editMessageCaption": lambda call: self._edit(
                call, "caption", text_rules.caption
            ),
            "editMessageReplyMarkup": lambda call: self._edit(call, "", lambda _: {}),
            "answerCallbackQuery": self._answer_callback_query,
            "sendChatAction": self._send_chat_action,
            "setMyCommands": self._set_my_commands,
            "getMyCommands": self._get_my_commands,
            "setWebhook": self._set_webhook,
            "getWebhookInfo": lambda _: self.webhook,
            "deleteWebhook": self._delete_webhook,
        }
        methods |= {f"send{kind.title()}": self._sender_of(kind) for kind in _MEDIA}
        self._methods = {name.lower(): (name, run) for name, run in methods.items()}

    def find(self, name: str) -> str:
        """Give Telegram's spelling of a method's name. Empty: there is none."""
        return self._methods.get(name.lower(), ("", None))[0]

    def call(self, name: str, parameters: Parameters) -> object:
        """Carry out a method and give its result.

        Raises:
            Refused: Telegram would answer with an error.
        """
        return self._methods[name.lower()][1](parameters)

    def messages(self, chat_id: int) -> list[Parameters]:
        """List what a chat shows, as Telegram's Message objects, oldest first."""
        return [shown for key, shown in self._messages.items() if key[0] == chat_id]

    def _get_me(self, _: Parameters) -> Parameters:
        return self._bot | {
            "can_join_groups": True,
            "can_read_all_group_messages": False,
            "supports_inline_queries": False,
        }

    def _chat(self, parameters: Parameters) -> int:
        chat = rules.chat_id(parameters)
        if chat in self.blocked:
            raise Refused("Forbidden: bot was blocked by the user", 403)
        return chat

    def _send_message(self, parameters: Parameters) -> Parameters:
        content = text_rules.text(parameters) | keyboard_rules.keyboard(parameters)
        return self._show(self._chat(parameters), content)

    def _sender_of(self, kind: str) -> Callable[[Parameters], Parameters]:
        def send(parameters: Parameters) -> Parameters:
            source = rules.media(parameters, kind)
            file = {"file_id": source, "file_unique_id": source[-16:]}
            content: Parameters = {kind: [file] if kind == "photo" else file}
            if kind != "sticker":
                content |= text_rules.caption(parameters)
            content |= keyboard_rules.keyboard(parameters)
            return self._show(self._chat(parameters), content)

        return send

    def _show(self, chat: int, content: Parameters) -> Parameters:
        message_id = next(self._message_ids)
        message = {
            "message_id": message_id,
            "from": self._bot,
            "chat": {"id": chat, "type": _chat_type(chat)},
            "date": int(time.time()),
            **content,
        }
        self._messages[chat, message_id] = message
        if len(self._messages) > KEPT:
            self._messages.popitem(last=False)
        return message

    def _edit(
        self,
        parameters: Parameters,
        part: str,
        read: Callable[[Parameters], Parameters],
    ) -> object:
        """Replace one part of a message, and its keyboard."""
        change = read(parameters) | keyboard_rules.keyboard(parameters)
        message_id = number(parameters.get("message_id"))
        if not parameters.get("chat_id") and not message_id:
            if not parameters.get("inline_message_id"):
                raise bad("Message identifier is not specified")
            return True  # it lies in a chat that the bot does not see
        chat = self._chat(parameters)
        old = self._messages.get((chat, message_id))
        if not old:
            raise bad("message to edit not found")
        if part and (part == "text") != ("text" in old):
            raise bad(f"There is no {part} in the message to edit")
        replaced = _PARTS.get(part, set()) | {"reply_markup"}
        new = {name: old[name] for name in old if name not in replaced} | change
        if new == old:
            raise bad(_NOTHING_NEW)
        self._messages[chat, message_id] = new | {"edit_date": int(time.time())}
        return self._messages[chat, message_id]

    def _answer_callback_query(self, parameters: Parameters) -> bool:
        rules.callback_answer(parameters)
        self.answers.append(parameters)
        del self.answers[:-KEPT]
        return True

    def _send_chat_action(self, parameters: Parameters) -> bool:
        rules.chat_action(parameters)
        self._chat(parameters)
        return True

    def _set_my_commands(self, parameters: Parameters) -> bool:
        self._commands[_audience(parameters)] = setup_rules.commands(parameters)
        return True

    def _get_my_commands(self, parameters: Parameters) -> list[Parameters]:
        return self._commands.get(_audience(parameters), [])

    def _set_webhook(self, parameters: Parameters) -> bool:
        if not parameters.get("url"):
            return self._delete_webhook(parameters)
        settings = setup_rules.webhook(parameters)
        allowed = setup_rules.allowed_updates(parameters)
        self._delete_webhook(parameters)
        self.webhook |= settings
        self.secret_token = str(parameters.get("secret_token", ""))
        if allowed is not None:
            self.webhook.pop("allowed_updates", None)
        if allowed:
            self.webhook["allowed_updates"] = allowed
        return True

    def _delete_webhook(self, parameters: Parameters) -> bool:
        """Forget the address and its errors; what it wanted to hear stays."""
        kept = {"has_custom_certificate", "pending_update_count", "allowed_updates"}
        info = {name: self.webhook[name] for name in kept & self.webhook.keys()}
        if parameters.get("drop_pending_updates") in {True, "true", "True", "1"}:
            info["pending_update_count"] = 0
        self.webhook = {"url": "", **info}
        self.secret_token = ""
        return True


def _chat_type(chat: int) -> str:
    if chat > 0:
        return "private"
    return "supergroup" if chat <= -1_000_000_000_000 else "group"


def _audience(parameters: Parameters) -> str:
    """For whom a command menu is: everybody, unless the call says otherwise."""
    scope = rules.json_value(parameters, "scope", "BotCommandScope")
    default = scope is None or scope == {"type": "default"}
    return f"{'' if default else scope}/{parameters.get('language_code', '')}"
