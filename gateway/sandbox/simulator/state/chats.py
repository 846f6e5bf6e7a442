"""The messages of all chats of a bot, numbered by one counter."""

import time
from collections import OrderedDict
from collections.abc import Container, Iterable

from gateway.sandbox.simulator.state.event_stream import EventStream
from gateway.sandbox.simulator.state.users import Users
from gateway.sandbox.simulator.validation.rules import Parameters

MAX_MESSAGES = 10_000
"""Maximum number of messages in all chats; the oldest are dropped first."""


_ANSWERED = "reply_to_message"


class Chats:
    """The messages in all chats of a bot, as Telegram's Message objects.

    The newest 10,000 are kept. Each change is published as an event.

    Attributes:
        groups: the ids of groups in which a user wrote.
        last_message_id: the id of the newest message, or 0 if there was none.
        asked: the latest reply keyboard or forced reply of each chat, by chat id.
    """

    def __init__(self, users: Users, events: EventStream) -> None:
        self.groups: set[int] = set()
        self.asked: dict[str, Parameters] = {}
        self._users = users
        self._events = events
        self.last_message_id = 0
        self._messages: OrderedDict[tuple[int, int], Parameters] = OrderedDict()

    def restore(
        self,
        messages: Iterable[Parameters],
        last_message_id: int,
        asked: dict[str, Parameters],
        groups: Iterable[int],
    ) -> None:
        """Add the messages of an earlier run, before there are any others.

        Args:
            messages: the messages, oldest first.
            last_message_id: the id of the newest one, which may be deleted.
            asked: see `Chats`.
            groups: see `Chats`.
        """
        for message in messages:
            self._messages[message["chat"]["id"], message["message_id"]] = message
        self.last_message_id = last_message_id
        self.asked.update(asked)
        self.groups.update(groups)

    def show(self, sender: Parameters, chat_id: int, content: Parameters) -> Parameters:
        """Add a message to a chat, publish it, and return it.

        A message of a user removes a forced reply or one-time keyboard from the chat.

        Args:
            sender: Telegram's User object of the author.
            chat_id: the chat.
            content: the fields that are not common to all messages.
        """
        self.last_message_id += 1
        message_id = self.last_message_id
        message = {
            "message_id": message_id,
            "from": sender,
            "chat": self._users.chat(chat_id),
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
        """Show or remove a chat's reply keyboard, or force a reply; publish the change.

        Args:
            chat_id: the chat.
            message: the message that has the markup.
            markup: the reply keyboard, its removal, or the forced reply.
        """
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
        """Remove a forced reply or one-time keyboard after a message of the user."""
        asked = self.asked.get(str(chat_id))
        kinds = ("force_reply", "one_time_keyboard")
        if asked and any(asked["markup"].get(kind) for kind in kinds):
            del self.asked[str(chat_id)]
            self._events.publish("asked", chat_id=chat_id, asked=None)

    def quote(self, chat_id: int, message_id: int) -> Parameters:
        """Return the field `reply_to_message` for a reply to a message.

        Returns {} if there is no such message any more.
        """
        message = self.find(chat_id, message_id)
        if message is None:
            return {}
        # Telegram nests only one level of replies.
        fields = {name: message[name] for name in message if name != _ANSWERED}
        return {_ANSWERED: fields}

    def find(self, chat_id: int, message_id: int) -> Parameters | None:
        """Return a message; None if the chat has none with this id."""
        return self._messages.get((chat_id, message_id))

    def replace(self, chat_id: int, message_id: int, message: Parameters) -> Parameters:
        """Replace a message with its edited version; publish and return the latter."""
        edited = message | {"edit_date": int(time.time())}
        self._messages[chat_id, message_id] = edited
        self._events.publish("edited", chat_id=chat_id, message=edited)
        return edited

    def delete(self, chat_id: int, message_id: int) -> None:
        """Delete a message and publish that.

        Raises:
            KeyError: there is no such message.
        """
        del self._messages[chat_id, message_id]
        self._events.publish("deleted", chat_id=chat_id, message_id=message_id)

    def delete_business(self, connection: str, message_ids: Container[int]) -> None:
        """Delete messages in the chats of a business account, as far as they exist.

        Args:
            connection: the id of the business connection.
            message_ids: the ids of the messages.
        """
        found = [
            key
            for key, message in self._messages.items()
            if key[1] in message_ids
            and message.get("business_connection_id") == connection
        ]
        for key in found:
            self.delete(*key)

    def messages(self, chat_id: int) -> list[Parameters]:
        """Return the messages of a chat, oldest first; none of an unknown chat."""
        return [shown for key, shown in self._messages.items() if key[0] == chat_id]

    def all_messages(self) -> Iterable[Parameters]:
        """Return the messages of all chats, oldest first."""
        return self._messages.values()

    def newest(self, limit: int) -> dict[str, list[Parameters]]:
        """Return the newest `limit` messages of each chat, oldest first, by chat id."""
        chats: dict[str, list[Parameters]] = {}
        for (chat_id, _), message in self._messages.items():
            chats.setdefault(str(chat_id), []).append(message)
        return {chat_id: shown[-limit:] for chat_id, shown in chats.items()}
