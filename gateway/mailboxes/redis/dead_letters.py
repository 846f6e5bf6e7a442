"""The dead letters in Redis: a person looks at them, replays or deletes them.

Concurrency: one caller, one command after the other. Workers may bury meanwhile, and
another person may replay: a put is harmless if it was done before, and so is a removal.
"""

import asyncio
import re
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from heapq import heappop, heappush
from itertools import product
from typing import Any, NamedTuple, Self

from msgspec import Struct

from gateway.domain.errors import StoreUnavailable
from gateway.domain.ports import LEASE_SECONDS, Clock
from gateway.domain.update import DeadLetter, Envelope
from gateway.mailboxes.redis.client.cluster import ClusterClient
from gateway.mailboxes.redis.client.connection_factory import (
    make_checked_connection_factory,
)
from gateway.mailboxes.redis.commands import CommandFactory, RedisClient, RedisCommand
from gateway.mailboxes.redis.keys import ALL_SHARDS, SHARD_COUNT
from gateway.mailboxes.redis.lua.scripts import load_scripts
from gateway.mailboxes.serialization import (
    DEFAULT_SHARD_LIMITS,
    decode_dead_letter,
    verify_dead_letter,
)
from gateway.mailboxes.signatures import StoreSignatures

REPLY_TIMEOUT_SECONDS = 2.0
"""Seconds that one answer may take."""

PAGE_SIZE = 50
"""Letters read at once. Their bodies come along: of Telegram, up to half a MiB each."""


class DeadLetterId(NamedTuple):
    """Where a dead letter lies. The order of places is the order of burials."""

    added_ms: int
    """The time of the burial, since the epoch, as Redis saw it."""
    sequence: int
    """Counts the burials of the same millisecond and shard."""
    shard: int
    is_rejected: bool = False
    """True: among those that never were updates."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what `str` gives.

        Raises:
            ValueError: it is no place.
        """
        match = re.fullmatch(r"(r?)(\d{1,2})-(\d{1,20})-(\d{1,20})", text, re.ASCII)
        if match is None or int(match[2]) >= SHARD_COUNT:
            raise ValueError("not the id of a dead letter")
        return cls(int(match[3]), int(match[4]), int(match[2]), bool(match[1]))

    @property
    def entry_id(self) -> str:
        """The id of the entry in the stream of the shard."""
        return f"{self.added_ms}-{self.sequence}"

    def __str__(self) -> str:
        return f"{'r' if self.is_rejected else ''}{self.shard}-{self.entry_id}"

    @property
    def stream_key(self) -> bytes:
        """The key of the stream that it is in."""
        keys = ALL_SHARDS[self.shard]
        return keys.rejected_letters if self.is_rejected else keys.dead_letters

    def with_entry(self, entry: str) -> Self:
        """Return the place of another entry of the same stream."""
        milliseconds, _, number = entry.partition("-")
        return self._replace(added_ms=int(milliseconds), sequence=int(number))


class DeadLetterSummary(Struct, frozen=True):
    """What may be shown of a dead letter: nothing that a user wrote."""

    dead_letter_id: DeadLetterId
    update_id: int
    """0: the body could not be read."""
    ordering_key: str
    """Empty: the body could not be read."""
    reason: str
    dead_lettered_at: float
    """Seconds since the epoch at which it was given up."""


_Page = list[tuple[DeadLetterId, DeadLetter]]


@asynccontextmanager
async def open_dead_letters(
    url: str, clock: Clock, signatures: StoreSignatures
) -> AsyncIterator["RedisDeadLetters"]:
    """Connect inside of the block.

    Args:
        url: the server, its Sentinels, or any node of a Cluster; see
            `make_connection_factory`.
        clock: notes when something was sent.
        signatures: verifies what is read, and signs what is replayed.

    Raises:
        ConfigurationError: the address is wrong.
    """
    make_checked_connection_factory(url)
    scripts = load_scripts()
    async with ClusterClient(url, scripts, clock) as client:
        # Nothing is claimed, refused or buried here: the limits are of no effect.
        commands = CommandFactory(
            scripts, 1, LEASE_SECONDS, signatures, DEFAULT_SHARD_LIMITS
        )
        yield RedisDeadLetters(client, commands, signatures)


class RedisDeadLetters:
    """The dead letters of all shards.

    All methods raise `StoreUnavailable` if Redis does not answer or is full.
    """

    def __init__(
        self, client: RedisClient, commands: CommandFactory, signatures: StoreSignatures
    ) -> None:
        self._client = client
        self._commands = commands
        self._signatures = signatures

    async def list_summaries(
        self, *, reason: str | None = None, limit: int | None = None
    ) -> list[DeadLetterSummary]:
        """List dead letters, oldest first.

        Args:
            reason: only those with this reason.
            limit: how many at most.
        """
        heads: list[tuple[DeadLetterId, DeadLetterSummary, _StreamCursor]] = []
        summaries: list[DeadLetterSummary] = []
        for shard, is_rejected in product(range(SHARD_COUNT), (False, True)):
            start = DeadLetterId(0, 0, shard, is_rejected)
            await _advance_cursor(heads, _StreamCursor(start, self._read_page, reason))
        while heads and (limit is None or len(summaries) < limit):
            _, summary, cursor = heappop(heads)
            summaries.append(summary)
            await _advance_cursor(heads, cursor)
        return summaries

    async def get(self, dead_letter_id: DeadLetterId) -> DeadLetter | None:
        """Read a dead letter with its body. None: there is none in this place.

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
        """Remove a dead letter. False: there is none in this place."""
        return bool(
            await self._execute_on_stream(
                dead_letter_id, b"XDEL", dead_letter_id.entry_id
            )
        )

    async def replay(self, dead_letter_id: DeadLetterId, envelope: Envelope) -> None:
        """Put an update into its mailbox, and remove its dead letter.

        Nothing is lost if this is cut short: at worst the update is in both, and is
        dropped as a repetition if it is replayed again.

        Args:
            dead_letter_id: where the dead letter lies.
            envelope: the update, which arrived at `REPLAYED`.
        """
        await self._execute(self._commands.put(envelope, "", enforce_limit=False))
        await self.delete(dead_letter_id)

    async def _read_page(self, start: DeadLetterId, first: str) -> _Page:
        entries = await self._read_entries(start, first, "+", PAGE_SIZE)
        return [
            (start.with_entry(entry.decode()), decode_dead_letter(fields))
            for entry, fields in entries
        ]

    async def _read_entries(
        self, dead_letter_id: DeadLetterId, first: str, last: str = "", count: int = 1
    ) -> Any:  # noqa: ANN401 - as Redis answers
        """Read entries of the stream that a place is in."""
        arguments = (first, last or first, b"COUNT", count)
        return await self._execute_on_stream(dead_letter_id, b"XRANGE", *arguments)

    async def _execute_on_stream(
        self,
        dead_letter_id: DeadLetterId,
        command_name: bytes,
        *arguments: bytes | str | int,
    ) -> Any:  # noqa: ANN401 - as Redis answers
        return await self._execute(
            RedisCommand(
                dead_letter_id.shard,
                (command_name, dead_letter_id.stream_key, *arguments),
            )
        )

    async def _execute(self, command: RedisCommand) -> Any:  # noqa: ANN401 - as Redis answers
        self._client.submit(command)
        try:
            async with asyncio.timeout(REPLY_TIMEOUT_SECONDS):
                return await command.reply
        except TimeoutError:
            raise StoreUnavailable("Redis does not answer") from None


class _StreamCursor:
    """Goes through the letters of one stream, oldest first."""

    def __init__(
        self,
        start: DeadLetterId,
        read_page: Callable[[DeadLetterId, str], Awaitable[_Page]],
        reason: str | None,
    ) -> None:
        self._start = start
        self._read_page = read_page
        self._reason = reason
        self._summaries: deque[DeadLetterSummary] = deque()
        self._next_entry = "-"
        self._is_exhausted = False

    async def read_next(self) -> DeadLetterSummary | None:
        """Give the next letter. None: there are no more."""
        while not self._summaries and not self._is_exhausted:
            await self._load_page()
        return self._summaries.popleft() if self._summaries else None

    async def _load_page(self) -> None:
        page = await self._read_page(self._start, self._next_entry)
        self._is_exhausted = len(page) < PAGE_SIZE
        for dead_letter_id, dead_letter in page:
            self._next_entry = f"({dead_letter_id.entry_id}"  # behind this one
            if self._reason in {None, dead_letter.reason}:
                self._summaries.append(_summarize(dead_letter_id, dead_letter))


async def _advance_cursor(
    heads: list[tuple[DeadLetterId, DeadLetterSummary, _StreamCursor]],
    cursor: _StreamCursor,
) -> None:
    """Take the next letter of a walk among the heads."""
    summary = await cursor.read_next()
    if summary is not None:
        heappush(heads, (summary.dead_letter_id, summary, cursor))


def _summarize(
    dead_letter_id: DeadLetterId, dead_letter: DeadLetter
) -> DeadLetterSummary:
    return DeadLetterSummary(
        dead_letter_id,
        dead_letter.update_id,
        dead_letter.ordering_key,
        dead_letter.reason,
        dead_letter.dead_lettered_at,
    )
