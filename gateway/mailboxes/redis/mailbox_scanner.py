"""Finding the lanes that nobody works on."""

import asyncio
import logging
import random
from collections.abc import Sequence
from functools import partial
from secrets import token_hex
from typing import Any

from gateway.domain.ports import Clock
from gateway.logs import RateLimitedLog, describe
from gateway.mailboxes.redis.commands import Command, Commands, Submits, ask_all
from gateway.mailboxes.redis.keys import ALL_SHARDS, SHARDS, Shard
from gateway.mailboxes.redis.replay_buffer import Recovery
from gateway.mailboxes.redis.store_clock import TIME_SHARD, LearnTime

PLENTY = 256
"""Where more lanes wait, they are looked for in a few shards at a time.

All workers would else go for the very same oldest lanes, of which each can be claimed
once.
"""

FEW_SHARDS = 8

PATIENCE = 1.0
"""Seconds after which the shards that do not answer are left out."""

TRIM_SECONDS = 3600.0
"""How often dead letters that have been kept for long enough are removed."""


logger = logging.getLogger(__name__)


class Sweep:
    """Looks for waiting lanes in the shards, in random order."""

    def __init__(
        self,
        transport: Submits,
        commands: Commands,
        recovery: Recovery,
        clock: Clock,
        learn_time: LearnTime,
    ) -> None:
        self._transport = transport
        self._clock = clock
        self._learn_time = learn_time
        self._commands = commands
        self._recovery = recovery
        self._trim_at = 0.0
        self._plenty = False
        self._log = RateLimitedLog(logger)
        self.longest_wait = 0.0
        """For how many seconds the lane that waits longest waited, when last seen."""
        self._counts: dict[int, tuple[int, int, int]] = {}
        """Lanes with mail, dead and rejected letters by shard, when last seen."""

    @property
    def lanes(self) -> int:
        """How many lanes had mail, claimed or not."""
        return sum(ordering_keys for ordering_keys, _, _ in self._counts.values())

    @property
    def letters(self) -> int:
        """How many dead letters there were."""
        return sum(dead_letters for _, dead_letters, _ in self._counts.values())

    @property
    def rejected(self) -> int:
        """How many rejected letters there were."""
        return sum(rejected for _, _, rejected in self._counts.values())

    async def find(self, limit: int) -> Sequence[str]:
        """List waiting lanes, longest waiting first; roughly so where plenty wait."""
        shards = random.sample(ALL_SHARDS, SHARDS)
        found: list[tuple[float, str]] = []
        if self._plenty:
            each = limit // FEW_SHARDS + 1
            found = await self._find_in(shards[:FEW_SHARDS], each)
        if len(found) < limit:
            found = await self._find_in(shards, min(limit, PLENTY))
            self._plenty = len(found) > PLENTY
        found.sort()
        self.longest_wait = -found[0][0] / 1000 if found else 0.0
        return [ordering_key for _, ordering_key in found[:limit]]

    async def _find_in(
        self, shards: Sequence[Shard], limit: int
    ) -> list[tuple[float, str]]:
        """Find waiting lanes, at most `limit` per shard, each with minus its wait."""
        marker = token_hex(8)
        trim = len(shards) == SHARDS and self._clock.uptime() >= self._trim_at
        if trim:
            self._trim_at = self._clock.uptime() + TRIM_SECONDS
        commands = [
            self._commands.waiting(shard, limit, marker, trim=trim) for shard in shards
        ]
        for command in commands:
            if command.shard == TIME_SHARD:
                # In this callback, because others may be answered much later.
                command.reply.add_done_callback(partial(self._note_time, command))
        await ask_all(self._transport, commands, PATIENCE)
        found = []
        markers = []
        for command in self._readable(commands):
            seen, count, dead_letters, rejected, now, ordering_keys = (
                command.reply.result()
            )
            self._counts[command.shard] = count, dead_letters, rejected
            markers.append((command.shard, seen))
            for ordering_key, due in zip(
                ordering_keys[::2], ordering_keys[1::2], strict=True
            ):
                # Only a stranger writes one that is not UTF-8, which has no mail, or a
                # time that is no whole number.
                found.append((float(due) - now, ordering_key.decode(errors="replace")))
        self._recovery.compare(markers)
        return found

    def _readable(self, commands: Sequence[Command]) -> list[Command]:
        """Select the commands that were answered.

        A shard that cannot be read, because somebody else wrote there, must not hide
        the mail of the others.

        Raises:
            Exception: none could be read; the first failure.
        """
        answered = [it for it in commands if not it.reply.cancelled()]
        failures = [it.reply.exception() for it in answered]
        readable = [
            it for it, failure in zip(answered, failures, strict=True) if not failure
        ]
        for failure in filter(None, failures):
            if not readable:
                raise failure
            self._log.log(
                logging.ERROR, "mailboxes cannot be read", error=describe(failure)
            )
        return readable

    def _note_time(self, command: Command, reply: asyncio.Future[Any]) -> None:
        if reply.cancelled() or reply.exception() is not None:
            return
        _, _, _, _, milliseconds, _ = reply.result()
        # Redis cuts its time to whole milliseconds.
        server_time = (milliseconds + 0.5) / 1000
        self._learn_time(server_time, command.sent, self._clock.uptime())
