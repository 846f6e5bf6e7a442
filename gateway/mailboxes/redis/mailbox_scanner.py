"""Finding the lanes that nobody works on."""

import asyncio
import logging
import random
from collections.abc import Sequence
from functools import partial
from secrets import token_hex
from typing import Any

from gateway.domain.ports import Clock
from gateway.mailboxes.redis.commands import (
    CommandFactory,
    RedisClient,
    RedisCommand,
    execute_all,
)
from gateway.mailboxes.redis.keys import ALL_SHARDS, SHARD_COUNT, ShardKeys
from gateway.mailboxes.redis.replay_buffer import ReplayBuffer
from gateway.mailboxes.redis.store_clock import TIME_SHARD, ServerTimeCallback
from gateway.observability.logging import RateLimitedLogger, summarize_error

SAMPLING_THRESHOLD = 256
"""Where more lanes wait, they are looked for in a few shards at a time.

All workers would else go for the very same oldest lanes, of which each can be claimed
once.
"""

SAMPLED_SHARDS = 8

REPLY_TIMEOUT_SECONDS = 1.0
"""Seconds after which the shards that do not answer are left out."""

TRIM_INTERVAL_SECONDS = 3600.0
"""How often dead letters that have been kept for long enough are removed."""


logger = logging.getLogger(__name__)


class MailboxScanner:
    """Looks for waiting lanes in the shards, in random order."""

    def __init__(
        self,
        client: RedisClient,
        commands: CommandFactory,
        replay_buffer: ReplayBuffer,
        clock: Clock,
        on_server_time: ServerTimeCallback,
    ) -> None:
        self._client = client
        self._clock = clock
        self._on_server_time = on_server_time
        self._commands = commands
        self._replay_buffer = replay_buffer
        self._trim_at = 0.0
        self._is_sampling = False
        self._log = RateLimitedLogger(logger)
        self.longest_wait = 0.0
        """For how many seconds the lane that waits longest waited, when last seen."""
        self._counts: dict[int, tuple[int, int, int]] = {}
        """Lanes with mail, dead and rejected letters by shard, when last seen."""

    @property
    def mailbox_count(self) -> int:
        """How many lanes had mail, claimed or not."""
        return sum(ordering_keys for ordering_keys, _, _ in self._counts.values())

    @property
    def dead_letter_count(self) -> int:
        """How many dead letters there were."""
        return sum(dead_letters for _, dead_letters, _ in self._counts.values())

    @property
    def rejected_count(self) -> int:
        """How many rejected letters there were."""
        return sum(rejected for _, _, rejected in self._counts.values())

    async def find_claimable(self, limit: int) -> Sequence[str]:
        """List waiting lanes, longest waiting first; roughly so where plenty wait."""
        shards = random.sample(ALL_SHARDS, SHARD_COUNT)
        found: list[tuple[float, str]] = []
        if self._is_sampling:
            per_shard = limit // SAMPLED_SHARDS + 1
            found = await self._scan_shards(shards[:SAMPLED_SHARDS], per_shard)
        if len(found) < limit:
            found = await self._scan_shards(shards, min(limit, SAMPLING_THRESHOLD))
            self._is_sampling = len(found) > SAMPLING_THRESHOLD
        found.sort()
        self.longest_wait = -found[0][0] / 1000 if found else 0.0
        return [ordering_key for _, ordering_key in found[:limit]]

    async def _scan_shards(
        self, shards: Sequence[ShardKeys], limit: int
    ) -> list[tuple[float, str]]:
        """Find waiting lanes, at most `limit` per shard, each with minus its wait."""
        new_generation = token_hex(8)
        trim = len(shards) == SHARD_COUNT and self._clock.uptime() >= self._trim_at
        if trim:
            self._trim_at = self._clock.uptime() + TRIM_INTERVAL_SECONDS
        commands = [
            self._commands.list_claimable(shard, limit, new_generation, trim=trim)
            for shard in shards
        ]
        for command in commands:
            if command.shard == TIME_SHARD:
                # In this callback, because others may be answered much later.
                command.reply.add_done_callback(
                    partial(self._report_server_time, command)
                )
        await execute_all(self._client, commands, REPLY_TIMEOUT_SECONDS)
        found = []
        generations = []
        for command in self._select_readable(commands):
            generation, count, dead_letters, rejected, now, ordering_keys = (
                command.reply.result()
            )
            self._counts[command.shard] = count, dead_letters, rejected
            generations.append((command.shard, generation))
            for ordering_key, claimable_at in zip(
                ordering_keys[::2], ordering_keys[1::2], strict=True
            ):
                # Only a stranger writes one that is not UTF-8, which has no mail, or a
                # time that is no whole number.
                found.append(
                    (float(claimable_at) - now, ordering_key.decode(errors="replace"))
                )
        self._replay_buffer.detect_data_loss(generations)
        return found

    def _select_readable(self, commands: Sequence[RedisCommand]) -> list[RedisCommand]:
        """Select the commands that were answered.

        A shard that cannot be read, because somebody else wrote there, must not hide
        the mail of the others.

        Raises:
            Exception: none could be read; the first failure.
        """
        answered = [command for command in commands if not command.reply.cancelled()]
        failures = [command.reply.exception() for command in answered]
        readable = [
            command
            for command, failure in zip(answered, failures, strict=True)
            if not failure
        ]
        for failure in filter(None, failures):
            if not readable:
                raise failure
            self._log.log(
                logging.ERROR,
                "mailboxes cannot be read",
                error=summarize_error(failure),
            )
        return readable

    def _report_server_time(
        self, command: RedisCommand, reply: asyncio.Future[Any]
    ) -> None:
        if reply.cancelled() or reply.exception() is not None:
            return
        _, _, _, _, milliseconds, _ = reply.result()
        # Redis cuts its time to whole milliseconds.
        server_time = (milliseconds + 0.5) / 1000
        self._on_server_time(server_time, command.sent_at, self._clock.uptime())
