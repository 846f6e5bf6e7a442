"""The end of the process: nothing that runs is lost, and it does end."""

import asyncio
import signal
from collections.abc import AsyncIterator

import pytest

from tests.support.backend import gate
from tests.support.process import Process, run, serving_process, settings_of
from tests.support.tcp_ports import free_ports
from tests.support.waiting import LIMIT, wait_until, wait_until_found


@pytest.fixture
async def gateway() -> AsyncIterator[Process]:
    """Yield a running gateway process."""
    async with serving_process() as running:
        yield running


async def test_sigterm_finishes_what_was_accepted(gateway: Process) -> None:
    """Running and waiting updates are answered, and the exit code is 0."""
    until = asyncio.Event()
    gate(gateway.backend, until, {1, 2, 3})
    for n in range(9):
        await gateway.say(n + 1, user=n % 3 + 1)
    await wait_until(lambda: len(gateway.backend.asked("SendMessage")) == 3)
    gateway.process.send_signal(signal.SIGTERM)
    await _refused(gateway)
    until.set()
    assert await asyncio.wait_for(gateway.process.wait(), LIMIT) == 0
    texts = [len(gateway.simulator.messages(user)) for user in (1, 2, 3)]
    assert texts == [3, 3, 3]


async def test_the_drain_is_bounded(gateway: Process) -> None:
    """A service that never answers does not keep the process."""
    gate(gateway.backend, asyncio.Event(), {1})
    await gateway.say(1, user=1)
    await wait_until(lambda: gateway.backend.asked("SendMessage"))
    gateway.process.send_signal(signal.SIGTERM)
    assert await asyncio.wait_for(gateway.process.wait(), LIMIT) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_second_signal_ends_at_once(
    gateway: Process, number: signal.Signals
) -> None:
    """Whoever insists does not wait for the drain."""
    gate(gateway.backend, asyncio.Event(), {1})
    await gateway.say(1, user=1)
    await wait_until(lambda: gateway.backend.asked("SendMessage"))
    gateway.process.send_signal(number)
    await _refused(gateway)
    gateway.process.send_signal(number)
    assert await asyncio.wait_for(gateway.process.wait(), LIMIT) == -number


async def test_a_port_in_use_is_one_clear_line(gateway: Process) -> None:
    """The second gateway says what is wrong and ends with 2."""
    port = int(gateway.url.rpartition(":")[2])
    (ops_port,) = free_ports(1)
    settings = settings_of("127.0.0.1:1", "http://127.0.0.1:1", port, ops_port)
    code, _, errors = await run("serve", settings=settings)
    assert code == 2
    assert f"cannot listen on 127.0.0.1:{port}" in errors
    assert "Traceback" not in errors


async def _refused(gateway: Process) -> None:
    """Wait until the gateway accepts no more."""

    async def refuses() -> bool:
        return not await gateway.healthy()

    await wait_until_found(refuses)
