"""Waiting for answers of Redis."""

import asyncio
import time
from collections.abc import Callable

import pytest

from gateway.domain.errors import StoreUnavailable
from gateway.mailboxes.redis.client.command import RedisCommand
from gateway.mailboxes.redis.commands import CommandFactory
from gateway.mailboxes.redis.executor import (
    MAX_TIMEOUT_FACTOR,
    PROCESS_PAUSE_SECONDS,
    CommandExecutor,
)
from gateway.mailboxes.redis.lua.scripts import load_scripts
from tests.support.stores import KEYS, LETTERS, SIGNATURES
from tests.support.virtual_time import virtual_time

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
        self.submitted: list[RedisCommand] = []
        self.alive = False

    def set_health_callbacks(
        self, on_restart: Callable[[float], None], on_recovery: Callable[[float], None]
    ) -> None:
        """Tell nothing."""

    def submit(self, command: RedisCommand, *, first: bool = False) -> None:
        """Answer later."""
        self.submitted.append(command)
        asyncio.get_running_loop().call_later(self._seconds, self._answer, command)

    def get_last_answer_time(self, shard: int) -> float:
        return time.monotonic() if self.alive else 0

    def is_shard_failing(self, shard: int) -> bool:
        return not self.alive

    def _answer(self, command: RedisCommand) -> None:
        if not command.reply.done():
            command.reply.set_result(1)


def asking(transport: SlowTransport) -> CommandExecutor:
    """Make one that asks through a transport."""
    return CommandExecutor(
        transport,
        CommandFactory(KEYS, load_scripts(), 64, 3, SIGNATURES, LETTERS),
        RealClock(),
        PATIENCE,
        3,
    )


async def test_a_process_that_stood_still_hears_what_was_answered() -> None:
    """Whoever is stopped by a signal reads late what Redis answered in time."""
    transport = SlowTransport(0.01)
    command = RedisCommand(0, (b"PING",))
    put = asyncio.create_task(
        asking(transport).execute(command, "1", "token", has_timeout=True)
    )
    await asyncio.sleep(0)
    time.sleep(PATIENCE + PROCESS_PAUSE_SECONDS + 0.1)
    assert await put == 1
    assert transport.submitted == [command]


@pytest.mark.parametrize("seconds", [1.9 * PATIENCE, 5])
async def test_a_slow_redis_is_waited_for_but_not_for_ever(seconds: float) -> None:
    """It answers others: it is overloaded."""
    transport = SlowTransport(seconds)
    transport.alive = True
    limit = (MAX_TIMEOUT_FACTOR + 1) * PATIENCE
    with virtual_time():
        async with asyncio.timeout(limit):
            put = asking(transport).execute(
                RedisCommand(0, (b"PING",)), has_timeout=True
            )
            if seconds == 5:
                with pytest.raises(StoreUnavailable):
                    await put
            else:
                assert await put == 1


async def test_patience_ends_and_gives_back_what_may_have_been_acquired() -> None:
    """A Redis that does not answer is given up."""
    transport = SlowTransport(5)
    command = RedisCommand(0, (b"PING",))
    with pytest.raises(StoreUnavailable):
        await asking(transport).execute(command, "1", "token", has_timeout=True)
    release = transport.submitted[-1]
    assert release is not command
    assert "token" in release.arguments
