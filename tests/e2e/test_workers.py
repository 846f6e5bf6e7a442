"""Many workers behind one port, as one gateway. Redis holds what they share."""

import asyncio
import json
import os
import re
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio

from gateway.background import cancel_and_wait
from tests.support.backend import gate
from tests.support.process import Process, run, serving_process, settings_of
from tests.support.redis_servers import RedisServer
from tests.support.tcp_ports import free_ports
from tests.support.waiting import LIMIT, wait_until, wait_until_found
from tests.support.worker_probes import gone, stopped, workers_of

# Starting a gateway takes seconds: the tests that leave it whole share one.
pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def databases(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Iterator[str]]:
    """Yield the addresses of as many empty databases as needed, in one Redis."""
    server = RedisServer(tmp_path_factory.mktemp("redis"), "--appendonly yes")
    server.start()
    yield (f"{server.url}/{number}" for number in range(16))
    server.kill()


class Workers:
    """A gateway with two workers, and what is seen of it from outside."""

    def __init__(self, gateway: Process, ops_url: str) -> None:
        self.gateway = gateway
        self.backend, self.simulator = gateway.backend, gateway.simulator
        self.process = gateway.process
        self._ops_url = ops_url

    async def say(self, update_id: int, user: int, text: str = "hi") -> None:
        """Post a message over a connection of its own: it reaches any worker."""
        other = Process(self.process, self.backend, self.simulator, self.gateway.url)
        try:
            await other.say(update_id, user, text)
        finally:
            await other.close()

    async def page(self, path: str, *, ops: bool = False) -> tuple[int, str]:
        """Get a page over a connection of its own."""
        url = (self._ops_url if ops else self.gateway.url) + path
        async with aiohttp.ClientSession() as client, client.get(url) as response:
            return response.status, await response.text()

    async def metric(self, series: str) -> float:
        """Return the sum of the values of all series that match."""
        _, page = await self.page("/metrics", ops=True)
        return sum(
            float(line.rpartition(" ")[2])
            for line in page.splitlines()
            if re.match(series + r"[ {]", line)
        )

    async def complete(self) -> bool:
        """Return whether both workers are there."""
        with suppress(aiohttp.ClientError):
            return await self.metric("gateway_workers") == 2
        return False

    def pids(self) -> dict[int, int]:
        """Return the process ids of the workers by their number."""
        return workers_of(self.process.pid)


@asynccontextmanager
async def running(databases: Iterator[str]) -> AsyncIterator[Workers]:
    """Run a gateway with two workers; fails if one of them survives it."""
    (ops_port,) = free_ports(1)
    settings = {"WORKERS": "2", "REDIS_URL": next(databases)}
    settings["OPS_PORT"] = str(ops_port)
    settings["FILES_URL"] = f"http://127.0.0.1:{ops_port}"
    async with serving_process(settings) as gateway:
        workers = Workers(gateway, f"http://127.0.0.1:{ops_port}")
        await wait_until_found(workers.complete)
        pids = workers.pids()
        yield workers
        pids |= workers.pids()
        if workers.process.returncode is not None:
            try:
                await wait_until(lambda: gone(pids))
            except AssertionError:
                # Survivors would keep their output open, which is awaited next.
                for pid in pids.values():
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                raise
    await wait_until(lambda: gone(pids))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def workers(databases: Iterator[str]) -> AsyncIterator[Workers]:
    """Yield a gateway that is whole again after each test."""
    async with running(databases) as workers:
        yield workers


@pytest_asyncio.fixture(loop_scope="module")
async def mortal(databases: Iterator[str]) -> AsyncIterator[Workers]:
    """Yield a gateway of the test's own."""
    async with running(databases) as workers:
        yield workers


async def test_all_workers_take_updates_and_are_seen_as_one(workers: Workers) -> None:
    """The pages are of the whole, whoever answers them."""
    users = range(101, 141)
    for user in users:
        await workers.say(user, user=user)
    await wait_until(lambda: all(map(workers.simulator.messages, users)))
    each = [
        await workers.metric(rf'gateway_updates_total{{.*worker="{number}"}}')
        for number in (0, 1)
    ]
    assert sum(each) == 40
    assert all(each)
    assert await workers.page("/health") == (200, '{"status":"ok"}')
    health = json.loads((await workers.page("/health", ops=True))[1])
    assert health["status"] == "ok"
    assert health["workers"] == 2
    assert health["queued_updates"] == 0
    assert (await workers.page("/ready", ops=True))[0] == 200
    # What operators see is not for the internet.
    assert (await workers.page("/metrics"))[0] == 404
    # Ctrl-C in a terminal reaches a process group, and must not reach the workers.
    assert all(os.getpgid(pid) == pid for pid in workers.pids().values())


async def test_a_log_that_nobody_reads_stops_no_worker(mortal: Workers) -> None:
    """All of them write to one pipe, which holds some 700 lines with its reader."""
    users = range(1, 1001)
    for user in users:
        await asyncio.wait_for(mortal.say(user, user=user), LIMIT)
    await wait_until(lambda: all(map(mortal.simulator.messages, users)))
    assert await mortal.page("/health") == (200, '{"status":"ok"}')
    assert await mortal.metric("gateway_worker_restarts_total") == 0
    mortal.process.terminate()
    # Its `wait` would wait for the end of the output, too.
    await wait_until(lambda: mortal.process.returncode is not None)
    assert mortal.process.returncode == 0


async def test_services_get_files_from_the_process_above(workers: Workers) -> None:
    """At the address that a worker gave out, whichever it was."""
    workers.simulator.files.store(b"x" * 100_000, "BQACAgAD")
    await workers.gateway.update(
        {
            "update_id": 60,
            "message": {
                "message_id": 1,
                "date": 1_790_000_000,
                "from": {"id": 60, "is_bot": False, "first_name": "Ann"},
                "chat": {"id": 60, "type": "private"},
                "document": {"file_id": "BQACAgAD", "file_unique_id": "u"},
            },
        }
    )
    await wait_until(lambda: bool(workers.simulator.messages(60)))
    (url,) = (
        request.message.document.file.url
        for request in workers.backend.asked("SendMessage")
        if request.context.telegram_user_id == 60
    )
    async with aiohttp.ClientSession() as client, client.get(url) as response:
        assert await response.read() == b"x" * 100_000
    status, body = await workers.page("/files/1-x/BQACAgAD", ops=True)
    assert (status, body) == (403, "")


async def test_a_worker_that_hangs_hangs_no_page(workers: Workers) -> None:
    """The pages come without its answer, and tell that it is missing."""
    os.kill(workers.pids()[1], signal.SIGSTOP)
    # Until then it may answer one more probe.
    await wait_until(lambda: stopped(workers.pids()[1]))
    try:
        (_, metrics), (ready, _), (_, health), status = await asyncio.gather(
            workers.page("/metrics", ops=True),
            workers.page("/ready", ops=True),
            workers.page("/health", ops=True),
            _first_health(workers),
        )
    finally:
        os.kill(workers.pids()[1], signal.SIGCONT)
    await wait_until_found(workers.complete)
    assert ready == 200
    assert "gateway_workers 1.0" in metrics
    assert json.loads(status) == {"status": "degraded"}
    assert json.loads(health)["missing_workers"] == 1


async def test_a_dead_worker_is_replaced_and_its_updates_served(
    workers: Workers,
) -> None:
    """By the other worker, in order, in less than 5 s."""
    until = asyncio.Event()
    gate(workers.backend, until, {7})
    asked = len(workers.backend.asked("SendMessage"))
    await workers.say(1, user=7, text="a")
    await wait_until(lambda: len(workers.backend.asked("SendMessage")) > asked)
    for n, text in ((2, "b"), (3, "c")):
        await workers.say(n, user=7, text=text)
    holder = int(await workers.metric(r'gateway_active_actors{worker="1"}'))
    pids = workers.pids()
    os.kill(pids[holder], signal.SIGKILL)
    until.set()
    await wait_until(lambda: len(workers.simulator.messages(7)) == 3)
    texts = [message["text"] for message in workers.simulator.messages(7)]
    assert texts == ["echo: a", "echo: b", "echo: c"]
    await wait_until_found(workers.complete)
    again = f'gateway_worker_restarts_total{{worker="{holder}"}}'
    assert await workers.metric(again) == 1
    replaced = workers.pids()
    assert replaced[holder] != pids[holder]
    assert replaced[1 - holder] == pids[1 - holder]


async def test_a_port_is_not_shared_with_another_gateway(workers: Workers) -> None:
    """Else each of them would get a part of the updates, without a word."""
    port = int(workers.gateway.url.rpartition(":")[2])
    (ops_port,) = free_ports(1)
    settings = settings_of("127.0.0.1:1", "http://127.0.0.1:1", port, ops_port)
    settings |= {"WORKERS": "2", "REDIS_URL": "redis://127.0.0.1:1"}
    code, output, errors = await run("serve", settings=settings)
    assert code == 2
    line = f"cannot listen on 127.0.0.1:{port}: Address already in use"
    assert errors == f"telegram-gateway: {line}\n"
    assert output == ""


async def test_sigterm_drains_all_workers(mortal: Workers) -> None:
    """What runs in all of them is finished, and the exit code is 0."""
    until = asyncio.Event()
    users = range(1, 21)
    gate(mortal.backend, until, set(users))
    for user in users:
        await mortal.say(user, user=user)
    await wait_until(lambda: len(mortal.backend.asked("SendMessage")) == len(users))
    for number in (0, 1):
        assert await mortal.metric(f'gateway_active_actors{{worker="{number}"}}')
    mortal.process.send_signal(signal.SIGTERM)
    await _refused(mortal)
    until.set()
    assert await asyncio.wait_for(mortal.process.wait(), LIMIT) == 0
    assert [len(mortal.simulator.messages(user)) for user in users] == [1] * 20
    assert mortal.process.stdout
    lines = map(json.loads, (await mortal.process.stdout.read()).splitlines())
    done = [line["worker"] for line in lines if line["message"] == "update"]
    assert len(done) == len(users)
    assert set(done) == {"0", "1"}


async def test_a_second_signal_kills_all_workers(mortal: Workers) -> None:
    """Whoever insists does not wait for the drain."""
    gate(mortal.backend, asyncio.Event(), {1})
    await mortal.say(1, user=1)
    await wait_until(lambda: mortal.backend.asked("SendMessage"))
    pids = mortal.pids()
    mortal.process.send_signal(signal.SIGTERM)
    await _refused(mortal)
    mortal.process.send_signal(signal.SIGTERM)
    assert await asyncio.wait_for(mortal.process.wait(), LIMIT) == 128 + signal.SIGTERM
    assert gone(pids)


async def test_no_worker_survives_the_process_above_it(mortal: Workers) -> None:
    """They drain and end by themselves, one that was stopped as well."""
    until = asyncio.Event()
    gate(mortal.backend, until, {1})
    await mortal.say(1, user=1)
    await wait_until(lambda: mortal.backend.asked("SendMessage"))
    idle = int(not await mortal.metric(r'gateway_active_actors{worker="1"}'))
    pids = mortal.pids()
    sockets = Path(Path(f"/proc/{pids[0]}/cmdline").read_text().split("\0")[-2]).parent
    assert sockets.is_dir()
    os.kill(pids[idle], signal.SIGSTOP)
    # The kernel wakes the orphans that have stopped, not those that are about to.
    await wait_until(lambda: stopped(pids[idle]))
    mortal.process.kill()
    await _refused(mortal)
    until.set()
    await wait_until(lambda: gone(pids))
    assert len(mortal.simulator.messages(1)) == 1
    assert not sockets.exists()


async def test_a_worker_that_cannot_start_ends_the_gateway(tmp_path: Path) -> None:
    """Its reason is what is said, and the code is 2."""
    file = tmp_path / "ca.pem"
    settings = settings_of("127.0.0.1:1", "http://127.0.0.1:1", *free_ports(2))
    settings |= {"WORKERS": "2", "REDIS_URL": "redis://127.0.0.1:1"}
    settings |= {"SERVICES_TLS": "1", "SERVICES_TLS_CA_FILE": str(file)}
    code, _, errors = await run("serve", settings=settings)
    assert code == 2
    assert f"{file} is not a file of TLS authorities" in errors
    assert "Traceback" not in errors


async def test_no_worker_runs_code_of_the_working_directory(
    databases: Iterator[str], tmp_path: Path
) -> None:
    """Whoever can write there would get the token."""
    ran = tmp_path / "ran"
    for name in ("httptools", "gateway", "redis"):
        (tmp_path / f"{name}.py").write_text(f"open({str(ran)!r}, 'w').close()\n")
    settings = {"WORKERS": "2", "REDIS_URL": next(databases)}
    async with serving_process(settings, directory=tmp_path) as gateway:
        await gateway.say(1, 7)
        await wait_until(lambda: gateway.simulator.sent)
    assert not ran.exists()


async def _first_health(workers: Workers) -> str:
    """Ask over many connections: those that the hanging worker has are of no use."""
    asking = [asyncio.create_task(workers.page("/health")) for _ in range(16)]
    done, left = await asyncio.wait(asking, return_when="FIRST_COMPLETED")
    await cancel_and_wait(*left)
    return done.pop().result()[1]


async def _refused(workers: Workers) -> None:
    """Wait until no worker accepts any more."""

    async def refuses() -> bool:
        try:
            await asyncio.wait_for(workers.page("/health"), 0.5)
        except aiohttp.ClientConnectorError:
            return True
        except (aiohttp.ClientError, TimeoutError):
            pass
        return False

    await wait_until_found(refuses)
