"""Functions that build a sample update of each type; see `MAKERS`."""

import secrets
from collections.abc import Callable

from gateway.sandbox.simulator.actions import message_builder
from gateway.sandbox.simulator.validation.rules import Parameters

_THUMB = {"type": "emoji", "emoji": "👍"}
_CONNECTION = "sandbox-business"
_DAY = 86_400


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


def _private(who: Parameters) -> Parameters:
    shared = ("first_name", "last_name", "username")
    names = {name: who[name] for name in shared if name in who}
    return {"id": who["id"], "type": "private"} | names


def _edited_message(who: Parameters, _: Parameters, now: int) -> Parameters:
    message = {"message_id": 1, "from": who, "chat": _private(who), "date": now}
    return message | {"edit_date": now} | message_builder.text("Edited")


def _channel_post(_: Parameters, group: Parameters, now: int) -> Parameters:
    channel = group | {"title": "Channel", "type": "channel"}
    post = {"message_id": 1, "sender_chat": channel, "chat": channel, "date": now}
    return post | message_builder.text("Posted")


def _edited_channel_post(_: Parameters, group: Parameters, now: int) -> Parameters:
    return (
        _channel_post(_, group, now)
        | {"edit_date": now}
        | message_builder.text("Edited")
    )


def _business_message(who: Parameters, _: Parameters, now: int) -> Parameters:
    message = {"message_id": 1, "from": who, "chat": _private(who), "date": now}
    connection = {"business_connection_id": _CONNECTION}
    return message | connection | message_builder.text("Hello, business")


def _edited_business_message(who: Parameters, _: Parameters, now: int) -> Parameters:
    edited = {"edit_date": now} | message_builder.text("Edited")
    return _business_message(who, _, now) | edited


def _business_connection(who: Parameters, _: Parameters, now: int) -> Parameters:
    connection = {"id": _CONNECTION, "user": who, "user_chat_id": who["id"]}
    return connection | {"date": now, "rights": {"can_reply": True}, "is_enabled": True}


def _deleted_messages(who: Parameters, _: Parameters, __: int) -> Parameters:
    deleted = {"chat": _private(who), "message_ids": [1]}
    return {"business_connection_id": _CONNECTION} | deleted


def _purchase(who: Parameters, _: Parameters, __: int) -> Parameters:
    return {"from": who, "paid_media_payload": "sandbox"}


def _reaction_count(_: Parameters, group: Parameters, now: int) -> Parameters:
    counts = [{"type": _THUMB, "total_count": 1}]
    return {"chat": group, "message_id": 1, "date": now, "reactions": counts}


def _poll(_: Parameters, __: Parameters, ___: int) -> Parameters:
    options = [{"persistent_id": "0", "text": "Yes", "voter_count": 1}]
    poll = {"id": "1", "question": "Marmots?", "options": options, "type": "regular"}
    return poll | {
        "total_voter_count": 1,
        "is_closed": False,
        "is_anonymous": True,
        "allows_multiple_answers": False,
        "allows_revoting": True,
        "members_only": False,
    }


def _boost(who: Parameters, group: Parameters, now: int) -> Parameters:
    source = {"source": "premium", "user": who}
    times = {"add_date": now, "expiration_date": now + _DAY}
    return {"chat": group, "boost": {"boost_id": "1", "source": source} | times}


def _removed_boost(who: Parameters, group: Parameters, now: int) -> Parameters:
    source = {"source": "premium", "user": who}
    return {"chat": group, "boost_id": "1", "remove_date": now, "source": source}


def _managed_bot(who: Parameters, _: Parameters, __: int) -> Parameters:
    return {"user": who, "bot": {"id": 2, "is_bot": True, "first_name": "Other"}}


def _subscription(who: Parameters, _: Parameters, __: int) -> Parameters:
    return {"user": who, "invoice_payload": "sandbox", "state": "canceled"}


def _guest_message(who: Parameters, group: Parameters, now: int) -> Parameters:
    query_id = str(secrets.randbelow(10**17))
    message = {"message_id": 1, "from": who, "chat": group, "date": now}
    return message | {"guest_query_id": query_id} | message_builder.text("Hello, guest")


def _stopped_message(who: Parameters, _: Parameters, __: int) -> Parameters:
    return {"chat": _private(who), "draft_id": 1}


MAKERS: dict[str, Callable[[Parameters, Parameters, int], Parameters]] = {
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
    "channel_post": _channel_post,
    "edited_channel_post": _edited_channel_post,
    "business_message": _business_message,
    "edited_business_message": _edited_business_message,
    "business_connection": _business_connection,
    "deleted_business_messages": _deleted_messages,
    "purchased_paid_media": _purchase,
    "message_reaction_count": _reaction_count,
    "poll": _poll,
    "chat_boost": _boost,
    "removed_chat_boost": _removed_boost,
    "managed_bot": _managed_bot,
    "subscription": _subscription,
    "stopped_message_generation": _stopped_message,
}
"""Make updates, from who acts, a group and the time."""
