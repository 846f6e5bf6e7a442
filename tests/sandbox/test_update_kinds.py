"""The queue of each kind of update: every real shape finds its own."""

import json
from pathlib import Path

import pytest

from gateway.sandbox import update_kinds

UPDATES = sorted((Path(__file__).parent.parent / "updates").glob("*.json"))


@pytest.mark.parametrize("file", UPDATES, ids=lambda file: file.stem)
def test_every_real_update_has_a_queue_and_a_title(file: Path) -> None:
    """Whatever Telegram sends can be played."""
    update = json.loads(file.read_text())
    kind = next(name for name in update if name != "update_id")
    content = update[kind]
    if not isinstance(content, dict):
        return
    assert update_kinds.title(kind, content)
    assert update_kinds.lifetime(kind) > 0
    key = update_kinds.queue_key(kind, content)
    person = update_kinds.user_id(content)
    chat = update_kinds.chat_id(content)
    assert key
    if kind == "message":
        assert key == chat
    if kind == "callback_query":
        assert key == person + 3 * 2**33
    if kind == "my_chat_member":
        assert key == chat + 5 * 2**33


def test_a_polls_answers_share_a_queue_with_the_poll() -> None:
    """By the poll's id, which is no number."""
    poll = update_kinds.queue_key("poll", {"id": "5x"})
    answer = update_kinds.queue_key("poll_answer", {"poll_id": "5x", "user": {"id": 1}})
    assert poll == answer != update_kinds.queue_key("poll", {"id": "6x"})


def test_a_members_queue_is_that_of_who_changed() -> None:
    """Not of who changed it."""
    change = {"from": {"id": 1}, "new_chat_member": {"user": {"id": 2}}}
    assert update_kinds.queue_key("chat_member", change) == 2 + 6 * 2**33
