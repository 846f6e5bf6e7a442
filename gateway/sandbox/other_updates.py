"""Updates that are neither messages to the bot nor pressed buttons, made by hand."""

import secrets
import time
from collections.abc import Callable

from gateway.sandbox import update_kinds, writing
from gateway.sandbox.deliveries import Deliveries
from gateway.sandbox.people import People, User, sender
from gateway.sandbox.queries import Queries
from gateway.sandbox.rules import Parameters, number
from gateway.sandbox.writing import BadInput

GROUP = -1_000_000_000_042
"""Where things happen that do not happen in a private chat."""

_BY_OTHER_DOORS = frozenset({"message", "callback_query"})
_THUMB = {"type": "emoji", "emoji": "👍"}


class OtherUpdates:
    """Makes updates of any kind, also of kinds that nobody knows yet."""

    def __init__(
        self, people: People, deliveries: Deliveries, queries: Queries
    ) -> None:
        self._people = people
        self._deliveries = deliveries
        self._queries = queries

    async def make(
        self, user: int, kind: str, content: Parameters | None = None
    ) -> Parameters:
        """Make an update.

        Args:
            user: who causes it.
            kind: Telegram's name of the kind, known or not.
            content: fields that differ from an ordinary update of that kind, or that
                are added to it.

        Returns:
            `update_id`: None where the bot does not want such updates; and `content`.

        Raises:
            BadInput: there is no such user, messages and presses have another door, or
                who and where are not what Telegram has there.
        """
        person = self._people.find(user)
        if person is None:
            raise BadInput(f"there is no user {user}")
        if kind in _BY_OTHER_DOORS:
            raise BadInput(f"{kind}: let the user say or press something")
        if not 1 <= len(kind) <= 64 or kind == "update_id":
            raise BadInput("kind: 1 to 64 characters, and not update_id")
        made = self._ordinary(kind, person) | (content or {})
        _check(kind, made)
        self._note_question(kind, made)
        return {"update_id": self._deliveries.add(kind, made), "content": made}

    def _ordinary(self, kind: str, person: User) -> Parameters:
        make = _MAKERS.get(kind)
        who, now = sender(person), int(time.time())
        if make is not None:
            return make(who, self._people.chat(GROUP), now)
        return {"from": who, "chat": self._people.chat(person.id), "date": now}

    def _note_question(self, kind: str, content: Parameters) -> None:
        field = _QUESTIONS.get(kind)
        if field and content.get(field):
            self._queries.ask(str(content[field]))
        if kind == "chat_join_request":
            chat = number(content.get("chat", {}).get("id"))
            self._queries.ask_to_join(chat, number(content.get("from", {}).get("id")))


def _check(kind: str, content: Parameters) -> None:
    """Refuse who and where of a strange shape: updates are sorted by them."""
    try:
        update_kinds.queue_key(kind, content)
        update_kinds.user_id(content)
        update_kinds.chat_id(content)
        update_kinds.title(kind, content)
    except (AttributeError, KeyError, TypeError, ValueError):
        raise BadInput("content: not what Telegram sends for this kind") from None


_QUESTIONS = {
    "inline_query": "id",
    "shipping_query": "id",
    "pre_checkout_query": "id",
    "guest_message": "guest_query_id",
    "chat_join_request": "query_id",
}
"""Under which name each kind has the id of what is to be answered."""


def _query(who: Parameters) -> Parameters:
    return {"id": str(secrets.randbelow(10**17)), "from": who}


def _inline_query(who: Parameters, _: Parameters, __: int) -> Parameters:
    return _query(who) | {"query": "", "offset": "", "chat_type": "sender"}


def _chosen_inline_result(who: Parameters, _: Parameters, __: int) -> Parameters:
    return {"result_id": "1", "from": who, "query": ""}


def _pre_checkout_query(who: Parameters, _: Parameters, __: int) -> Parameters:
    return _query(who) | {
        "currency": "XTR",
        "total_amount": 1,
        "invoice_payload": "sandbox",
    }


def _shipping_query(who: Parameters, _: Parameters, __: int) -> Parameters:
    address = {
        "country_code": "AT",
        "state": "",
        "city": "Vienna",
        "street_line1": "Ring 1",
        "street_line2": "",
        "post_code": "1010",
    }
    return _query(who) | {"invoice_payload": "sandbox", "shipping_address": address}


def _join_request(who: Parameters, group: Parameters, now: int) -> Parameters:
    return {"chat": group, "from": who, "user_chat_id": who["id"], "date": now}


def _poll_answer(who: Parameters, _: Parameters, __: int) -> Parameters:
    persistent = {"option_persistent_ids": ["0"]}
    return {"poll_id": "1", "user": who, "option_ids": [0]} | persistent


def _reaction(who: Parameters, group: Parameters, now: int) -> Parameters:
    change = {"old_reaction": [], "new_reaction": [_THUMB]}
    return {"chat": group, "message_id": 1, "user": who, "date": now} | change


def _membership(who: Parameters, group: Parameters, now: int) -> Parameters:
    return {
        "chat": group,
        "from": who,
        "date": now,
        "old_chat_member": {"user": who, "status": "left"},
        "new_chat_member": {"user": who, "status": "member"},
    }


def _edited_message(who: Parameters, _: Parameters, now: int) -> Parameters:
    chat = {"id": who["id"], "type": "private", "first_name": who["first_name"]}
    edited = {"message_id": 1, "from": who, "chat": chat, "date": now, "edit_date": now}
    return edited | writing.text("Edited")


def _guest_message(who: Parameters, group: Parameters, now: int) -> Parameters:
    query_id = str(secrets.randbelow(10**17))
    message = {"message_id": 1, "from": who, "chat": group, "date": now}
    return message | {"guest_query_id": query_id} | writing.text("Hello, guest")


_MAKERS: dict[str, Callable[[Parameters, Parameters, int], Parameters]] = {
    "inline_query": _inline_query,
    "chosen_inline_result": _chosen_inline_result,
    "pre_checkout_query": _pre_checkout_query,
    "shipping_query": _shipping_query,
    "chat_join_request": _join_request,
    "poll_answer": _poll_answer,
    "message_reaction": _reaction,
    "my_chat_member": _membership,
    "chat_member": _membership,
    "edited_message": _edited_message,
    "guest_message": _guest_message,
}
"""Ordinary updates of the kinds that look unlike others."""
