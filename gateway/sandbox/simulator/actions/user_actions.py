"""Performs actions of users: send messages, press buttons, block the bot.

It also switches faults of the Bot API on and off. The page, scenarios and tests use the
same methods; `ui/endpoints.py` offers them over HTTP.
"""

import asyncio
import secrets
import time

from gateway.sandbox.simulator.actions import message_builder
from gateway.sandbox.simulator.actions.message_builder import InvalidInput
from gateway.sandbox.simulator.delivery.deliveries import UpdateDelivery
from gateway.sandbox.simulator.faults.persistent import FaultSettings, PersistentFaults
from gateway.sandbox.simulator.state import attachments
from gateway.sandbox.simulator.state.callback_queries import (
    CallbackQueries,
    CallbackQuery,
)
from gateway.sandbox.simulator.state.chats import Chats
from gateway.sandbox.simulator.state.event_stream import EventStream
from gateway.sandbox.simulator.state.users import User, Users, sender
from gateway.sandbox.simulator.validation.keyboard_rules import CALLBACK_DATA_BYTES
from gateway.sandbox.simulator.validation.rules import Parameters

BURST_LIMIT = 10_000
_BATCH = 50
"""Number of messages of a burst after which other tasks may run."""


class UserActions:
    """Performs actions of users in the chats with one bot, and creates the updates.

    In a result, `update_id` is None if the bot does not allow updates of that type.
    """

    def __init__(
        self,
        bot: Parameters,
        *,
        users: Users,
        chats: Chats,
        callback_queries: CallbackQueries,
        deliveries: UpdateDelivery,
        faults: PersistentFaults,
        events: EventStream,
    ) -> None:
        self._bot = bot
        self._users = users
        self._chats = chats
        self._callback_queries = callback_queries
        self._deliveries = deliveries
        self._faults = faults
        self._events = events

    async def say(
        self, user: int, text: str, chat: int | None = None, reply_to: int = 0
    ) -> Parameters:
        """Send a text message as a user.

        Args:
            user: the user's id.
            text: the text; entities such as commands are marked.
            chat: the id of a group; None for the private chat.
            reply_to: the id of the message to reply to, or 0; a deleted one is ignored.

        Returns:
            `update_id` and `message_id`.

        Raises:
            InvalidInput: there is no such user, the user has blocked the bot, or the
                text is empty or too long.
        """
        quoted = self._chats.quote(user if chat is None else chat, reply_to)
        return self._message(
            self._user(user), chat, message_builder.text(text) | quoted
        )

    async def press(
        self, user: int, chat: int, message_id: int, data: str
    ) -> Parameters:
        """Press a button as a user.

        The message need not have a button with this data, because apps can send any
        data.

        Args:
            user: the user's id.
            chat: the id of the message's chat.
            message_id: the id of a message of the bot.
            data: the callback data of the button.

        Returns:
            `update_id` and `callback_query_id`.

        Raises:
            InvalidInput: there is no such user or message, or the data is empty or too
                long.
        """
        person = self._user(user)
        message = self._chats.find(self._chat(person, chat), message_id)
        if not message or not message["from"]["is_bot"]:
            raise InvalidInput(f"the bot has no message {message_id} in chat {chat}")
        if not 1 <= len(data.encode()) <= CALLBACK_DATA_BYTES:
            raise InvalidInput(f"data: 1 to {CALLBACK_DATA_BYTES} bytes")
        query_id = self._callback_queries.add(CallbackQuery(user, chat, message_id))
        query = {
            "id": query_id,
            "from": sender(person),
            "message": message,
            "chat_instance": str(-(5 * 10**18) - chat),
            "data": data,
        }
        update_id = self._deliveries.add("callback_query", query)
        return {"update_id": update_id, "callback_query_id": query_id}

    async def attach(
        self, user: int, kind: str, caption: str = "", chat: int | None = None
    ) -> Parameters:
        """Send an attachment as a user.

        Args:
            user: the user's id.
            kind: the kind of attachment, such as photo; see `attachments.KINDS`.
            caption: the caption, or an empty string for none.
            chat: the id of a group; None for the private chat.

        Returns:
            `update_id` and `message_id`.

        Raises:
            InvalidInput: there is no such user or kind, the kind cannot have a caption,
                or the user has blocked the bot.
        """
        person = self._user(user)
        if kind not in attachments.KINDS:
            raise InvalidInput(f"kind: one of {', '.join(sorted(attachments.KINDS))}")
        if caption and kind not in attachments.CAPTIONED:
            raise InvalidInput(f"a {kind} has no caption")
        content = attachments.attachment(kind, person) | message_builder.caption(
            caption
        )
        return self._message(person, chat, content)

    async def album(self, user: int, count: int = 3) -> Parameters:
        """Send an album of photos as a user: one message for each photo.

        Returns:
            `update_ids` and `message_ids`, one for each photo.

        Raises:
            InvalidInput: there is no such user, the user has blocked the bot, or the
                count is not 2 to 10.
        """
        person = self._user(user)
        if not 2 <= count <= 10:
            raise InvalidInput("count: an album has 2 to 10 photos")
        group = {"media_group_id": str(secrets.randbelow(10**17))}
        sent = [
            self._message(person, None, attachments.attachment("photo", person) | group)
            for _ in range(count)
        ]
        return _many(sent)

    async def burst(self, user: int, count: int = 20, text: str = "") -> Parameters:
        """Send many messages of a user to the private chat at once.

        Args:
            user: the user's id.
            count: the number of messages, 1 to `BURST_LIMIT`.
            text: the text of each message, or an empty string for numbered texts.

        Returns:
            `update_ids` and `message_ids`, one for each message.

        Raises:
            InvalidInput: there is no such user, the user has blocked the bot, or the
                count or the text is out of its limits.
        """
        person = self._user(user)
        if not 1 <= count <= BURST_LIMIT:
            raise InvalidInput(f"count: 1 to {BURST_LIMIT}")
        sent = []
        for number in range(1, count + 1):
            content = message_builder.text(text or f"Message {number}")
            sent.append(self._message(person, None, content))
            if number % _BATCH == 0:
                await asyncio.sleep(0)
        return _many(sent)

    async def block(self, user: int, *, blocked: bool) -> Parameters:
        """Block or unblock the bot as a user.

        Args:
            user: the user's id.
            blocked: True to block the bot, False to unblock it.

        Returns:
            `update_id`, which is also None if nothing changed.

        Raises:
            InvalidInput: there is no such user.
        """
        person = self._user(user)
        if (user in self._users.blocked) == blocked:
            return {"update_id": None}
        self._users.block(person, blocked=blocked)
        banned = {"user": self._bot, "status": "kicked", "until_date": 0}
        member = {"user": self._bot, "status": "member"}
        change = {
            "chat": self._users.chat(user),
            "from": sender(person),
            "date": int(time.time()),
            "old_chat_member": member if blocked else banned,
            "new_chat_member": banned if blocked else member,
        }
        return {"update_id": self._deliveries.add("my_chat_member", change)}

    async def add_user(
        self, first_name: str, language_code: str = "en", user_id: int | None = None
    ) -> Parameters:
        """Add a user, or replace the user with this id.

        Args:
            first_name: the user's first name.
            language_code: the language of the user's app.
            user_id: the id; None for the next free one.

        Returns:
            The fields of the user, and `blocked`.

        Raises:
            InvalidInput: the name or the language is invalid, or there are too many
                users.
        """
        name = message_builder.name(first_name)
        language = message_builder.language(language_code)
        try:
            user = self._users.add(name, language, user_id)
        except OverflowError:
            raise InvalidInput("there are enough users") from None
        return self._users.view(user)

    async def fault(
        self, name: str, settings: FaultSettings | None
    ) -> list[Parameters]:
        """Switch a fault of the Bot API on or off, for all bots.

        Args:
            name: the name of the fault; see `PersistentFaults.NAMES`.
            settings: how the fault affects calls; None to switch it off.

        Returns:
            The state of all faults.

        Raises:
            InvalidInput: there is no such fault, or a setting is out of its range.
        """
        if name not in self._faults.NAMES:
            raise InvalidInput(f"name: one of {', '.join(self._faults.NAMES)}")
        try:
            self._faults.switch(name, settings)
        except ValueError as error:
            raise InvalidInput(str(error)) from None
        self._events.publish("faults", faults=self._faults.views())
        return self._faults.views()

    def _message(self, user: User, chat: int | None, content: Parameters) -> Parameters:
        chat_id = self._chat(user, user.id if chat is None else chat)
        if chat_id in self._users.blocked:
            raise InvalidInput(f"{user.first_name} blocked the bot; unblock it first")
        message = self._chats.show(sender(user), chat_id, content)
        update_id = self._deliveries.add("message", message)
        return {"update_id": update_id, "message_id": message["message_id"]}

    def _user(self, user_id: int) -> User:
        user = self._users.find(user_id)
        if not user:
            raise InvalidInput(f"there is no user {user_id}")
        return user

    @staticmethod
    def _chat(user: User, chat_id: int) -> int:
        if chat_id != user.id and not -(2**52) < chat_id < 0:
            raise InvalidInput("chat: the user's own id, or the negative id of a group")
        return chat_id


def _many(sent: list[Parameters]) -> Parameters:
    return {
        "update_ids": [each["update_id"] for each in sent],
        "message_ids": [each["message_id"] for each in sent],
    }
