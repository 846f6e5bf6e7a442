"""Creates updates that are neither messages to the bot nor pressed buttons."""

import time

from gateway.sandbox.simulator.actions.message_builder import InvalidInput
from gateway.sandbox.simulator.actions.sample_updates import MAKERS
from gateway.sandbox.simulator.delivery import update_types
from gateway.sandbox.simulator.delivery.deliveries import UpdateDelivery
from gateway.sandbox.simulator.state.queries import OpenQueries
from gateway.sandbox.simulator.state.users import User, Users, sender
from gateway.sandbox.simulator.validation.rules import Parameters, number

GROUP_CHAT_ID = -1_000_000_000_042
"""The group of updates that do not belong to a private chat."""

_WITH_OWN_ENDPOINTS = frozenset({"message", "callback_query"})


class ManualUpdates:
    """Creates updates of any other type for one bot, including unknown types."""

    def __init__(
        self, users: Users, deliveries: UpdateDelivery, queries: OpenQueries
    ) -> None:
        self._users = users
        self._deliveries = deliveries
        self._queries = queries

    async def make(
        self, user: int, kind: str, content: Parameters | None = None
    ) -> Parameters:
        """Create an update, and queue it for the bot.

        A query that the bot has to answer is remembered as open.

        Args:
            user: the id of the user who causes the update.
            kind: Telegram's name of the update type, known or not.
            content: fields that replace or extend those of the sample update; None for
                the sample as it is.

        Returns:
            `update_id`, which is None if the bot does not allow this type, and
            `content`.

        Raises:
            InvalidInput: there is no such user, the type is message or callback_query,
                which `UserActions` creates, or the user or the chat is malformed.
        """
        person = self._users.find(user)
        if person is None:
            raise InvalidInput(f"there is no user {user}")
        if kind in _WITH_OWN_ENDPOINTS:
            raise InvalidInput(f"{kind}: let the user say or press something")
        if not 1 <= len(kind) <= 64 or kind == "update_id":
            raise InvalidInput("kind: 1 to 64 characters, and not update_id")
        made = self._ordinary(kind, person) | (content or {})
        _check(kind, made)
        self._note_question(kind, made)
        return {"update_id": self._deliveries.add(kind, made), "content": made}

    def _ordinary(self, kind: str, person: User) -> Parameters:
        who, now = sender(person), int(time.time())
        make = MAKERS.get(kind)
        if make is not None:
            return make(who, self._users.chat(GROUP_CHAT_ID), now)
        return {"from": who, "chat": self._users.chat(person.id), "date": now}

    def _note_question(self, kind: str, content: Parameters) -> None:
        field = _QUERY_TYPES.get(kind)
        if field and content.get(field):
            self._queries.add(str(content[field]))
        if kind == "chat_join_request":
            chat = number(content.get("chat", {}).get("id"))
            self._queries.add_join_request(
                chat, number(content.get("from", {}).get("id"))
            )


def _check(kind: str, content: Parameters) -> None:
    """Reject malformed users and chats: the queue keys depend on them."""
    try:
        update_types.queue_key(kind, content)
        update_types.user_id(content)
        update_types.chat_id(content)
        update_types.title(kind, content)
    except (AttributeError, KeyError, TypeError, ValueError):
        raise InvalidInput("content: not what Telegram sends for this kind") from None


_QUERY_TYPES = {
    "inline_query": "id",
    "shipping_query": "id",
    "pre_checkout_query": "id",
    "guest_message": "guest_query_id",
    "chat_join_request": "query_id",
}
"""The field with the id of the query, by update type."""
