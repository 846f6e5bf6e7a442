"""Waiting for the answers of Redis, and not for ever.

Concurrency: called from any number of tasks. A caller that is cancelled, or gives up,
can leave no claim behind: a release of its token follows its command on the same
connection.
"""

import asyncio
from collections.abc import Collection
from typing import Any

from gateway.domain.errors import StoreUnavailable
from gateway.domain.ports import Clock
from gateway.mailboxes.redis.commands import (
    CommandFactory,
    RedisClient,
    RedisCommand,
    consume_exception,
)

PROCESS_PAUSE_SECONDS = 0.5
"""A timer that is so many seconds late tells that this process did not run."""

MAX_TIMEOUT_FACTOR = 2
"""So many times as long is waited at most, for a Redis that answers others."""


class CommandExecutor:
    """Sends commands and waits.

    Args:
        transport: the way to Redis.
        commands: builds releases.
        clock: tells for how long Redis has been silent.
        patience: for how many seconds of silence `execute_with_timeout` waits. None:
            for ever.
        lease_seconds: how long a claim lasts.
    """

    def __init__(
        self,
        client: RedisClient,
        commands: CommandFactory,
        clock: Clock,
        timeout: float | None,
        lease_seconds: float,
    ) -> None:
        self._client = client
        self._commands = commands
        self._clock = clock
        self._timeout = timeout
        self._lease_seconds = lease_seconds
        self._patient: dict[RedisCommand, tuple[float, float]] = {}
        """Who waits with patience, the longest first: until when, and when it ends in
        any case, by the loop's time."""
        self._timer: asyncio.TimerHandle | None = None
        """Set for the first of them, or for one that is gone by now: nearly all get
        their answer at once, so that a timer for each would cost more than it does."""
        self._timers: dict[RedisCommand, asyncio.TimerHandle] = {}
        """Those who wait on after that have a timer each."""

    async def execute(
        self, command: RedisCommand, ordering_key: str = "", token: str = ""
    ) -> Any:  # noqa: ANN401 - as Redis answers
        """Ask until the answer is there.

        Args:
            command: what to ask.
            ordering_key: the lane that it may claim.
            token: the claim's token. Empty: it claims nothing.

        Raises:
            StoreUnavailable: Redis is full, or the patience was ended.
        """
        self._client.submit(command)
        try:
            return await command.reply
        except (asyncio.CancelledError, StoreUnavailable):
            self.release_orphaned_lease(ordering_key, token)
            raise

    async def execute_with_timeout(
        self, command: RedisCommand, ordering_key: str = "", token: str = ""
    ) -> Any:  # noqa: ANN401 - as Redis answers
        """Do the same, as long as the patience lasts.

        A Redis that answers others is overloaded, not gone: nothing is won if memory
        takes what would come to it in time.

        Raises:
            StoreUnavailable: it did not, or Redis is full.
        """
        if self._timeout is None:
            return await self.execute(command, ordering_key, token)
        loop = asyncio.get_running_loop()
        now = loop.time()
        check_at = now + self._timeout
        self._patient[command] = check_at, now + MAX_TIMEOUT_FACTOR * self._timeout
        if self._timer is None:
            self._timer = loop.call_at(check_at, self._look_at_longest)
        try:
            return await self.execute(command, ordering_key, token)
        finally:
            self._patient.pop(command, None)
            if (timer := self._timers.pop(command, None)) is not None:
                timer.cancel()

    def fail_pending(self, shards: Collection[int]) -> None:
        """End the patience of all who wait for an answer from these shards."""
        for command in (*self._patient, *self._timers):
            if command.shard in shards:
                _fail_command(command)

    def release_orphaned_lease(self, ordering_key: str, token: str) -> None:
        """Give back what a command may have claimed whose caller went away."""
        if not token:
            return
        command = self._commands.release(ordering_key, token)
        command.reply.add_done_callback(consume_exception)
        # Later the lease has run out.
        loop = asyncio.get_running_loop()
        loop.call_later(self._lease_seconds, command.reply.cancel)
        self._client.submit(command)

    def _look_at_longest(self) -> None:
        """End the patience of those who wait longest."""
        loop = asyncio.get_running_loop()
        self._timer = None
        for command, (check_at, deadline) in list(self._patient.items()):
            if check_at > loop.time():
                self._timer = loop.call_at(check_at, self._look_at_longest)
                return
            del self._patient[command]
            self._check_timeout(command, check_at, deadline)

    def _start_timer(
        self, command: RedisCommand, check_at: float, deadline: float
    ) -> None:
        loop = asyncio.get_running_loop()
        timer = loop.call_at(check_at, self._check_timeout, command, check_at, deadline)
        self._timers[command] = timer

    def _check_timeout(
        self, command: RedisCommand, check_at: float, deadline: float
    ) -> None:
        """End the patience, unless it was not Redis that was silent."""
        now = asyncio.get_running_loop().time()
        timeout = self._timeout or 0
        process_paused = (
            now - check_at >= PROCESS_PAUSE_SECONDS
        )  # the answer may be there, unread
        is_failing = self._client.is_shard_failing(command.shard)
        silence = self._clock.uptime() - self._client.get_last_answer_time(
            command.shard
        )
        if process_paused or (now < deadline and not is_failing and silence < timeout):
            self._start_timer(command, now + timeout / 2, deadline)
        else:
            _fail_command(command)


def _fail_command(command: RedisCommand) -> None:
    if not command.reply.done():
        command.reply.set_exception(StoreUnavailable("Redis does not answer"))
