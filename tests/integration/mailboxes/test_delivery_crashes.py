"""Crash at every await: each call of the store of deliveries goes wrong once.

A caller has two deliveries sent and cancels a third one. It repeats what got no answer.
The first worker works until a fault strikes; the second one does what is left.
"""

import asyncio
from hashlib import sha1

import pytest
from msgspec import Struct, field, structs

from gateway.background import cancel_and_wait
from gateway.domain.delivery import DeliveryResult, DeliveryState, SentPart
from gateway.domain.mailbox_lease import MailboxLease
from gateway.domain.update import Envelope
from gateway.mailboxes.redis.client.connection_factory import make_connection_factory
from gateway.mailboxes.redis.lua.scripts import Script, Scripts, load_scripts
from gateway.mailboxes.redis.mailboxes import RedisMailboxStore
from tests.factories import build_delivery
from tests.integration.mailboxes.crashes import CUTS, ENDS, Fault
from tests.integration.mailboxes.moments import WatchedTransport
from tests.integration.mailboxes.redis_store import RedisStore, opened
from tests.support.redis_servers import RedisServer
from tests.support.stores import KEYS, LEASE, SIGNATURES

SCRIPTS = load_scripts()
SENT = (1, 2)
CANCELLED = 3
RESULT = DeliveryResult(state=DeliveryState.SENT, sent_parts=[SentPart(7, 70)])


def id_of(number: int) -> str:
    """Return the id of the delivery with this number."""
    return build_delivery(number).delivery_id


class History(Struct, eq=False):
    """What the user and the workers saw."""

    messages: list[str] = field(default_factory=list)
    """The ids of the deliveries, in the order in which Telegram got their messages."""
    doubts: list[str] = field(default_factory=list)
    """The ids of those of which a part was in doubt."""


class Worker:
    """A worker, without actors: it does one thing after the other."""

    def __init__(
        self,
        url: str,
        scripts: Scripts,
        store: RedisStore,
        history: History,
        fault: Fault | None,
    ) -> None:
        self.died = asyncio.Event()
        self.struck = False
        self._way = fault.way if fault else ""
        self._history = history
        self.transport = WatchedTransport(
            url, scripts, store.clock, fault.call if fault else None, self._strike
        )
        self._mailboxes = RedisMailboxStore(
            self.transport,
            KEYS,
            scripts,
            store.clock,
            SIGNATURES,
            limit=64,
            lease_seconds=LEASE,
        )
        self._deliveries = self._mailboxes.deliveries

    async def work(self) -> None:
        """Do what the caller asks for, then what is left."""
        cancelled = build_delivery(CANCELLED, "8")
        await self._deliveries.put_delivery(cancelled, acquire=False)
        record = await self._deliveries.cancel_delivery(cancelled.delivery_id)
        assert record is not None
        assert record.state is DeliveryState.CANCELLED
        answers = [
            await self._deliveries.put_delivery(build_delivery(number))
            for number in SENT
        ]
        for answer in answers:
            if isinstance(answer, MailboxLease):
                await self._serve(answer)
        for ordering_key in await self._mailboxes.claimable(9):
            lease = await self._mailboxes.acquire(ordering_key)
            if lease is not None:
                await self._serve(lease)

    async def _serve(self, lease: MailboxLease) -> None:
        mail: Envelope | None = lease.next_update
        while mail is not None:
            assert mail.delivery is not None
            delivery_id = mail.delivery.delivery_id
            before = await self._deliveries.begin_part(lease, delivery_id, 0, [])
            if before.is_part_begun:
                self._history.doubts.append(delivery_id)
                await self._deliveries.begin_part(
                    lease, delivery_id, 0, [], resolves_doubt=True
                )
            if not before.state.is_final:
                self._history.messages.append(delivery_id)
            mail = await self._deliveries.commit_delivery(
                lease, delivery_id, b"state", RESULT
            )

    async def _strike(self, moment: str) -> None:
        end = "sending" if self._way.endswith("before") else "received"
        if self.struck or moment != end:
            return
        self.struck = True
        if self._way in CUTS:
            raise ConnectionError
        self.died.set()
        await asyncio.Event().wait()  # for the end


async def live(
    server: RedisServer, fault: Fault | None = None, scripts: Scripts = SCRIPTS
) -> list[Worker]:
    """Let two workers work, and check what became of all."""
    async with opened(make_connection_factory(server.url)) as store:
        history = History()
        workers = [
            Worker(server.url, scripts, store, history, fault if number == 0 else None)
            for number in range(2)
        ]
        for worker in workers:
            await employ(worker, store)
        await check(store, history)
        return workers


async def employ(worker: Worker, store: RedisStore) -> None:
    """Let a worker work until it is through or ends."""
    others = asyncio.all_tasks()
    async with worker.transport:
        working = asyncio.ensure_future(worker.work())
        dying = asyncio.create_task(worker.died.wait())
        await asyncio.wait(
            [working, dying], timeout=LEASE / 2, return_when=asyncio.FIRST_COMPLETED
        )
        through = working.done()
    if through:
        dying.cancel()
        await working
    else:
        assert worker.died.is_set(), "it hangs"
        await cancel_and_wait(*(asyncio.all_tasks() - others))
        await store.pass_time(LEASE + 1)


async def check(store: RedisStore, history: History) -> None:
    """Compare the history with the promises."""
    assert list(dict.fromkeys(history.messages)) == list(map(id_of, SENT))
    for number in SENT:
        sent, doubts = (
            each.count(id_of(number)) for each in (history.messages, history.doubts)
        )
        assert sent <= 1 + doubts, f"{number} was sent twice without a doubt"
        record = await store.deliveries.get_delivery(id_of(number))
        assert record is not None
        assert record.state is DeliveryState.SENT
    record = await store.deliveries.get_delivery(id_of(CANCELLED))
    assert record is not None
    assert record.state is DeliveryState.CANCELLED
    assert await store.count_mailboxes() == 0


async def faults(server: RedisServer, way: str) -> list[Fault]:
    """List what may go wrong: once at each call, at the first of those that scan."""
    first, _ = await live(server)
    kinds = {call.kind for call in first.transport.calls}
    assert kinds >= {"put_delivery", "begin_part", "commit_delivery", "cancel_delivery"}
    return [
        Fault(0, call, way)
        for call in first.transport.calls
        if call.kind != "list_claimable" or call.number == 0
    ]


@pytest.mark.parametrize("way", [*CUTS, *ENDS])
async def test_nothing_is_lost_or_sent_twice_whichever_call_goes_wrong(
    redis_server: RedisServer, way: str
) -> None:
    """Except for what is known to be in doubt."""
    for fault in await faults(redis_server, way):
        worker, _ = await live(redis_server, fault)
        # Nobody waits for the last command, which lets a key expire.
        assert worker.struck or fault.call.kind == "other", fault


@pytest.mark.parametrize(
    ("script", "line", "wrong"),
    [
        ("put_delivery", b"if record then\n", b"if false then\n"),
        ("begin_part", b"ARGV[3], ARGV[2], ARGV[4]", b"ARGV[3], '-', ARGV[4]"),
        ("commit_delivery", b"if record and is_open(record)", b"if false"),
        ("cancel_delivery", b"if not is_waiting(record)", b"if is_waiting(record)"),
    ],
)
async def test_it_is_seen_when_a_script_does_not_do_its_part(
    redis_server: RedisServer, script: str, line: bytes, wrong: bytes
) -> None:
    """The control: with a script that forgets one check, these tests fail."""
    source = getattr(SCRIPTS, script).source
    assert line in source
    source = source.replace(line, wrong)
    faulty = Script(source, sha1(source, usedforsecurity=False).hexdigest().encode())
    scripts = structs.replace(SCRIPTS, **{script: faulty})

    async def live_with_each_fault() -> None:
        for way in (*CUTS, *ENDS):
            for fault in await faults(redis_server, way):
                await live(redis_server, fault, scripts)

    with pytest.raises(AssertionError):
        await live_with_each_fault()
