"""The dead letters in a file: listed, and put back."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from msgspec import Struct

from gateway.domain.delivery import DeliveryResult, DeliveryState, SentPart
from gateway.domain.delivery_store import DeliveryPutResult
from gateway.domain.mailbox_lease import MailboxLease
from gateway.domain.update import DeadLetter
from gateway.mailboxes.sqlite.dead_letter_access import (
    SqliteDeadLetters,
    open_sqlite_dead_letters,
)
from gateway.mailboxes.sqlite.store import SqliteFile
from tests.factories import build_delivery, build_envelope
from tests.integration.mailboxes.sqlite_store import SqliteTestStore, opened


class Opened(Struct):
    """A gateway's file, and its dead letters as the command line opens them."""

    store: SqliteTestStore
    letters: SqliteDeadLetters


@pytest.fixture
async def both(tmp_path: Path) -> AsyncIterator[Opened]:
    """Open an empty file."""
    async with (
        opened(tmp_path) as store,
        open_sqlite_dead_letters(SqliteFile(tmp_path), store.clock) as letters,
    ):
        yield Opened(store, letters)


async def add_letters(both: Opened, *ordering_keys: str) -> None:
    """Let an update of each of these mailboxes become a dead letter."""
    for number, ordering_key in enumerate(ordering_keys, start=1):
        body = b"body %d" % number
        envelope = build_envelope(number, ordering_key, body=body)
        lease = await both.store.mailboxes.put(envelope)
        assert isinstance(lease, MailboxLease)
        await both.store.mailboxes.commit(
            lease, number, b"state", dead_letter_reason="crashed"
        )


async def test_letters_are_listed_oldest_first_without_their_bodies(
    both: Opened,
) -> None:
    await add_letters(both, "1/7", "12/7", "2/7")
    unreadable = DeadLetter(
        update_id=None,
        ordering_key=None,
        reason="malformed",
        dead_lettered_at=5.0,
        body=b"{",
    )
    await both.store.mailboxes.add_dead_letter(unreadable)
    found = await both.letters.list_summaries()
    assert [it.update_id for it in found] == [1, 2, 3, None]
    assert (found[0].ordering_key, found[0].reason) == ("1/7", "crashed")
    assert not hasattr(found[0], "body")
    of_bot = await both.letters.list_summaries(bot_ids=[1])
    assert [it.ordering_key for it in of_bot] == ["1/7", None]
    crashed = await both.letters.list_summaries(reason="crashed", limit=2)
    assert [it.update_id for it in crashed] == [1, 2]


async def test_a_letter_is_deleted_once(both: Opened) -> None:
    await add_letters(both, "7")
    (found,) = await both.letters.list_summaries()
    assert await both.letters.delete(found.dead_letter_id)
    assert not await both.letters.delete(found.dead_letter_id)
    assert await both.letters.get(found.dead_letter_id) is None


async def test_a_replayed_update_waits_for_a_worker(both: Opened) -> None:
    """In a mailbox that is full already."""
    await add_letters(both, "7")
    for number in range(2, 9):
        await both.store.mailboxes.put(build_envelope(number), acquire=False)
    (found,) = await both.letters.list_summaries()
    letter = await both.letters.get(found.dead_letter_id)
    assert letter is not None
    back = build_envelope(1, body=letter.body, arrived_at=None)
    await both.letters.replay(found.dead_letter_id, back)
    assert await both.letters.list_summaries() == []
    lease = await both.store.mailboxes.acquire("7")
    assert lease is not None
    head = lease.next_update
    assert (head.update_id, head.arrived_at, head.body) == (1, None, b"body 1")


@pytest.mark.parametrize("sent", [(), (SentPart(7, 70),)])
async def test_a_replayed_delivery_is_sent_behind_all_mail(
    both: Opened, sent: tuple[SentPart, ...]
) -> None:
    """What was sent of it is not sent again. It cannot be replayed twice."""
    delivery = build_delivery(1)
    deliveries = both.store.deliveries
    lease = await deliveries.put_delivery(delivery)
    assert isinstance(lease, MailboxLease)
    result = DeliveryResult(
        state=DeliveryState.FAILED, reason="crashed", sent_parts=sent
    )
    await deliveries.commit_delivery(
        lease, delivery.delivery_id, b"state", result, dead_letter_reason="crashed"
    )
    await both.store.mailboxes.put(build_envelope(5), acquire=False)
    (found,) = await both.letters.list_summaries()
    assert found.delivery_id == delivery.delivery_id
    letter = await both.letters.get(found.dead_letter_id)
    assert letter is not None
    assert letter.delivery is not None
    assert letter.delivery.request == delivery.request
    assert await both.letters.replay_delivery(found.dead_letter_id, letter.delivery)
    assert not await both.letters.replay_delivery(found.dead_letter_id, delivery)
    assert await both.letters.list_summaries() == []
    assert await deliveries.list_open_ids(9) == [delivery.delivery_id]
    assert await deliveries.put_delivery(delivery) is DeliveryPutResult.REPEATED
    successor = await both.store.mailboxes.acquire("7")
    assert successor is not None
    head = await both.store.mailboxes.commit(successor, 5, b"state")
    assert head is not None
    assert head.delivery is not None
    before = await deliveries.begin_part(successor, delivery.delivery_id, 0, [])
    assert before.is_part_begun == bool(sent)
    assert tuple(before.sent_parts) == sent
