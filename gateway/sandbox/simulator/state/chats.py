"""What the chats show: the messages of the bot and of users, under one counter."""

import time
from collections import OrderedDict
from collections.abc import Container, Iterable
from itertools import count

from gateway.sandbox.simulator.state.event_stream import EventStream
from gateway.sandbox.simulator.state.users import Users
from gateway.sandbox.simulator.validation.rules import Parameters

MAX_MESSAGES = 10_000
"""Messages of all chats together; the oldest go first."""


_ANSWERED = "reply_to_message"


class Chats:
    """The messages, as Telegram's Message objects.

    Attributes:
        groups: those in which a user wrote.
        asked: what the bot asks of a chat at last, by its id: a keyboard in the place
            of the letters, or an answer to a message.
    """

    def __init__(self, people: Users, events: EventStream) -> None:
        self.groups: set[int] = set()
        self.asked: dict[str, Parameters] = {}
        self._people = people
        self._events = events
        self._ids = count(1)
        self._messages: OrderedDict[tuple[int, int], Parameters] = OrderedDict()

    def show(self, sender: Parameters, chat_id: int, content: Parameters) -> Parameters:
        """Add a message to a chat.

        Args:
            sender: Telegram's User object of who wrote it.
            chat_id: where.
            content: all fields but those that every message has.
        """
        message_id = next(self._ids)
        message = {
            "message_id": message_id,
            "from": sender,
            "chat": self._people.chat(chat_id),
            "date": int(time.time()),
            **content,
        }
        self._messages[chat_id, message_id] = message
        if not sender["is_bot"]:
            self._remove_answered_markup(chat_id)
            if chat_id < 0:
                self.groups.add(chat_id)
        if len(self._messages) > MAX_MESSAGES:
            self._messages.popitem(last=False)
        self._events.publish("message", chat_id=chat_id, message=message)
        return message

    def show_reply_markup(
        self, chat_id: int, message: Parameters, markup: Parameters
    ) -> None:
        """Show a keyboard in the place of the letters, remove it, or force a reply."""
        self.asked.pop(str(chat_id), None)
        if not markup.get("remove_keyboard"):
            self.asked[str(chat_id)] = {
                "message_id": message["message_id"],
                "markup": markup,
            }
            if len(self.asked) > MAX_MESSAGES:
                del self.asked[next(iter(self.asked))]
        asked = self.asked.get(str(chat_id))
        self._events.publish("asked", chat_id=chat_id, asked=asked)

    def _remove_answered_markup(self, chat_id: int) -> None:
        """Take away what the bot asked, if a message of the user settles it."""
        asked = self.asked.get(str(chat_id))
        kinds = ("force_reply", "one_time_keyboard")
        if asked and any(asked["markup"].get(kind) for kind in kinds):
            del self.asked[str(chat_id)]
            self._events.publish("asked", chat_id=chat_id, asked=None)

    def quote(self, chat_id: int, message_id: int) -> Parameters:
        """Give the field of a message that answers this one. Empty: it is gone."""
        message = self.find(chat_id, message_id)
        if message is None:
            return {}
        # Telegram shows one level: what was answered says not what it answered.
        fields = {name: message[name] for name in message if name != _ANSWERED}
        return {_ANSWERED: fields}

    def find(self, chat_id: int, message_id: int) -> Parameters | None:
        """Give a message. None: the chat has none with this number."""
        return self._messages.get((chat_id, message_id))

    def replace(self, chat_id: int, message_id: int, message: Parameters) -> Parameters:
        """Show another message in the place of one."""
        edited = message | {"edit_date": int(time.time())}
        self._messages[chat_id, message_id] = edited
        self._events.publish("edited", chat_id=chat_id, message=edited)
        return edited

    def delete(self, chat_id: int, message_id: int) -> None:
        """Show a message no more."""
        del self._messages[chat_id, message_id]
        self._events.publish("deleted", chat_id=chat_id, message_id=message_id)

    def delete_business(self, connection: str, message_ids: Container[int]) -> None:
        """Show messages no more that lie in the chats of a business account."""
        found = [
            key
            for key, message in self._messages.items()
            if key[1] in message_ids
            and message.get("business_connection_id") == connection
        ]
        for key in found:
            self.delete(*key)

    def messages(self, chat_id: int) -> list[Parameters]:
        """List what a chat shows, oldest first."""
        return [shown for key, shown in self._messages.items() if key[0] == chat_id]

    def all_messages(self) -> Iterable[Parameters]:
        """List the messages of all chats, oldest first."""
        return self._messages.values()

    def newest(self, limit: int) -> dict[str, list[Parameters]]:
        """List the newest messages of each chat, oldest first, by the chat's id."""
        chats: dict[str, list[Parameters]] = {}
        for (chat_id, _), message in self._messages.items():
            chats.setdefault(str(chat_id), []).append(message)
        return {chat_id: shown[-limit:] for chat_id, shown in chats.items()}
