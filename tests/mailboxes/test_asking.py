"""Waiting for answers of Redis."""

import asyncio
import time
from collections.abc import Callable

import pytest

from gateway.domain.errors import StoreUnavailable
from gateway.mailboxes.redis.commands import Command, Commands
from gateway.mailboxes.redis.executor import MOST_PATIENCE, STOOD_STILL, Asking
from gateway.mailboxes.redis.lua.scripts import load_scripts
from tests.mailboxes.stores import LETTERS, SIGNATURES
from tests.virtual_time import virtual_time

PATIENCE = 0.1


class RealClock:
    """The time as it is."""

    now = staticmethod(time.time)
    uptime = staticmethod(time.monotonic)


class SlowTransport:
    """Answers every command after a while.

    Attributes:
        alive: whether it says that the server answers others.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self.submitted: list[Command] = []
        self.alive = False

    def listen(
        self, on_restart: Callable[[float], None], on_return: Callable[[float], None]
    ) -> None:
        """Tell nothing."""

    def submit(self, command: Command, *, first: bool = False) -> None:
        """Answer later."""
        self.submitted.append(command)
        asyncio.get_running_loop().call_later(self._seconds, self._answer, command)

    def answered(self, shard: int) -> float:
        """Say it."""
        return time.monotonic() if self.alive else 0

    def failing_at(self, shard: int) -> bool:
        """Say it."""
        return not self.alive

    def _answer(self, command: Command) -> None:
        if not command.reply.done():
            command.reply.set_result(1)


def asking(transport: SlowTransport) -> Asking:
    """Make one that asks through a transport."""
    return Asking(
        transport,
        Commands(load_scripts(), 64, 3, SIGNATURES, LETTERS),
        RealClock(),
        PATIENCE,
        3,
    )


async def test_a_process_that_stood_still_hears_what_was_answered() -> None:
    """Whoever is stopped by a signal reads late what Redis answered in time."""
    transport = SlowTransport(0.01)
    command = Command(0, (b"PING",))
    put = asyncio.create_task(asking(transport).patiently(command, "1", "token"))
    await asyncio.sleep(0)
    time.sleep(PATIENCE + STOOD_STILL + 0.1)
    assert await put == 1
    assert transport.submitted == [command]


@pytest.mark.parametrize("seconds", [1.9 * PATIENCE, 5])
async def test_a_slow_redis_is_waited_for_but_not_for_ever(seconds: float) -> None:
    """It answers others: it is overloaded."""
    transport = SlowTransport(seconds)
    transport.alive = True
    limit = (MOST_PATIENCE + 1) * PATIENCE
    with virtual_time():
        async with asyncio.timeout(limit):
            put = asking(transport).patiently(Command(0, (b"PING",)))
            if seconds == 5:
                with pytest.raises(StoreUnavailable):
                    await put
            else:
                assert await put == 1


async def test_patience_ends_and_gives_back_what_may_have_been_claimed() -> None:
    """A Redis that does not answer is given up."""
    transport = SlowTransport(5)
    command = Command(0, (b"PING",))
    with pytest.raises(StoreUnavailable):
        await asking(transport).patiently(command, "1", "token")
    release = transport.submitted[-1]
    assert release is not command
    assert "token" in release.arguments
