"""Mailboxes in a file: a gateway of several workers without Redis."""

import asyncio
import os
import signal
import sqlite3
from contextlib import closing
from pathlib import Path

import aiohttp

from gateway.clock import SystemClock
from gateway.mailboxes.sqlite.database import FILE_NAME
from gateway.mailboxes.sqlite.store import SqliteFile, open_sqlite_store
from tests.factories import build_delivery
from tests.support.backend import gate
from tests.support.process import Process, run, serving_process
from tests.support.waiting import wait_until
from tests.support.worker_probes import gone, workers_of


def texts(gateway: Process, user: int) -> list[str]:
    """Return what a user's chat shows."""
    return [message["text"] for message in gateway.simulator.messages(user)]


async def say(gateway: Process, update_id: int, user: int, text: str) -> None:
    """Post a message over a connection of its own: it reaches any worker."""
    other = Process(gateway.process, gateway.backend, gateway.simulator, gateway.url)
    try:
        await other.say(update_id, user, text)
    finally:
        await other.close()


async def test_another_worker_serves_what_a_killed_one_had(tmp_path: Path) -> None:
    """All updates, each user's in order, whichever worker they reached."""
    settings = {"DATA_DIR": str(tmp_path), "WORKERS": "2"}
    users = range(1, 9)
    async with serving_process(settings) as gateway:
        opened = asyncio.Event()
        gate(gateway.backend, opened, set(users))
        for user in users:
            await say(gateway, 10 * user, user, "first")
        await wait_until(
            lambda: len(gateway.backend.asked("SendMessage")) == len(users)
        )
        for user in users:
            await say(gateway, 10 * user + 1, user, "second")
        os.kill(workers_of(gateway.process.pid)[0], signal.SIGKILL)
        opened.set()
        expected = ["echo: first", "echo: second"]
        await wait_until(
            lambda: all(texts(gateway, user)[-2:] == expected for user in users)
        )


async def test_what_was_accepted_survives_the_end_of_all_processes(
    tmp_path: Path,
) -> None:
    """Killed while the service is slow, and started again."""
    settings = {"DATA_DIR": str(tmp_path / "data"), "DATA_SYNCHRONOUS": "full"}
    async with serving_process(settings) as gateway:
        gate(gateway.backend, asyncio.Event(), {7})
        for number in range(1, 6):
            await gateway.say(number, user=7, text=f"{number}")
        gateway.process.kill()
        await gateway.process.wait()
    async with serving_process(settings | {"WORKERS": "2"}) as gateway:
        expected = [f"echo: {number}" for number in range(1, 6)]
        await wait_until(lambda: texts(gateway, 7) == expected)
        pids = workers_of(gateway.process.pid)
        gateway.process.terminate()
        assert await gateway.process.wait() == 0
        await wait_until(lambda: gone(pids))
    with closing(sqlite3.connect(tmp_path / "data" / FILE_NAME)) as connection:
        for table in ("mail", "mailboxes"):
            (count,) = connection.execute(f"SELECT count(*) FROM {table}").fetchone()
            assert count == 0, table


async def send_until_accepted(
    gateway: Process, update_id: int, user: int, text: str
) -> None:
    """Post as Telegram does: until the answer is 200."""
    while True:
        try:
            await say(gateway, update_id, user, text)
        except aiohttp.ClientError:
            await asyncio.sleep(0.05)
        else:
            return


async def test_killed_workers_lose_nothing_and_keep_the_order(tmp_path: Path) -> None:
    """Some are killed while updates come in; each user's first effects are in order."""
    settings = {"DATA_DIR": str(tmp_path), "WORKERS": "2"}
    users, count = range(1, 11), 20
    async with serving_process(settings) as gateway:

        async def speak(user: int) -> None:
            for number in range(count):
                update_id = 100 * user + number
                await send_until_accepted(gateway, update_id, user, f"{number}")

        async def kill(after: int) -> None:
            await wait_until(lambda: len(gateway.backend.asked("SendMessage")) >= after)
            await wait_until(lambda: bool(workers_of(gateway.process.pid)))
            pid = next(iter(workers_of(gateway.process.pid).values()))
            os.kill(pid, signal.SIGKILL)

        speaking = asyncio.gather(*map(speak, users))
        for after in (40, 120):
            await kill(after)
        await speaking
        expected = [f"{number}" for number in range(count)]

        def effects(user: int) -> list[str]:
            asked = gateway.backend.asked("SendMessage")
            return [
                request.message.text
                for request in asked
                if request.context.telegram_user_id == user
            ]

        await wait_until(
            lambda: all(set(effects(user)) == set(expected) for user in users)
        )
        for user in users:
            assert list(dict.fromkeys(effects(user))) == expected, user


async def test_commands_use_the_file_beside_the_gateway(tmp_path: Path) -> None:
    settings = {"DATA_DIR": str(tmp_path)}
    own = {
        **settings,
        "TELEGRAM_BOT_TOKEN": "7400000001:AAcanary",
        "TELEGRAM_WEBHOOK_SECRET": "a-secret-of-this-test",
    }
    async with serving_process(settings) as gateway:
        with closing(sqlite3.connect(tmp_path / FILE_NAME)) as connection:
            connection.execute(
                "INSERT INTO dead_letters (is_rejected, update_id, ordering_key,"
                " reason, dead_lettered_at, added_at, body)"
                " VALUES (0, 5, '7400000001/7', 'crashed', 1790000000, 9e9, ?)",
                (MESSAGE,),
            )
            connection.commit()
        code, output, _ = await run("dead-letters", "list", settings=own)
        assert code == 0
        assert output.startswith("1  2026-09-21")
        assert "reason=crashed" in output
        code, _, errors = await run("dead-letters", "replay", "1-2-3", settings=own)
        assert code == 2
        assert "dead-letters list" in errors
        code, output, _ = await run("dead-letters", "replay", "1", settings=own)
        assert (code, output) == (0, "replayed 1 of 1\n")
        await wait_until(lambda: texts(gateway, 7) == ["echo: again"])
        code, output, _ = await run("deliveries", "list", settings=own)
        assert (code, output) == (0, "")


async def test_the_deliveries_in_the_file_are_listed_shown_and_cancelled(
    tmp_path: Path,
) -> None:
    own = {
        "DATA_DIR": str(tmp_path),
        "TELEGRAM_BOT_TOKEN": "7400000001:AAcanary",
        "TELEGRAM_WEBHOOK_SECRET": "a-secret-of-this-test",
    }
    delivery = build_delivery(1, "7400000001/7", not_before=4e9, expires_at=5e9)
    file = SqliteFile(tmp_path, "normal")
    async with open_sqlite_store(file, SystemClock(), limit=64) as store:
        await store.deliveries.put_delivery(delivery)
    code, output, _ = await run("deliveries", "list", settings=own)
    assert code == 0
    assert output.startswith(delivery.delivery_id)
    assert "state=scheduled" in output
    for command, state in (("show", "scheduled"), ("cancel", "cancelled")):
        arguments = "deliveries", command, delivery.delivery_id
        code, output, _ = await run(*arguments, settings=own)
        assert code == 0
        assert f"state: {state}" in output


MESSAGE = (
    b'{"update_id": 5, "message": {"message_id": 1, "date": 1790000000,'
    b' "text": "again",'
    b' "from": {"id": 7, "is_bot": false, "first_name": "Ann"},'
    b' "chat": {"id": 7, "type": "private"}}}'
)


async def test_a_file_that_cannot_be_used_is_a_problem_at_the_start(
    tmp_path: Path,
) -> None:
    (tmp_path / FILE_NAME).write_bytes(b"no database" * 1000)
    settings = {"DATA_DIR": str(tmp_path), "CONVERSATION_TARGET": "127.0.0.1:1"}
    settings |= {f"{it}_TARGET": "127.0.0.1:1" for it in ("MATCHING", "NOTIFICATION")}
    settings |= {
        "PROFILE_TARGET": "127.0.0.1:1",
        "TELEGRAM_BOT_TOKEN": "7400000001:AAcanary",
        "TELEGRAM_WEBHOOK_SECRET": "a-secret-of-this-test",
    }
    for workers in ("1", "2"):
        code, _, errors = await run("serve", settings=settings | {"WORKERS": workers})
        assert code == 2
        assert f"DATA_DIR: {FILE_NAME} cannot be used" in errors
