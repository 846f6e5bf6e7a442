"""Waiting for the answers of Redis, and not for ever.

Concurrency: called from any number of tasks. A caller that is cancelled, or gives up,
can leave no claim behind: a release of its token follows its command on the same
connection.
"""

import asyncio
from collections.abc import Collection
from typing import Any

from gateway.domain.errors import MailboxesUnavailable
from gateway.mailboxes.commands import Command, Commands, Submits, look_at

STOOD_STILL = 0.5
"""A timer that is so many seconds late tells that this process did not run."""

MOST_PATIENCE = 3
"""So many times as long is waited at most, for a Redis that answers others."""


class Asking:
    """Sends commands and waits.

    Args:
        transport: the way to Redis.
        commands: builds releases.
        patience: for how many seconds of silence `patiently` waits. None: for ever.
        lease_seconds: how long a claim lasts.
    """

    def __init__(
        self,
        transport: Submits,
        commands: Commands,
        patience: float | None,
        lease_seconds: float,
    ) -> None:
        self._transport = transport
        self._commands = commands
        self._patience = patience
        self._lease_seconds = lease_seconds
        self._timers: dict[Command, asyncio.TimerHandle] = {}
        """Ends the patience of those who wait."""

    async def ask(self, command: Command, lane: str = "", token: str = "") -> Any:  # noqa: ANN401 - as Redis answers
        """Ask until the answer is there.

        Args:
            command: what to ask.
            lane: the lane that it may claim.
            token: the claim's token. Empty: it claims nothing.

        Raises:
            MailboxesUnavailable: Redis is full, or the patience was ended.
        """
        self._transport.submit(command)
        try:
            return await command.reply
        except (asyncio.CancelledError, MailboxesUnavailable):
            self.let_go(lane, token)
            raise

    async def patiently(self, command: Command, lane: str = "", token: str = "") -> Any:  # noqa: ANN401 - as Redis answers
        """Do the same, as long as the patience lasts.

        A Redis that answers others is overloaded, not gone: nothing is won if memory
        takes what would come to it in time.

        Raises:
            MailboxesUnavailable: it did not, or Redis is full.
        """
        if self._patience is None:
            return await self.ask(command, lane, token)
        now = asyncio.get_running_loop().time()
        self._wait(command, now + self._patience, now + MOST_PATIENCE * self._patience)
        try:
            return await self.ask(command, lane, token)
        finally:
            self._timers.pop(command).cancel()

    def give_up(self, shards: Collection[int]) -> None:
        """End the patience of all who wait for an answer from these shards."""
        for command in self._timers:
            if command.shard in shards:
                _end(command)

    def let_go(self, lane: str, token: str) -> None:
        """Give back what a command may have claimed whose caller went away."""
        if not token:
            return
        command = self._commands.release(lane, token)
        command.reply.add_done_callback(look_at)
        # Later the lease has run out.
        loop = asyncio.get_running_loop()
        loop.call_later(self._lease_seconds, command.reply.cancel)
        self._transport.submit(command)

    def _wait(self, command: Command, until: float, end: float) -> None:
        loop = asyncio.get_running_loop()
        timer = loop.call_at(until, self._lose_patience, command, until, end)
        self._timers[command] = timer

    def _lose_patience(self, command: Command, until: float, end: float) -> None:
        """End the patience, unless it was not Redis that was silent."""
        now = asyncio.get_running_loop().time()
        patience = self._patience or 0
        stood_still = now - until >= STOOD_STILL  # the answer may be there, unread
        answers = now < end and self._transport.answers(command.shard, patience)
        if stood_still or answers:
            self._wait(command, now + patience / 2, end)
        else:
            _end(command)


def _end(command: Command) -> None:
    if not command.reply.done():
        command.reply.set_exception(MailboxesUnavailable("Redis does not answer"))
