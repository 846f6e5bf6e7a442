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
from gateway.mailboxes.redis.commands import Command, Commands, Submits, look_at

STOOD_STILL = 0.5
"""A timer that is so many seconds late tells that this process did not run."""

MOST_PATIENCE = 2
"""So many times as long is waited at most, for a Redis that answers others."""


class Asking:
    """Sends commands and waits.

    Args:
        transport: the way to Redis.
        commands: builds releases.
        clock: tells for how long Redis has been silent.
        patience: for how many seconds of silence `patiently` waits. None: for ever.
        lease_seconds: how long a claim lasts.
    """

    def __init__(
        self,
        transport: Submits,
        commands: Commands,
        clock: Clock,
        patience: float | None,
        lease_seconds: float,
    ) -> None:
        self._transport = transport
        self._commands = commands
        self._clock = clock
        self._patience = patience
        self._lease_seconds = lease_seconds
        self._patient: dict[Command, tuple[float, float]] = {}
        """Who waits with patience, the longest first: until when, and when it ends in
        any case, by the loop's time."""
        self._timer: asyncio.TimerHandle | None = None
        """Set for the first of them, or for one that is gone by now: nearly all get
        their answer at once, so that a timer for each would cost more than it does."""
        self._timers: dict[Command, asyncio.TimerHandle] = {}
        """Those who wait on after that have a timer each."""

    async def ask(
        self, command: Command, ordering_key: str = "", token: str = ""
    ) -> Any:  # noqa: ANN401 - as Redis answers
        """Ask until the answer is there.

        Args:
            command: what to ask.
            ordering_key: the lane that it may claim.
            token: the claim's token. Empty: it claims nothing.

        Raises:
            MailboxesUnavailable: Redis is full, or the patience was ended.
        """
        self._transport.submit(command)
        try:
            return await command.reply
        except (asyncio.CancelledError, StoreUnavailable):
            self.let_go(ordering_key, token)
            raise

    async def patiently(
        self, command: Command, ordering_key: str = "", token: str = ""
    ) -> Any:  # noqa: ANN401 - as Redis answers
        """Do the same, as long as the patience lasts.

        A Redis that answers others is overloaded, not gone: nothing is won if memory
        takes what would come to it in time.

        Raises:
            MailboxesUnavailable: it did not, or Redis is full.
        """
        if self._patience is None:
            return await self.ask(command, ordering_key, token)
        loop = asyncio.get_running_loop()
        now = loop.time()
        until = now + self._patience
        self._patient[command] = until, now + MOST_PATIENCE * self._patience
        if self._timer is None:
            self._timer = loop.call_at(until, self._look_at_longest)
        try:
            return await self.ask(command, ordering_key, token)
        finally:
            self._patient.pop(command, None)
            if (timer := self._timers.pop(command, None)) is not None:
                timer.cancel()

    def give_up(self, shards: Collection[int]) -> None:
        """End the patience of all who wait for an answer from these shards."""
        for command in (*self._patient, *self._timers):
            if command.shard in shards:
                _end(command)

    def let_go(self, ordering_key: str, token: str) -> None:
        """Give back what a command may have claimed whose caller went away."""
        if not token:
            return
        command = self._commands.release(ordering_key, token)
        command.reply.add_done_callback(look_at)
        # Later the lease has run out.
        loop = asyncio.get_running_loop()
        loop.call_later(self._lease_seconds, command.reply.cancel)
        self._transport.submit(command)

    def _look_at_longest(self) -> None:
        """End the patience of those who wait longest."""
        loop = asyncio.get_running_loop()
        self._timer = None
        for command, (until, end) in list(self._patient.items()):
            if until > loop.time():
                self._timer = loop.call_at(until, self._look_at_longest)
                return
            del self._patient[command]
            self._lose_patience(command, until, end)

    def _wait(self, command: Command, until: float, end: float) -> None:
        loop = asyncio.get_running_loop()
        timer = loop.call_at(until, self._lose_patience, command, until, end)
        self._timers[command] = timer

    def _lose_patience(self, command: Command, until: float, end: float) -> None:
        """End the patience, unless it was not Redis that was silent."""
        now = asyncio.get_running_loop().time()
        patience = self._patience or 0
        stood_still = now - until >= STOOD_STILL  # the answer may be there, unread
        failing = self._transport.failing_at(command.shard)
        answered = self._clock.uptime() - self._transport.answered(command.shard)
        if stood_still or (now < end and not failing and answered < patience):
            self._wait(command, now + patience / 2, end)
        else:
            _end(command)


def _end(command: Command) -> None:
    if not command.reply.done():
        command.reply.set_exception(StoreUnavailable("Redis does not answer"))
