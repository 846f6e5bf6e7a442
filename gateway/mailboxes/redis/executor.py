"""Sends single commands to Redis and waits for their replies, with a timeout.

Concurrency: called from any number of tasks. A caller that is cancelled or times out
leaves no lease behind: a release of its token follows its command on the same
connection.
"""

import asyncio
from collections.abc import Collection
from typing import Any

from gateway.domain.errors import StoreUnavailable
from gateway.domain.ports import Clock
from gateway.mailboxes.redis.client.command import (
    RedisClient,
    RedisCommand,
    consume_exception,
)
from gateway.mailboxes.redis.commands import CommandFactory
from gateway.shared_timer import SharedTimer

PROCESS_PAUSE_SECONDS = 0.5
"""A timer that fires this late means that this process was not running meanwhile."""

MAX_TIMEOUT_FACTOR = 2
"""Upper bound of the wait, as a multiple of the timeout, while Redis still answers
other commands: it is overloaded, not down."""


class CommandExecutor:
    """Sends commands to Redis and waits for their replies.

    Args:
        client: the connections to Redis.
        commands: builds the commands that release leases.
        clock: measures how long Redis has not answered.
        timeout: for how many seconds without any answer of Redis a command with
            `has_timeout` waits; None if it is to wait without a limit.
        lease_seconds: how many seconds a lease lasts.
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
        self._unawaited = SharedTimer(lease_seconds, _cancel_command)
        """Commands for whose replies nobody waits."""
        self._unchecked = SharedTimer(timeout or 0, self._check_first)
        """Commands before their first timeout check."""
        self._timers: dict[RedisCommand, asyncio.TimerHandle] = {}
        """The timers of commands that go on waiting after their first check."""

    async def execute(
        self,
        command: RedisCommand,
        ordering_key: str = "",
        token: str = "",
        *,
        has_timeout: bool = False,
    ) -> Any:  # noqa: ANN401 - any reply
        """Send a command, again if its reply is lost, and return its reply.

        If the caller is cancelled or an error is raised, the lease that the command may
        have acquired is released.

        Args:
            command: the command.
            ordering_key: the key of the mailbox whose lease it may acquire.
            token: the token of that lease; an empty string if it acquires none.
            has_timeout: True to give up after the timeout if Redis answers no command
                at all. While it answers others, it is only slow, and the wait is
                longer: at most `MAX_TIMEOUT_FACTOR` times the timeout. False to wait
                until Redis answers.

        Raises:
            StoreUnavailable: the command timed out and may have had its effect, or
                Redis is full (StoreFull).
            StoreError: Redis refused the command.
        """
        is_timed = has_timeout and self._timeout is not None
        if is_timed:
            self._unchecked.add(command)
        self._client.submit(command)
        try:
            return await command.reply
        except (asyncio.CancelledError, StoreUnavailable):
            if token:
                self.release_orphaned_lease(ordering_key, token)
            raise
        finally:
            if is_timed:
                self._unchecked.remove(command)
                if (timer := self._timers.pop(command, None)) is not None:
                    timer.cancel()

    def fail_pending(self, shards: Collection[int]) -> None:
        """Let all waiting commands with a timeout fail, if they are for these shards.

        Their callers get StoreUnavailable now.
        """
        for command in (*self._unchecked, *self._timers):
            if command.shard in shards:
                _fail_command(command)

    def release_orphaned_lease(self, ordering_key: str, token: str) -> None:
        """Release a lease that an abandoned command may have acquired.

        Does not wait. Has no effect if the token is not the current one.

        Args:
            ordering_key: the key of the mailbox.
            token: the token of the lease.
        """
        # When it is given up, the lease has expired by itself.
        self.submit(self._commands.release(ordering_key, token))

    def submit(self, command: RedisCommand) -> None:
        """Send a command for whose reply nobody waits; its failure is ignored.

        It is given up when a lease would have expired.
        """

        def forget(reply: asyncio.Future[Any]) -> None:
            self._unawaited.remove(command)
            consume_exception(reply)

        self._unawaited.add(command)
        command.reply.add_done_callback(forget)
        self._client.submit(command)

    def _check_first(self, command: RedisCommand, check_at: float) -> None:
        deadline = check_at + (MAX_TIMEOUT_FACTOR - 1) * (self._timeout or 0)
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
        """Fail a command, unless this process was paused or Redis is only slow.

        Args:
            command: the command.
            check_at: the time of this check, by the clock of the event loop.
            deadline: the time after which the command fails in any case.
        """
        now = asyncio.get_running_loop().time()
        timeout = self._timeout or 0
        # After a pause of this process the reply may have arrived without being read.
        process_paused = now - check_at >= PROCESS_PAUSE_SECONDS
        is_failing = self._client.is_shard_failing(command.shard)
        silence = self._clock.uptime() - self._client.get_last_answer_time(
            command.shard
        )
        if process_paused or (now < deadline and not is_failing and silence < timeout):
            self._start_timer(command, now + timeout / 2, deadline)
        else:
            _fail_command(command)


def _cancel_command(command: RedisCommand, _: float) -> None:
    command.reply.cancel()


def _fail_command(command: RedisCommand) -> None:
    if not command.reply.done():
        command.reply.set_exception(StoreUnavailable("Redis does not answer"))
