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
"""A timer that is so late tells that this process was stopped meanwhile."""


class Asking:
    """Sends commands and waits.

    Args:
        transport: the way to Redis.
        commands: builds releases.
        patience: for how many seconds `patiently` tries. None: for ever.
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
        self._patient: set[Command] = set()

    async def ask(self, command: Command, lane: str = "", token: str = "") -> Any:  # noqa: ANN401 - as Redis answers
        """Ask until the answer is there.

        Args:
            command: what to ask.
            lane: the lane that it may claim.
            token: the claim's token. Empty: it claims nothing.

        Raises:
            MailboxesUnavailable: Redis is full, or `give_up` was called.
        """
        try:
            return await self._answer(command)
        except (asyncio.CancelledError, MailboxesUnavailable):
            self.let_go(lane, token)
            raise

    async def patiently(self, command: Command, lane: str = "", token: str = "") -> Any:  # noqa: ANN401 - as Redis answers
        """Do the same, as long as the patience lasts.

        Raises:
            MailboxesUnavailable: it did not, or Redis is full.
        """
        loop = asyncio.get_running_loop()
        began = loop.time()
        self._patient.add(command)
        try:
            try:
                async with asyncio.timeout(self._patience):
                    return await self._answer(command)
            except TimeoutError:
                if loop.time() - began < (self._patience or 0) + STOOD_STILL:
                    raise
            # It was not Redis that did not answer, but we who did not listen. Under the
            # same token a repetition gives the same claim.
            command.reply = loop.create_future()
            async with asyncio.timeout(self._patience):
                return await self._answer(command)
        except TimeoutError:
            self.let_go(lane, token)
            raise MailboxesUnavailable("Redis does not answer") from None
        except (asyncio.CancelledError, MailboxesUnavailable):
            self.let_go(lane, token)
            raise
        finally:
            self._patient.discard(command)

    async def _answer(self, command: Command) -> Any:  # noqa: ANN401 - as Redis answers
        self._transport.submit(command)
        return await command.reply

    def give_up(self, shards: Collection[int]) -> None:
        """End the patience of all who wait for an answer from these shards."""
        for command in self._patient:
            if command.shard in shards and not command.reply.done():
                error = MailboxesUnavailable("Redis does not answer")
                command.reply.set_exception(error)

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
