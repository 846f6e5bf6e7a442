"""The queue of each kind of update: every real shape finds its own."""

import json
from pathlib import Path
from typing import Any

import pytest

from gateway.sandbox.server import Simulator
from gateway.sandbox.simulator.delivery import update_types
from gateway.sandbox.simulator.validation import setup_rules
from tests.integration.sandbox.bot import TOKEN

UPDATES = sorted((Path(__file__).parents[2] / "updates").glob("*.json"))


@pytest.mark.parametrize("file", UPDATES, ids=lambda file: file.stem)
def test_every_real_update_has_a_queue_and_a_title(file: Path) -> None:
    """Whatever Telegram sends can be played."""
    update = json.loads(file.read_text())
    kind = next(name for name in update if name != "update_id")
    content = update[kind]
    if not isinstance(content, dict):
        return
    assert update_types.title(kind, content)
    assert update_types.lifetime(kind) > 0
    key = update_types.queue_key(kind, content)
    person = update_types.user_id(content)
    chat = update_types.chat_id(content)
    assert key
    if kind == "message":
        assert key == chat
    if kind == "callback_query":
        assert key == person + 3 * 2**33
    if kind == "my_chat_member":
        assert key == chat + 5 * 2**33


def test_a_polls_answers_share_a_queue_with_the_poll() -> None:
    """By the poll's id, which is no number."""
    poll = update_types.queue_key("poll", {"id": "5x"})
    answer = update_types.queue_key("poll_answer", {"poll_id": "5x", "user": {"id": 1}})
    assert poll == answer != update_types.queue_key("poll", {"id": "6x"})


def test_a_members_queue_is_that_of_who_changed() -> None:
    change = {"from": {"id": 1}, "new_chat_member": {"user": {"id": 2}}}
    assert update_types.queue_key("chat_member", change) == 2 + 6 * 2**33


CHAT = {"id", "type"}
USER = {"id", "is_bot", "first_name"}
MESSAGE = {"message_id", "date", "chat"}
REACTED = {"chat", "message_id", "date"}
CHANGED = {"chat", "from", "date", "old_chat_member", "new_chat_member"}
REQUIRED = {
    "edited_message": MESSAGE,
    "channel_post": MESSAGE,
    "edited_channel_post": MESSAGE,
    "business_connection": {
        "id",
        "user",
        "user_chat_id",
        "date",
        "is_enabled",
    },
    "business_message": MESSAGE,
    "edited_business_message": MESSAGE,
    "deleted_business_messages": {"business_connection_id", "chat", "message_ids"},
    "guest_message": MESSAGE | {"guest_query_id"},
    "message_reaction": REACTED | {"old_reaction", "new_reaction"},
    "message_reaction_count": REACTED | {"reactions"},
    "inline_query": {"id", "from", "query", "offset"},
    "chosen_inline_result": {"result_id", "from", "query"},
    "shipping_query": {"id", "from", "invoice_payload", "shipping_address"},
    "pre_checkout_query": {
        "id",
        "from",
        "currency",
        "total_amount",
        "invoice_payload",
    },
    "purchased_paid_media": {"from", "paid_media_payload"},
    "poll": {
        "id",
        "question",
        "options",
        "total_voter_count",
        "is_closed",
        "is_anonymous",
        "type",
        "allows_multiple_answers",
        "allows_revoting",
        "members_only",
    },
    "poll_answer": {"poll_id", "option_ids", "option_persistent_ids"},
    "my_chat_member": CHANGED,
    "chat_member": CHANGED,
    "chat_join_request": {"chat", "from", "user_chat_id", "date"},
    "chat_boost": {"chat", "boost"},
    "removed_chat_boost": {"chat", "boost_id", "remove_date", "source"},
    "managed_bot": {"user", "bot"},
    "subscription": {"user", "invoice_payload", "state"},
    "stopped_message_generation": {"chat", "draft_id"},
}
"""The fields without "Optional" in the Bot API's documentation of each object."""

NESTED = {
    "chat": CHAT,
    "sender_chat": CHAT,
    "from": USER,
    "user": USER,
    "bot": USER,
    "boost": {"boost_id", "add_date", "expiration_date", "source"},
    "options": {"persistent_id", "text", "voter_count"},
    "old_chat_member": {"user", "status"},
    "new_chat_member": {"user", "status"},
    "shipping_address": {
        "country_code",
        "state",
        "city",
        "street_line1",
        "street_line2",
        "post_code",
    },
}
"""The same of what lies in them, by the name of the field."""


def test_every_kind_but_those_with_another_door_is_made() -> None:
    """None is forgotten when Telegram has a new one."""
    # What no user does, and what comes from a chat or a keyboard.
    others = {"message", "callback_query"}
    assert REQUIRED.keys() == setup_rules.UPDATE_TYPES - others


@pytest.mark.parametrize("kind", sorted(REQUIRED))
async def test_a_made_update_has_all_required_fields(kind: str) -> None:
    """Libraries refuse an update without them."""
    made = await Simulator(TOKEN).manual_updates.make(1001, kind)
    content: dict[str, Any] = made["content"]
    assert REQUIRED[kind] <= content.keys()
    for name, value in content.items():
        for each in value if isinstance(value, list) else [value]:
            if name in NESTED and isinstance(each, dict):
                assert NESTED[name] <= each.keys()


async def test_a_stopped_answer_names_nobody() -> None:
    """Only the private chat and the draft."""
    made = await Simulator(TOKEN).manual_updates.make(
        1001, "stopped_message_generation"
    )
    assert made["content"].keys() == {"chat", "draft_id"}
    assert made["content"]["chat"]["id"] == 1001
