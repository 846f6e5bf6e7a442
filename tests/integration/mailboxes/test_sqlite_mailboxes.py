"""What only mailboxes in a file promise: one file for all processes of a machine."""

import asyncio
import os
import signal
import sqlite3
import stat
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, closing
from functools import partial
from pathlib import Path

import pytest

from gateway.domain.errors import ConfigurationError, StoreFull, StoreUnavailable
from gateway.domain.mailbox_lease import MailboxLease
from gateway.domain.ports import PutResult
from gateway.mailboxes.sqlite import cleanup, transactions
from gateway.mailboxes.sqlite.coordination import SqliteCooldowns, SqlitePollingLease
from gateway.mailboxes.sqlite.database import FILE_NAME, LOCK_NAME, open_database
from gateway.mailboxes.sqlite.schema import MIGRATIONS
from gateway.mailboxes.sqlite.transactions import Transaction
from tests.factories import build_delivery, build_envelope
from tests.integration.mailboxes.sqlite_store import SqliteTestStore, opened
from tests.support.fakes import FakeClock
from tests.support.process import ROOT
from tests.support.stores import LEASE, LIMIT
from tests.support.waiting import wait_until


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteTestStore]:
    """Open an empty file."""
    async with opened(tmp_path) as store:
        yield store


async def acquired(store: SqliteTestStore, update_id: int = 1) -> MailboxLease:
    """Put an update into a free mailbox."""
    lease = await store.mailboxes.put(build_envelope(update_id))
    assert isinstance(lease, MailboxLease)
    return lease


class TestSeveralProcesses:
    """Each opens the file for itself."""

    async def test_one_works_on_what_another_accepted(self, tmp_path: Path) -> None:
        clock = FakeClock()
        async with opened(tmp_path, clock) as first, opened(tmp_path, clock) as second:
            await first.mailboxes.put(build_envelope(1), acquire=False)
            assert list(await second.mailboxes.claimable(9)) == ["7"]
            lease = await second.mailboxes.acquire("7")
            assert lease is not None
            assert await first.mailboxes.acquire("7") is None
            assert await first.mailboxes.put(build_envelope(2)) is PutResult.STORED
            following = await second.mailboxes.commit(lease, 1, b"state")
            assert following is not None
            assert following.update_id == 2

    async def test_one_takes_over_from_another_that_is_gone(
        self, tmp_path: Path
    ) -> None:
        clock = FakeClock()
        async with opened(tmp_path, clock) as first, opened(tmp_path, clock) as second:
            await acquired(first)
            assert await second.mailboxes.acquire("7") is None
            clock.move(LEASE + 1)
            lease = await second.mailboxes.acquire("7")
            assert lease is not None
            assert lease.owner_losses == 1

    async def test_a_cancellation_reaches_all_with_their_next_scan(
        self, tmp_path: Path
    ) -> None:
        async with opened(tmp_path) as first, opened(tmp_path) as second:
            heard: list[tuple[str, str, int]] = []
            for name, store in (("first", first), ("second", second)):
                bus = store.mailboxes.cancellation_bus
                bus.subscribe(partial(record_cancellation, heard, name))
                await store.mailboxes.claimable(9)
            first.mailboxes.cancellation_bus.publish("7", 5)
            assert heard == [("first", "7", 5)]
            await second.mailboxes.renew([])
            await first.mailboxes.renew([])
            await second.mailboxes.claimable(9)
            await second.mailboxes.claimable(9)
            assert heard[1:] == [("second", "7", 5)]

    async def test_one_of_them_polls(self, tmp_path: Path) -> None:
        clock = FakeClock()
        async with opened(tmp_path, clock) as one, opened(tmp_path, clock) as other:
            first = SqlitePollingLease(one.runner, 7)
            second = SqlitePollingLease(other.runner, 7)
            assert await first.hold()
            assert not await second.hold()
            assert await SqlitePollingLease(other.runner, 8).hold()
            assert await first.hold()
            await second.release()  # has no effect on the lease of the other worker
            assert not await second.hold()
            await first.release()
            assert await second.hold()
            clock.move(4)
            assert await first.hold()

    async def test_they_share_cooldowns(self, tmp_path: Path) -> None:
        clock = FakeClock()
        async with opened(tmp_path, clock) as one, opened(tmp_path, clock) as other:
            first, second = (
                SqliteCooldowns(one.runner, 1),
                SqliteCooldowns(other.runner, 1),
            )
            first.record(7, 30)
            await one.mailboxes.renew([])
            assert await second.find(7) == 30
            assert await second.find(8) == 0
            assert await SqliteCooldowns(other.runner, 2).find(7) == 0
            clock.move(31)
            assert await second.find(7) == 0

    async def test_one_waits_for_the_transaction_of_another(
        self, tmp_path: Path
    ) -> None:
        async with opened(tmp_path) as store:
            with closing(sqlite3.connect(tmp_path / FILE_NAME)) as other:
                other.isolation_level = None
                other.execute("BEGIN IMMEDIATE")
                putting = asyncio.ensure_future(store.mailboxes.put(build_envelope(1)))
                await wait_until(lambda: store.runner._is_busy)  # noqa: SLF001
                other.execute("COMMIT")
            assert isinstance(await putting, MailboxLease)


def record_cancellation(
    heard: list[tuple[str, str, int]], name: str, ordering_key: str, draft_id: int
) -> None:
    """Record who heard of a cancellation."""
    heard.append((name, ordering_key, draft_id))


class TestEndOfProcess:
    """What was accepted stays."""

    async def test_everything_is_there_after_a_restart(self, tmp_path: Path) -> None:
        clock = FakeClock()
        async with opened(tmp_path, clock) as store:
            lease = await acquired(store)
            await store.mailboxes.put(build_envelope(2))
            await store.mailboxes.commit(lease, 1, b"state", release=True)
            delivery = build_delivery(1, "8")
            await store.deliveries.put_delivery(delivery, acquire=False)
            await store.recipients.record_recipient(1, "ada", 7)
        async with opened(tmp_path, clock) as store:
            assert list(await store.mailboxes.claimable(9)) == ["7", "8"]
            successor = await store.mailboxes.acquire("7")
            assert successor is not None
            assert (successor.next_update.update_id, successor.state) == (2, b"state")
            assert await store.deliveries.get_delivery(delivery.delivery_id)
            assert await store.recipients.find_recipient(1, "ada") == 7

    async def test_nobody_waits_for_the_leases_of_the_dead(
        self, tmp_path: Path
    ) -> None:
        """Also if the clock of the machine has begun again. It counts as a loss."""
        async with opened(tmp_path) as store:
            await acquired(store)
            await SqlitePollingLease(store.runner, 7).hold()
        clock = FakeClock()
        clock.up = 1.0
        async with opened(tmp_path, clock) as store:
            assert await SqlitePollingLease(store.runner, 7).hold()
            lease = await store.mailboxes.acquire("7")
            assert lease is not None
            assert lease.owner_losses == 1

    async def test_leases_of_a_living_process_stay(self, tmp_path: Path) -> None:
        clock = FakeClock()
        async with opened(tmp_path, clock) as first:
            await acquired(first)
            async with opened(tmp_path, clock) as second:
                assert await second.mailboxes.acquire("7") is None

    async def test_what_a_killed_process_accepted_is_served_in_order(
        self, tmp_path: Path
    ) -> None:
        """It is killed at random moments while it writes as fast as it can."""
        accepted: list[int] = []
        for start in range(0, 5000, 1000):
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-c", WRITER, str(tmp_path), str(start)),
                stdout=asyncio.subprocess.PIPE,
                env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'generated'}"},
            )
            assert process.stdout is not None
            while len(accepted) < start / 50 + 20:
                accepted.append(int(await process.stdout.readline()))
            process.send_signal(signal.SIGKILL)
            rest, _ = await process.communicate()
            # A line that was cut off is not the end of an acceptance.
            accepted += map(int, rest[: rest.rfind(b"\n") + 1].split())
        async with opened(tmp_path) as store:
            lease = await store.mailboxes.acquire("7")
            assert lease is not None
            served = [lease.next_update.update_id]
            while following := await store.mailboxes.commit(lease, served[-1], b""):
                served.append(following.update_id)
        assert served == sorted(set(served))
        assert set(accepted) <= set(served)
        assert len(accepted) >= 100


WRITER = """
import asyncio, sys
from pathlib import Path
from gateway.clock import SystemClock
from gateway.mailboxes.sqlite.store import SqliteFile, open_sqlite_store
from tests.factories import build_envelope

async def put(mailboxes, update_id):
    await mailboxes.put(build_envelope(update_id), acquire=False, enforce_limit=False)
    print(update_id, flush=True)

async def main():
    file = SqliteFile(Path(sys.argv[1]))
    async with open_sqlite_store(file, SystemClock(), limit=9) as store:
        update_id = int(sys.argv[2])
        while True:
            ids = range(update_id, update_id + 7)
            await asyncio.gather(*(put(store.mailboxes, each) for each in ids))
            update_id += 7

asyncio.run(main())
"""


class TestCancelledCallers:
    """A caller that gives up leaves no lease behind."""

    @pytest.mark.parametrize("turns", range(4))
    async def test_a_put(self, store: SqliteTestStore, turns: int) -> None:
        """At whatever moment: what it stored waits for the next scan."""
        putting = asyncio.ensure_future(store.mailboxes.put(build_envelope(1)))
        for _ in range(turns):
            await asyncio.sleep(0)
        putting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await putting
        await store.mailboxes.put(build_envelope(1), acquire=False)
        lease = await store.mailboxes.acquire("7")
        assert lease is not None
        assert lease.owner_losses == 0

    @pytest.mark.parametrize("turns", range(1, 4))
    async def test_an_acquisition(self, store: SqliteTestStore, turns: int) -> None:
        await store.mailboxes.put(build_envelope(1), acquire=False)
        acquiring = asyncio.ensure_future(store.mailboxes.acquire("7"))
        for _ in range(turns):
            await asyncio.sleep(0)
        acquiring.cancel()
        with pytest.raises(asyncio.CancelledError):
            await acquiring
        lease = await store.mailboxes.acquire("7")
        assert lease is not None
        assert lease.owner_losses == 0

    @pytest.mark.parametrize("turns", range(1, 4))
    async def test_a_commit(self, store: SqliteTestStore, turns: int) -> None:
        """It takes effect whole, and the lease stays."""
        lease = await acquired(store)
        await store.mailboxes.put(build_envelope(2))
        committing = asyncio.ensure_future(store.mailboxes.commit(lease, 1, b"state"))
        for _ in range(turns):
            await asyncio.sleep(0)
        committing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await committing
        assert list(await store.mailboxes.renew([lease])) == []
        await store.mailboxes.release(lease)
        successor = await store.mailboxes.acquire("7")
        assert successor is not None
        assert (successor.next_update.update_id, successor.state) == (2, b"state")


class TestTransactions:
    """All operations of one turn of the loop run in one transaction."""

    async def test_one_turn_is_one_transaction(
        self, store: SqliteTestStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        batches: list[int] = []
        run = store.runner._run_together  # noqa: SLF001 - not public

        def count(batch: list[transactions.Submission]) -> object:
            batches.append(len(batch))
            return run(batch)

        monkeypatch.setattr(store.runner, "_run_together", count)
        await asyncio.gather(
            *(store.mailboxes.put(build_envelope(n, f"{n}")) for n in range(1, 21))
        )
        assert batches == [20]

    async def test_one_that_fails_does_not_take_the_others_along(
        self, store: SqliteTestStore
    ) -> None:
        def fail(transaction: Transaction) -> None:
            transaction.execute("DELETE FROM mail")
            raise RuntimeError("a fault of the program")

        results = await asyncio.gather(
            store.mailboxes.put(build_envelope(1, "1")),
            store.runner.submit(fail),
            store.mailboxes.put(build_envelope(2, "2")),
            return_exceptions=True,
        )
        assert isinstance(results[1], RuntimeError)
        assert isinstance(results[0], MailboxLease)
        assert isinstance(results[2], MailboxLease)
        assert await store.in_memory() == 2
        assert store.mailboxes.problem == ""

    async def test_a_closed_store_refuses(self, tmp_path: Path) -> None:
        async with opened(tmp_path) as store:
            mailboxes = store.mailboxes
        with pytest.raises(StoreUnavailable):
            await mailboxes.put(build_envelope(1))


class TestFailingFile:
    """A disk that is full or read-only."""

    async def test_a_full_file_loses_nothing(
        self, store: SqliteTestStore, caplog: pytest.LogCaptureFixture
    ) -> None:
        """It refuses with an error that lets Telegram send the update again."""
        lease = await acquired(store)
        await limit_pages(store, 1)
        big = b"x" * 100_000
        with pytest.raises(StoreFull):
            await store.mailboxes.put(build_envelope(2, "8", body=big))
        assert store.mailboxes.is_degraded
        assert store.mailboxes.problem == "the disk of DATA_DIR is full"
        assert "mailbox_file_failed" in caplog.messages
        assert await store.in_memory() == 1
        await limit_pages(store, 1_000_000)
        assert isinstance(
            await store.mailboxes.put(build_envelope(2, "8", body=big)), MailboxLease
        )
        assert not store.mailboxes.is_degraded
        assert await store.mailboxes.commit(lease, 1, b"state") is None

    async def test_what_was_accepted_is_finished_on_a_disk_that_is_nearly_full(
        self, store: SqliteTestStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        lease = await acquired(store)
        monkeypatch.setattr(transactions, "RESERVED_BYTES", 1 << 60)
        store.clock.move(2)
        await store.mailboxes.renew([lease])
        with pytest.raises(StoreFull):
            await store.mailboxes.put(build_envelope(2))
        with pytest.raises(StoreFull):
            await store.deliveries.put_delivery(build_delivery(1))
        assert store.mailboxes.problem == "the disk of DATA_DIR is full"
        assert await store.mailboxes.commit(lease, 1, b"state") is None
        monkeypatch.setattr(transactions, "RESERVED_BYTES", 0)
        store.clock.move(2)
        assert (await acquired(store, 2)).state == b"state"
        assert not store.mailboxes.is_degraded

    async def test_a_commit_waits_until_the_file_can_be_written(
        self, store: SqliteTestStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(transactions, "RETRY_SECONDS", 0.01)
        lease = await acquired(store)
        await set_read_only(store, on=True)
        with pytest.raises(StoreUnavailable):
            await store.mailboxes.put(build_envelope(2))
        assert store.mailboxes.problem == "DATA_DIR is read-only"
        committing = asyncio.ensure_future(store.mailboxes.commit(lease, 1, b"state"))
        assert list(await store.mailboxes.renew([lease])) == []
        await store.mailboxes.release(lease)
        assert await store.mailboxes.acquire("7") is None
        assert not committing.done()
        await set_read_only(store, on=False)
        assert await committing is None
        assert store.mailboxes.problem == ""


async def limit_pages(store: SqliteTestStore, count: int) -> None:
    """Let the file grow up to so many pages, or not at all."""
    await store.runner.submit(
        lambda it: it.execute(f"PRAGMA max_page_count = {count}").fetchall(),
        is_read_only=True,
    )


async def set_read_only(store: SqliteTestStore, *, on: bool) -> None:
    """Make the file refuse all changes, or accept them again."""
    await store.runner.submit(
        lambda it: it.execute(f"PRAGMA query_only = {on}").fetchall(),
        is_read_only=True,
    )


class TestOpening:
    """What is looked at before the file is used."""

    async def test_nobody_else_can_read_the_file(self, tmp_path: Path) -> None:
        async with opened(tmp_path / "new" / "directory") as store:
            await acquired(store)
            for path in (tmp_path / "new" / "directory").iterdir():
                assert stat.S_IMODE(path.stat().st_mode) == 0o600, path.name

    def test_a_damaged_file_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / FILE_NAME).write_bytes(b"this is no database" * 1000)
        with pytest.raises(ConfigurationError, match="cannot be used"):
            open_database(tmp_path, "normal", 1, FakeClock())

    async def test_damage_inside_is_found_at_the_start(self, tmp_path: Path) -> None:
        async with opened(tmp_path) as store:
            for number in range(1, 200):
                await store.mailboxes.put(build_envelope(number, f"{number}"))
        path = tmp_path / FILE_NAME
        content = bytearray(path.read_bytes())
        for page in range(2, len(content) // 4096 - 1):
            content[page * 4096 + 100 : page * 4096 + 200] = b"\xff" * 100
        path.write_bytes(content)
        with pytest.raises(ConfigurationError, match="is damaged"):
            open_database(tmp_path, "normal", 1, FakeClock())

    def test_a_file_of_a_later_version_is_refused(self, tmp_path: Path) -> None:
        open_database(tmp_path, "full", 1, FakeClock()).close()
        set_version(tmp_path, len(MIGRATIONS) + 1)
        with pytest.raises(ConfigurationError, match="later version"):
            open_database(tmp_path, "normal", 1, FakeClock())

    def test_a_file_in_use_is_not_migrated(self, tmp_path: Path) -> None:
        database = open_database(tmp_path, "normal", 1, FakeClock())
        set_version(tmp_path, len(MIGRATIONS) - 1)
        with pytest.raises(ConfigurationError, match="earlier version"):
            open_database(tmp_path, "normal", 1, FakeClock())
        database.close()

    def test_a_directory_that_cannot_be_made_is_reported(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(ConfigurationError, match="DATA_DIR"):
            open_database(tmp_path / "file" / "below", "normal", 1, FakeClock())

    def test_the_lock_is_given_back(self, tmp_path: Path) -> None:
        for _ in range(2):
            open_database(tmp_path, "normal", 1, FakeClock()).close()
        assert (tmp_path / LOCK_NAME).exists()


def set_version(directory: Path, version: int) -> None:
    """Change the version of the schema in a file."""
    with closing(sqlite3.connect(directory / FILE_NAME)) as connection:
        connection.execute(f"PRAGMA user_version = {version}")


class TestSize:
    """The file stays small."""

    async def test_what_has_expired_is_removed(
        self, store: SqliteTestStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """However much that is: a little with each clean-up."""
        monkeypatch.setattr(cleanup, "MAX_ROWS", 10)
        for number in range(1, 35):
            lease = await store.mailboxes.put(build_envelope(number, f"{number}"))
            assert isinstance(lease, MailboxLease)
            await store.mailboxes.commit(lease, number, b"state")
            delivery = build_delivery(number)
            await store.deliveries.put_delivery(delivery, acquire=False)
            await store.deliveries.cancel_delivery(delivery.delivery_id)
        SqliteCooldowns(store.runner, 1).record(7, 30)
        store.mailboxes.cancellation_bus.publish("7", 1)
        await store.pass_time(25 * 3600)
        for _ in range(8):
            await store.mailboxes.claimable(9)
            await store.pass_time(20)
        for table in ("states", "deliveries", "cooldowns", "cancellations"):
            assert store.count(table) == 0, table

    async def test_free_pages_go_back_to_the_disk(
        self, store: SqliteTestStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(cleanup, "KEPT_FREE_PAGES", 10)
        body = b"x" * 50_000
        for number in range(1, LIMIT * 10):
            lease = await store.mailboxes.put(
                build_envelope(number, f"{number}", body=body)
            )
            assert isinstance(lease, MailboxLease)
            await store.mailboxes.release(lease)
        pages = await count_pages(store)
        for number in range(1, LIMIT * 10):
            successor = await store.mailboxes.acquire(f"{number}")
            assert successor is not None
            await store.mailboxes.commit(successor, number, b"")
        await store.mailboxes.claimable(9)
        assert await count_pages(store) < pages / 4


async def count_pages(store: SqliteTestStore) -> int:
    """Count the pages of the file."""
    (count,) = await store.runner.submit(
        lambda it: it.execute("PRAGMA page_count").fetchone(), is_read_only=True
    )
    return int(count)


async def test_a_store_that_is_closed_ends_its_thread(tmp_path: Path) -> None:
    """With everything done that was submitted before."""
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(opened(tmp_path))
        store.runner.submit_unawaited(
            lambda it: it.execute("INSERT INTO polling_leases VALUES (7, 'x', 9e9)")
        )
        thread = store.runner._thread  # noqa: SLF001 - not public
    await wait_until(lambda: not thread.is_alive())
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as connection:
        assert connection.execute("SELECT * FROM polling_leases").fetchall()
