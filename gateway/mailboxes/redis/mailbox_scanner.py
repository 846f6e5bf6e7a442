"""The scan: a worker's regular search of all shards for claimable mailboxes."""

import asyncio
import logging
import random
from collections.abc import Collection, Sequence
from functools import partial
from secrets import token_hex
from typing import Any

from gateway.domain.ports import Clock
from gateway.mailboxes.redis.client.command import (
    RedisClient,
    RedisCommand,
    execute_all,
)
from gateway.mailboxes.redis.client.connection import ServerTimeCallback
from gateway.mailboxes.redis.client.shards import SHARD_COUNT, TIME_SHARD
from gateway.mailboxes.redis.commands import CommandFactory
from gateway.mailboxes.redis.replay_buffer import ReplayBuffer
from gateway.observability.logging import RateLimitedLogger, summarize_error

SAMPLING_THRESHOLD = 256
"""The number of claimable mailboxes beyond which a scan covers only a few shards.

Otherwise all workers would compete for the same oldest mailboxes, and each of those can
be acquired only once.
"""

SAMPLED_SHARDS = 8

REPLY_TIMEOUT_SECONDS = 1.0
"""How long a scan waits for the shards. Those that have not answered are skipped."""

TRIM_INTERVAL_SECONDS = 3600.0
"""The interval between removals of dead letters whose retention time is over."""


logger = logging.getLogger(__name__)


class MailboxScanner:
    """Searches the shards for claimable mailboxes, in random order.

    Each scan also counts mailboxes and dead letters, looks for due deliveries and
    reports, reports the time of Redis, removes old dead letters once per
    `TRIM_INTERVAL_SECONDS`, and tells the replay buffer about shards that were emptied.
    """

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
        """The longest time, in seconds, for which a mailbox had been claimable at the
        last scan."""
        self._counts: dict[int, tuple[int, int, int]] = {}
        """The numbers of mailboxes with updates, dead letters and rejected letters, by
        shard, at its last scan."""
        self.shards_with_due_deliveries: set[int] = set()
        """The shards that had due scheduled deliveries at their last scan."""
        self.shards_with_reports: set[int] = set()
        """The shards that had reports at their last scan."""

    @property
    def mailbox_count(self) -> int:
        """The number of mailboxes with updates, of all workers, at the last scan."""
        return sum(ordering_keys for ordering_keys, _, _ in self._counts.values())

    @property
    def dead_letter_count(self) -> int:
        """The number of dead letters at the last scan, without rejected bodies."""
        return sum(dead_letters for _, dead_letters, _ in self._counts.values())

    @property
    def rejected_count(self) -> int:
        """The number of malformed or forged bodies at the last scan."""
        return sum(rejected for _, _, rejected in self._counts.values())

    async def find_claimable(
        self, limit: int, skipped_bots: Collection[str] = ()
    ) -> Sequence[str]:
        """Scan the shards, and return claimable mailboxes, longest waiting first.

        The arguments are those of `MailboxStore.claimable`. With more than
        `SAMPLING_THRESHOLD` claimable mailboxes only some shards are scanned, so that
        the order is approximate. Shards that do not answer within
        `REPLY_TIMEOUT_SECONDS` are left out.

        Raises:
            StoreError: Redis refused the command in every shard that answered.
        """
        shards = random.sample(range(SHARD_COUNT), SHARD_COUNT)
        found: list[tuple[float, str]] = []
        if self._is_sampling:
            per_shard = limit // SAMPLED_SHARDS + 1
            found = await self._scan_shards(
                shards[:SAMPLED_SHARDS], per_shard, skipped_bots
            )
        if len(found) < limit:
            found = await self._scan_shards(
                shards, min(limit, SAMPLING_THRESHOLD), skipped_bots
            )
            self._is_sampling = len(found) > SAMPLING_THRESHOLD
        found.sort()
        self.longest_wait = -found[0][0] / 1000 if found else 0.0
        return [ordering_key for _, ordering_key in found[:limit]]

    async def _scan_shards(
        self, shards: Sequence[int], limit: int, skipped_bots: Collection[str]
    ) -> list[tuple[float, str]]:
        """Find claimable mailboxes, at most `limit` per shard.

        Returns:
            Pairs of the negative waiting time in ms and the ordering key.
        """
        new_generation = token_hex(8)
        trim = len(shards) == SHARD_COUNT and self._clock.uptime() >= self._trim_at
        if trim:
            self._trim_at = self._clock.uptime() + TRIM_INTERVAL_SECONDS
        commands = [
            self._commands.list_claimable(
                shard, limit, new_generation, trim=trim, skipped_bots=skipped_bots
            )
            for shard in shards
        ]
        for command in commands:
            if command.shard == TIME_SHARD:
                # In a callback, because other shards may answer much later.
                command.reply.add_done_callback(
                    partial(self._report_server_time, command)
                )
        await execute_all(self._client, commands, REPLY_TIMEOUT_SECONDS)
        found = []
        generations = []
        for command in self._select_readable(commands):
            reply = command.reply.result()
            generation, count, dead_letters, rejected, now, ordering_keys = reply[:6]
            due_deliveries, reports = reply[6:]
            self._counts[command.shard] = count, dead_letters, rejected
            _mark(self.shards_with_due_deliveries, command.shard, due_deliveries)
            _mark(self.shards_with_reports, command.shard, reports)
            generations.append((command.shard, generation))
            for ordering_key, claimable_at in zip(
                ordering_keys[::2], ordering_keys[1::2], strict=True
            ):
                # No gateway writes a key that is not UTF-8 or a time that is not an
                # integer. A key that is altered by decoding has no updates.
                found.append(
                    (float(claimable_at) - now, ordering_key.decode(errors="replace"))
                )
        self._replay_buffer.detect_data_loss(generations)
        return found

    def _select_readable(self, commands: Sequence[RedisCommand]) -> list[RedisCommand]:
        """Return the commands that succeeded.

        A shard that cannot be read, for example because something else wrote to its
        keys, must not hide the mailboxes of the other shards.

        Raises:
            Exception: no shard could be read; this is the first failure.
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
                "mailbox_scan_failed",
                error=summarize_error(failure),
            )
        return readable

    def _report_server_time(
        self, command: RedisCommand, reply: asyncio.Future[Any]
    ) -> None:
        if reply.cancelled() or reply.exception() is not None:
            return
        milliseconds = reply.result()[4]
        # The script truncates its time to milliseconds.
        server_time = (milliseconds + 0.5) / 1000
        self._on_server_time(server_time, command.sent_at, self._clock.uptime())


def _mark(shards: set[int], shard: int, count: int) -> None:
    """Add a shard if the count is not 0, otherwise remove it."""
    if count:
        shards.add(shard)
    else:
        shards.discard(shard)
