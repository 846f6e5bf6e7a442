"""The dead letters in Redis: listed, and put back."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from msgspec import Struct, structs

from gateway.domain.delivery import (
    Delivery,
    DeliveryResult,
    DeliveryState,
    ReportPolicy,
    SentPart,
)
from gateway.domain.delivery_store import DeliveryPutResult
from gateway.domain.errors import StoreUnavailable
from gateway.domain.mailbox_lease import MailboxLease
from gateway.domain.update import DeadLetter, Envelope
from gateway.mailboxes.redis.client.connection_factory import make_connection_factory
from gateway.mailboxes.redis.dead_letters import (
    PAGE_SIZE,
    DeadLetterId,
    RedisDeadLetters,
    open_dead_letters,
)
from tests.factories import build_delivery, build_envelope
from tests.integration.mailboxes.redis_store import RedisStore, opened, opened_cluster
from tests.support.fakes import FakeClock
from tests.support.redis_servers import RedisServer
from tests.support.stores import KEYS, PREFIX, SIGNATURES
from tests.support.tasks import in_own_task
from tests.support.tcp_ports import free_ports


class Opened(Struct):
    """Empty mailboxes, and the dead letters of the same Redis."""

    store: RedisStore
    letters: RedisDeadLetters


@pytest.fixture(params=["redis", "cluster"])
async def both(request: pytest.FixtureRequest) -> AsyncIterator[Opened]:
    """Open them in a server, and in a Cluster."""
    async with AsyncExitStack() as stack:
        if request.param == "redis":
            url = request.getfixturevalue("redis_server").url
            store = await stack.enter_async_context(
                opened(make_connection_factory(url))
            )
        else:
            nodes = request.getfixturevalue("redis_cluster")
            url = nodes.url
            store = await stack.enter_async_context(opened_cluster(nodes))
        opening = open_dead_letters(url, PREFIX, FakeClock(), SIGNATURES)
        yield Opened(store, await stack.enter_async_context(in_own_task(opening)))


def letter(
    update_id: int,
    ordering_key: str = "7",
    reason: str = "crashed",
    body: bytes = b"{}",
) -> DeadLetter:
    """Build a dead letter."""
    return DeadLetter(
        update_id=update_id,
        ordering_key=ordering_key,
        reason=reason,
        dead_lettered_at=1_790_000_000.0 + update_id,
        body=body,
    )


async def add_dead_letters(both: Opened, *dead_letters: DeadLetter) -> None:
    """Add them one after the other, each a millisecond after the one before."""
    for each in dead_letters:
        await both.store.mailboxes.add_dead_letter(each)
        await asyncio.sleep(0.002)  # the order of one shard to another is that of time


async def test_letters_of_all_shards_are_listed_oldest_first(both: Opened) -> None:
    """With all that is known of them, but without their bodies."""
    letters = (letter(n, ordering_key=str(n % 50)) for n in range(1, 101))
    await add_dead_letters(both, *letters)
    found = await both.letters.list_summaries()
    assert [summary.update_id for summary in found] == list(range(1, 101))
    assert len({summary.dead_letter_id.shard for summary in found}) > 20
    first = found[0]
    assert (first.ordering_key, first.reason, first.dead_lettered_at) == (
        "1",
        "crashed",
        1_790_000_001,
    )
    assert not hasattr(first, "body")


async def test_a_long_stream_is_read_to_its_end(both: Opened) -> None:
    """Page after page, none left out and none twice, whatever is chosen of it."""
    count = 2 * PAGE_SIZE + 7
    reasons = ["malformed"] * (PAGE_SIZE + 3) + ["poison"] * (count - PAGE_SIZE - 3)
    for n, reason in enumerate(reasons, start=1):
        if n == PAGE_SIZE + 4:
            await asyncio.sleep(0.002)  # the two streams are ordered by time
        await both.store.mailboxes.add_dead_letter(letter(n, reason=reason))
    ids = [found.update_id for found in await both.letters.list_summaries()]
    assert ids == list(range(1, count + 1))
    late = await both.letters.list_summaries(reason="poison")
    assert [found.update_id for found in late] == ids[PAGE_SIZE + 3 :]
    some = await both.letters.list_summaries(reason="poison", limit=3)
    assert [found.update_id for found in some] == ids[PAGE_SIZE + 3 : PAGE_SIZE + 6]
    assert await both.letters.list_summaries(reason="crashed") == []


async def test_the_letters_of_other_bots_are_left_out(both: Opened) -> None:
    """But a body that could not be read may be of any bot."""
    keys = ("1/7", "12/7", "2/7", "1/8")
    letters = (letter(n, ordering_key=it) for n, it in enumerate(keys, start=1))
    unreadable = DeadLetter(
        update_id=None,
        ordering_key=None,
        reason="malformed",
        dead_lettered_at=1_790_000_009.0,
        body=b"{",
    )
    await add_dead_letters(both, *letters, unreadable)
    found = await both.letters.list_summaries(bot_ids=[1])
    assert {it.ordering_key for it in found} == {"1/7", "1/8", None}
    found = await both.letters.list_summaries(bot_ids=[2, 12], reason="crashed")
    assert [it.ordering_key for it in found] == ["12/7", "2/7"]


async def test_a_letter_is_found_again_by_what_is_shown_of_it(both: Opened) -> None:
    """Its place as a text leads to it, with its body."""
    await add_dead_letters(both, letter(1, body=b"one"), letter(2, body=b"two"))
    _, second = await both.letters.list_summaries()
    place = DeadLetterId.parse(str(second.dead_letter_id))
    assert place == second.dead_letter_id
    got = await both.letters.get(place)
    assert got is not None
    assert (got.update_id, got.body) == (2, b"two")
    assert await both.letters.get(place._replace(sequence=place.sequence + 1)) is None


async def test_a_replayed_update_waits_for_a_worker(both: Opened) -> None:
    """As one that arrived at the time for that, in a mailbox that is full already."""
    for n in range(2, 6):
        await both.store.mailboxes.put(build_envelope(n), acquire=False)
    await add_dead_letters(both, letter(1, body=b"body"), letter(9))
    place, other = [
        found.dead_letter_id for found in await both.letters.list_summaries()
    ]
    await both.letters.replay(place, back(1, b"body"))
    assert [found.dead_letter_id for found in await both.letters.list_summaries()] == [
        other
    ]
    assert list(await both.store.mailboxes.claimable(9)) == ["7"]
    lease = await both.store.mailboxes.acquire("7")
    assert isinstance(lease, MailboxLease)
    head = lease.next_update
    assert (head.update_id, head.arrived_at, head.body) == (1, None, b"body")


async def test_a_replay_can_be_repeated(both: Opened) -> None:
    """One that was cut short between its two steps leaves nothing twice behind."""
    await add_dead_letters(both, letter(1), letter(1))
    for found in await both.letters.list_summaries():
        await both.letters.replay(found.dead_letter_id, back(1))
        await both.letters.replay(found.dead_letter_id, back(1))
    assert await both.letters.list_summaries() == []
    assert await both.store.in_memory() == 1


async def test_what_a_commit_dead_lettered_is_there_too(both: Opened) -> None:
    """A crashed update, under the mailbox of its user."""
    lease = await both.store.mailboxes.put(build_envelope(5, "70", body=b"text"))
    assert isinstance(lease, MailboxLease)
    await both.store.mailboxes.commit(lease, 5, b"state", dead_letter_reason="crashed")
    (found,) = await both.letters.list_summaries()
    assert (found.update_id, found.ordering_key, found.reason) == (5, "70", "crashed")
    assert found.dead_letter_id.shard == KEYS.get_shard(b"70").number
    got = await both.letters.get(found.dead_letter_id)
    assert got is not None
    assert got.body == b"text"


FAILED = DeliveryResult(state=DeliveryState.FAILED, reason="crashed")
SECRET = "a text that nobody may see"
EXPIRE_RECORDS = """
for _, key in ipairs(redis.call('KEYS', '*:d:*')) do redis.call('PEXPIRE', key, -1) end
"""


async def fail_delivery(both: Opened, result: DeliveryResult = FAILED) -> Delivery:
    """Let a delivery become a dead letter."""
    delivery = build_delivery(1, request=SECRET.encode(), report=ReportPolicy.ALL)
    lease = await both.store.deliveries.put_delivery(delivery)
    assert isinstance(lease, MailboxLease)
    await both.store.deliveries.commit_delivery(
        lease, delivery.delivery_id, b"state", result, dead_letter_reason="crashed"
    )
    return delivery


async def test_a_delivery_is_listed_by_its_id_without_its_text(both: Opened) -> None:
    delivery = await fail_delivery(both)
    (summary,) = await both.letters.list_summaries()
    assert summary.delivery_id == delivery.delivery_id
    assert summary.update_id is None
    assert (summary.ordering_key, summary.reason) == ("7", "crashed")
    assert SECRET not in repr(summary)


async def test_a_replayed_delivery_is_sent_behind_all_mail(both: Opened) -> None:
    delivery = await fail_delivery(both)
    deliveries = both.store.deliveries
    await both.store.mailboxes.put(build_envelope(5), acquire=False)
    (summary,) = await both.letters.list_summaries()
    found = await both.letters.get(summary.dead_letter_id)
    assert found is not None
    assert found.delivery is not None
    assert found.delivery.request == delivery.request
    assert await both.letters.replay_delivery(summary.dead_letter_id, found.delivery)
    assert await both.letters.list_summaries() == []
    record = await deliveries.get_delivery(delivery.delivery_id)
    assert record is not None
    assert (record.state, record.is_part_begun) == (DeliveryState.ACCEPTED, False)
    assert record.sequence_number == 3
    assert await deliveries.put_delivery(delivery) is DeliveryPutResult.REPEATED
    lease = await both.store.mailboxes.acquire("7")
    assert isinstance(lease, MailboxLease)
    head = await both.store.mailboxes.commit(lease, 5, b"state")
    assert head is not None
    assert head.delivery is not None
    assert head.delivery.delivery_id == delivery.delivery_id


async def test_what_was_sent_of_a_replayed_delivery_is_not_sent_again(
    both: Opened,
) -> None:
    """Its next owner continues as after an owner that was lost."""
    sent = [SentPart(7, 70)]
    delivery = await fail_delivery(both, structs.replace(FAILED, sent_parts=sent))
    (summary,) = await both.letters.list_summaries()
    assert await both.letters.replay_delivery(summary.dead_letter_id, delivery)
    lease = await both.store.mailboxes.acquire("7")
    assert isinstance(lease, MailboxLease)
    before = await both.store.deliveries.begin_part(lease, delivery.delivery_id, 0, [])
    assert before.is_part_begun
    assert list(before.sent_parts) == sent


async def test_a_replayed_delivery_is_reported_when_it_has_ended(both: Opened) -> None:
    """No report says that it is open."""
    delivery = await fail_delivery(both)
    (summary,) = await both.letters.list_summaries()
    assert await both.letters.replay_delivery(summary.dead_letter_id, delivery)
    await both.store.mailboxes.claimable(9)
    assert list(await both.store.deliveries.take_reports(9)) == []
    await both.store.deliveries.cancel_delivery(delivery.delivery_id)
    (report,) = await both.store.deliveries.take_reports(9)
    assert report.state is DeliveryState.CANCELLED


async def test_a_call_in_doubt_stays_in_doubt(both: Opened) -> None:
    """Nothing is known of the messages of a call that was begun."""
    delivery = await fail_delivery(both, structs.replace(FAILED, is_part_begun=True))
    (summary,) = await both.letters.list_summaries()
    assert await both.letters.replay_delivery(summary.dead_letter_id, delivery)
    lease = await both.store.mailboxes.acquire("7")
    assert isinstance(lease, MailboxLease)
    before = await both.store.deliveries.begin_part(lease, delivery.delivery_id, 0, [])
    assert (before.next_part, before.is_part_begun) == (0, True)


@pytest.mark.parametrize("repeats", [True, False])
async def test_without_its_record_all_of_a_delivery_is_in_doubt(
    both: Opened, repeats: bool
) -> None:
    """Records expire before dead letters do."""
    delivery = structs.replace(await fail_delivery(both), repeat_if_doubtful=repeats)
    await both.store.ask_nodes("EVAL", EXPIRE_RECORDS, 0)
    (summary,) = await both.letters.list_summaries()
    assert await both.letters.replay_delivery(summary.dead_letter_id, delivery)
    lease = await both.store.mailboxes.acquire("7")
    assert isinstance(lease, MailboxLease)
    before = await both.store.deliveries.begin_part(lease, delivery.delivery_id, 0, [])
    assert before.is_part_begun
    assert (before.next_part == 0) is repeats


async def test_a_delivery_is_not_replayed_twice(both: Opened) -> None:
    """A letter may stay behind if a replay is interrupted."""
    delivery = await fail_delivery(both)
    (summary,) = await both.letters.list_summaries()
    assert await both.letters.replay_delivery(summary.dead_letter_id, delivery)
    assert not await both.letters.replay_delivery(summary.dead_letter_id, delivery)
    assert await both.store.in_memory() == 1


async def test_a_full_redis_keeps_the_letter(tmp_path: Path) -> None:
    """What cannot be put back stays where it is."""
    server = RedisServer(tmp_path)
    server.start()
    try:
        async with (
            opened(make_connection_factory(server.url)) as store,
            open_dead_letters(
                server.url, PREFIX, FakeClock(), SIGNATURES
            ) as dead_letters,
        ):
            await store.mailboxes.add_dead_letter(letter(1))
            (found,) = await dead_letters.list_summaries()
            await store.ask("CONFIG", "SET", "maxmemory", "1")
            with pytest.raises(StoreUnavailable):
                await dead_letters.replay(found.dead_letter_id, back(1))
            assert await dead_letters.list_summaries() == [found]
    finally:
        server.kill()


async def test_a_redis_that_is_not_there_is_reported(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In a moment, and not after many attempts."""
    monkeypatch.setattr(
        "gateway.mailboxes.redis.dead_letters.REPLY_TIMEOUT_SECONDS", 0.2
    )
    url = f"redis://127.0.0.1:{free_ports(1)[0]}"
    async with open_dead_letters(url, PREFIX, FakeClock(), SIGNATURES) as dead_letters:
        with pytest.raises(StoreUnavailable):
            await dead_letters.list_summaries()


@pytest.mark.parametrize(
    "text",
    ["", "7", "1-2", "64-1-0", "1-1-0-0", "a-1-0", "-1-1-0", "1-+-0", "1-1-\u0663"],
)
def test_what_is_no_place_is_no_place(text: str) -> None:
    """Nothing but digits gets into a command."""
    with pytest.raises(ValueError, match="not the id"):
        DeadLetterId.parse(text)


def back(update_id: int, body: bytes = b"{}") -> Envelope:
    """Build what is put back."""
    return build_envelope(update_id, body=body, arrived_at=None)
