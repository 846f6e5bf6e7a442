"""Access to the dead letters in Redis, for an operator: list, read, replay, delete.

Concurrency: one caller sends one command after another. Workers may add dead letters
and other operators may replay at the same time, because repeated puts and removals have
no effect.
"""

import asyncio
import re
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager
from heapq import heappop, heappush
from itertools import product
from typing import Any, NamedTuple, Self

from gateway.background import BackgroundTasks
from gateway.domain.delivery import Delivery
from gateway.domain.errors import StoreUnavailable
from gateway.domain.mailbox_lease import LEASE_SECONDS
from gateway.domain.ports import Clock
from gateway.domain.update import DeadLetter, Envelope
from gateway.mailboxes.dead_letter_listing import (
    DeadLetterSelection,
    DeadLetterSummary,
    summarize,
)
from gateway.mailboxes.delivery_serialization import decode_record
from gateway.mailboxes.redis.client.cluster import ClusterClient
from gateway.mailboxes.redis.client.command import RedisClient, RedisCommand
from gateway.mailboxes.redis.client.connection_factory import (
    make_checked_connection_factory,
)
from gateway.mailboxes.redis.client.shards import SHARD_COUNT
from gateway.mailboxes.redis.commands import CommandFactory
from gateway.mailboxes.redis.delivery_commands import DeliveryCommandFactory
from gateway.mailboxes.redis.keys import RedisKeys
from gateway.mailboxes.redis.lua.scripts import load_scripts
from gateway.mailboxes.serialization import (
    DEFAULT_SHARD_LIMITS,
    decode_dead_letter,
    verify_dead_letter,
)
from gateway.mailboxes.signatures import StoreSignatures

REPLY_TIMEOUT_SECONDS = 2.0
"""How long to wait for the reply to one command."""

PAGE_SIZE = 50
"""The number of dead letters read at once. Each has a body, of up to half a MiB if it
came from Telegram."""


class DeadLetterId(NamedTuple):
    """The id of a dead letter in Redis. Ids sort by the time of adding.

    `str` returns the text that people use, and `parse` reads it.
    """

    added_ms: int
    """The time at which Redis added it, in milliseconds since the epoch."""
    sequence: int
    """A counter for entries of the same stream and millisecond."""
    shard: int
    is_rejected: bool = False
    """Whether it is among the rejected letters, which never were updates."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse the text that `str` returns for an id.

        Raises:
            ValueError: the text is not an id.
        """
        match = re.fullmatch(r"(r?)(\d{1,2})-(\d{1,20})-(\d{1,20})", text, re.ASCII)
        if match is None or int(match[2]) >= SHARD_COUNT:
            raise ValueError("not the id of a dead letter")
        return cls(int(match[3]), int(match[4]), int(match[2]), bool(match[1]))

    @property
    def entry_id(self) -> str:
        """The id of the entry in the Redis stream that contains the dead letter."""
        return f"{self.added_ms}-{self.sequence}"

    def __str__(self) -> str:
        return f"{'r' if self.is_rejected else ''}{self.shard}-{self.entry_id}"

    def with_entry(self, entry: str) -> Self:
        """Return the id of another dead letter in the same stream.

        Args:
            entry: the id of the entry in the stream, as Redis returns it.
        """
        milliseconds, _, number = entry.partition("-")
        return self._replace(added_ms=int(milliseconds), sequence=int(number))


_Page = list[tuple[DeadLetterId, DeadLetter]]


@asynccontextmanager
async def open_dead_letters(
    url: str, key_prefix: str, clock: Clock, signatures: StoreSignatures
) -> AsyncIterator["RedisDeadLetters"]:
    """Connect to the dead letters in Redis until the end of the block.

    Does not wait for the connection: if Redis does not answer, the first method that is
    called raises StoreUnavailable.

    Args:
        url: the URL of the server, of its Sentinels, or of any node of a Cluster; see
            `make_connection_factory`.
        key_prefix: the first part of every key.
        clock: the clock of this machine.
        signatures: verifies dead letters that are read, and signs replayed updates.

    Raises:
        ConfigurationError: the URL is invalid.
    """
    make_checked_connection_factory(url)
    scripts, keys = load_scripts(), RedisKeys(key_prefix)
    async with (
        BackgroundTasks() as background,
        ClusterClient(url, scripts.sources, clock, background=background) as client,
    ):
        # The limits have no effect: no lease, limited put or dead letter is made here.
        options = keys, scripts, 1, LEASE_SECONDS, signatures, DEFAULT_SHARD_LIMITS
        yield RedisDeadLetters(
            client,
            keys,
            CommandFactory(*options),
            DeliveryCommandFactory(*options),
            signatures,
            clock,
        )


class RedisDeadLetters:
    """Lists, reads, replays and removes the dead letters of all shards.

    Every method raises `StoreUnavailable` if Redis is full or does not answer within
    `REPLY_TIMEOUT_SECONDS`.
    """

    def __init__(
        self,
        client: RedisClient,
        keys: RedisKeys,
        commands: CommandFactory,
        delivery_commands: DeliveryCommandFactory,
        signatures: StoreSignatures,
        clock: Clock,
    ) -> None:
        self._client = client
        self._keys = keys
        self._commands = commands
        self._delivery_commands = delivery_commands
        self._signatures = signatures
        self._clock = clock

    async def list_summaries(
        self,
        *,
        reason: str | None = None,
        bot_ids: Collection[int] | None = None,
        limit: int | None = None,
    ) -> list[DeadLetterSummary]:
        """List dead letters, oldest first, without verifying their signatures.

        Args:
            reason: list only dead letters with this reason; None lists all.
            bot_ids: list only dead letters of these bots, and those of no bot because
                their body could not be read; None lists all.
            limit: the maximum number to list; None lists all.
        """
        heads: list[tuple[DeadLetterId, DeadLetterSummary, _StreamCursor]] = []
        summaries: list[DeadLetterSummary] = []
        selection = DeadLetterSelection(
            reason, None if bot_ids is None else frozenset(map(str, bot_ids))
        )
        for shard, is_rejected in product(range(SHARD_COUNT), (False, True)):
            start = DeadLetterId(0, 0, shard, is_rejected)
            cursor = _StreamCursor(start, self._read_page, selection)
            await _advance_cursor(heads, cursor)
        while heads and (limit is None or len(summaries) < limit):
            _, summary, cursor = heappop(heads)
            summaries.append(summary)
            await _advance_cursor(heads, cursor)
        return summaries

    async def get(self, dead_letter_id: DeadLetterId) -> DeadLetter | None:
        """Return a dead letter with its body; None if there is none with this id.

        Raises:
            ForgedEntry: no gateway with our secrets wrote it.
        """
        entries = await self._read_entries(dead_letter_id, dead_letter_id.entry_id)
        if not entries:
            return None
        _, fields = entries[0]
        verify_dead_letter(fields, self._signatures)
        return decode_dead_letter(fields)

    async def delete(self, dead_letter_id: DeadLetterId) -> bool:
        """Remove a dead letter.

        Returns:
            True if it was removed; False if there is none with this id.
        """
        return bool(
            await self._execute_on_stream(
                dead_letter_id, b"XDEL", dead_letter_id.entry_id
            )
        )

    async def replay(self, dead_letter_id: DeadLetterId, envelope: Envelope) -> None:
        """Put an update back into its mailbox, then remove its dead letter.

        The mailbox may be full. The next scan of a worker finds the update. Nothing is
        lost if this is interrupted: at worst the update is in both places, and the
        repeated put of a second replay has no effect.

        Args:
            dead_letter_id: the id of the dead letter.
            envelope: the update, with None as its time of arrival, so that it does not
                expire.
        """
        await self._execute(self._commands.put(envelope, "", enforce_limit=False))
        await self.delete(dead_letter_id)

    async def replay_delivery(
        self, dead_letter_id: DeadLetterId, delivery: Delivery
    ) -> bool:
        """Put a failed delivery back into its mailbox, then remove its dead letter.

        Its messages that were sent already are not sent again.

        Args:
            dead_letter_id: the id of the dead letter.
            delivery: the delivery in the dead letter.

        Returns:
            True if it was put back. False, with nothing changed, if its record says
            that it has not failed, or if the mailbox has no position for it.

        Raises:
            ForgedEntry: the record of the delivery is forged.
        """
        delivery_id, ordering_key = delivery.delivery_id, delivery.ordering_key
        commands = self._delivery_commands
        stored = await self._execute(commands.read_record(ordering_key, delivery_id))
        record = None
        if stored is not None:
            record = decode_record(
                stored, delivery_id, ordering_key, self._signatures
            ).record
        command = commands.replay_delivery(delivery, record)
        if await self._execute(command) != 1:
            return False
        await self._execute(commands.idempotency.replace(delivery, self._clock.now()))
        await self.delete(dead_letter_id)
        return True

    async def _read_page(self, start: DeadLetterId, first: str) -> _Page:
        entries = await self._read_entries(start, first, "+", PAGE_SIZE)
        return [
            (start.with_entry(entry.decode()), decode_dead_letter(fields))
            for entry, fields in entries
        ]

    async def _read_entries(
        self, dead_letter_id: DeadLetterId, first: str, last: str = "", count: int = 1
    ) -> Any:  # noqa: ANN401 - any reply
        """Read entries of the stream that contains a dead letter."""
        arguments = (first, last or first, b"COUNT", count)
        return await self._execute_on_stream(dead_letter_id, b"XRANGE", *arguments)

    async def _execute_on_stream(
        self,
        dead_letter_id: DeadLetterId,
        command_name: bytes,
        *arguments: bytes | str | int,
    ) -> Any:  # noqa: ANN401 - any reply
        shard = self._keys.shards[dead_letter_id.shard]
        stream = (
            shard.rejected_letters if dead_letter_id.is_rejected else shard.dead_letters
        )
        return await self._execute(
            RedisCommand(shard.number, (command_name, stream, *arguments))
        )

    async def _execute(self, command: RedisCommand) -> Any:  # noqa: ANN401 - any reply
        self._client.submit(command)
        try:
            async with asyncio.timeout(REPLY_TIMEOUT_SECONDS):
                return await command.reply
        except TimeoutError:
            raise StoreUnavailable("Redis does not answer") from None


class _StreamCursor:
    """A cursor over the dead letters of one stream, oldest first."""

    def __init__(
        self,
        start: DeadLetterId,
        read_page: Callable[[DeadLetterId, str], Awaitable[_Page]],
        selection: DeadLetterSelection,
    ) -> None:
        self._start = start
        self._read_page = read_page
        self._selection = selection
        self._summaries: deque[DeadLetterSummary] = deque()
        self._next_entry = "-"
        self._is_exhausted = False

    async def read_next(self) -> DeadLetterSummary | None:
        """Return the next summary, or None if there are no more."""
        while not self._summaries and not self._is_exhausted:
            await self._load_page()
        return self._summaries.popleft() if self._summaries else None

    async def _load_page(self) -> None:
        page = await self._read_page(self._start, self._next_entry)
        self._is_exhausted = len(page) < PAGE_SIZE
        for dead_letter_id, dead_letter in page:
            self._next_entry = f"({dead_letter_id.entry_id}"  # "(" excludes this entry
            if self._selection.contains(dead_letter):
                self._summaries.append(summarize(dead_letter_id, dead_letter))


async def _advance_cursor(
    heads: list[tuple[DeadLetterId, DeadLetterSummary, _StreamCursor]],
    cursor: _StreamCursor,
) -> None:
    """Push the next summary of a cursor onto the heap, if there is one."""
    summary = await cursor.read_next()
    if summary is not None:
        heappush(heads, (summary.dead_letter_id, summary, cursor))
