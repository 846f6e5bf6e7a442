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
from gateway.mailboxes.redis.client.cluster import ClusterTransport
from gateway.mailboxes.redis.client.connection_factory import first_connector
from gateway.mailboxes.redis.commands import Command, Commands, Submits
from gateway.mailboxes.redis.keys import ALL_SHARDS, SHARDS
from gateway.mailboxes.redis.lua.scripts import load_scripts
from gateway.mailboxes.serialization import PER_SHARD, decode_letter, verify_letter
from gateway.mailboxes.signatures import StoreSignatures

PATIENCE = 2.0
"""Seconds that one answer may take."""

PAGE = 50
"""Letters read at once. Their bodies come along: of Telegram, up to half a MiB each."""


class Place(NamedTuple):
    """Where a dead letter lies. The order of places is the order of burials."""

    milliseconds: int
    """The time of the burial, since the epoch, as Redis saw it."""
    number: int
    """Counts the burials of the same millisecond and shard."""
    shard: int
    rejected: bool = False
    """True: among those that never were updates."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what `str` gives.

        Raises:
            ValueError: it is no place.
        """
        match = re.fullmatch(r"(r?)(\d{1,2})-(\d{1,20})-(\d{1,20})", text, re.ASCII)
        if match is None or int(match[2]) >= SHARDS:
            raise ValueError("not the id of a dead letter")
        return cls(int(match[3]), int(match[4]), int(match[2]), bool(match[1]))

    @property
    def entry(self) -> str:
        """The id of the entry in the stream of the shard."""
        return f"{self.milliseconds}-{self.number}"

    def __str__(self) -> str:
        return f"{'r' if self.rejected else ''}{self.shard}-{self.entry}"

    @property
    def stream(self) -> bytes:
        """The key of the stream that it is in."""
        keys = ALL_SHARDS[self.shard]
        return keys.rejected if self.rejected else keys.dead

    def at(self, entry: str) -> Self:
        """Return the place of another entry of the same stream."""
        milliseconds, _, number = entry.partition("-")
        return self._replace(milliseconds=int(milliseconds), number=int(number))


class Summary(Struct, frozen=True):
    """What may be shown of a dead letter: nothing that a user wrote."""

    place: Place
    update_id: int
    """0: the body could not be read."""
    lane: str
    """Empty: the body could not be read."""
    reason: str
    time: float
    """Seconds since the epoch at which it was given up."""


_Page = list[tuple[Place, DeadLetter]]


@asynccontextmanager
async def open_dead_letters(
    url: str, clock: Clock, signatures: StoreSignatures
) -> AsyncIterator["DeadLetters"]:
    """Connect inside of the block.

    Args:
        url: the server, its Sentinels, or any node of a Cluster; see `connector`.
        clock: notes when something was sent.
        signatures: verifies what is read, and signs what is replayed.

    Raises:
        Faults: the address is wrong.
    """
    first_connector(url)
    scripts = load_scripts()
    async with ClusterTransport(url, scripts, clock) as transport:
        # Nothing is claimed, refused or buried here: the limits are of no effect.
        commands = Commands(scripts, 1, LEASE_SECONDS, signatures, PER_SHARD)
        yield DeadLetters(transport, commands, signatures)


class DeadLetters:
    """The dead letters of all shards.

    All methods raise `MailboxesUnavailable` if Redis does not answer or is full.
    """

    def __init__(
        self, transport: Submits, commands: Commands, signatures: StoreSignatures
    ) -> None:
        self._transport = transport
        self._commands = commands
        self._signatures = signatures

    async def find(
        self, *, reason: str | None = None, limit: int | None = None
    ) -> list[Summary]:
        """List dead letters, oldest first.

        Args:
            reason: only those with this reason.
            limit: how many at most.
        """
        heads: list[tuple[Place, Summary, _Walk]] = []
        found: list[Summary] = []
        for shard, rejected in product(range(SHARDS), (False, True)):
            start = Place(0, 0, shard, rejected)
            await _walk_on(heads, _Walk(start, self._page, reason))
        while heads and (limit is None or len(found) < limit):
            _, summary, walk = heappop(heads)
            found.append(summary)
            await _walk_on(heads, walk)
        return found

    async def get(self, place: Place) -> DeadLetter | None:
        """Read a dead letter with its body. None: there is none in this place.

        Raises:
            ForgedEntry: no gateway with our secrets wrote it.
        """
        entries = await self._read(place, place.entry)
        if not entries:
            return None
        _, fields = entries[0]
        verify_letter(fields, self._signatures)
        return decode_letter(fields)

    async def delete(self, place: Place) -> bool:
        """Remove a dead letter. False: there is none in this place."""
        return bool(await self._on_stream(place, b"XDEL", place.entry))

    async def replay(self, place: Place, envelope: Envelope) -> None:
        """Put an update into its mailbox, and remove its dead letter.

        Nothing is lost if this is cut short: at worst the update is in both, and is
        dropped as a repetition if it is replayed again.

        Args:
            place: where the dead letter lies.
            envelope: the update, which arrived at `REPLAYED`.
        """
        await self._ask(self._commands.put(envelope, "", enforce_limit=False))
        await self.delete(place)

    async def _page(self, start: Place, first: str) -> _Page:
        entries = await self._read(start, first, "+", PAGE)
        return [
            (start.at(entry.decode()), decode_letter(fields))
            for entry, fields in entries
        ]

    async def _read(
        self, place: Place, first: str, last: str = "", count: int = 1
    ) -> Any:  # noqa: ANN401 - as Redis answers
        """Read entries of the stream that a place is in."""
        arguments = (first, last or first, b"COUNT", count)
        return await self._on_stream(place, b"XRANGE", *arguments)

    async def _on_stream(
        self, place: Place, verb: bytes, *arguments: bytes | str | int
    ) -> Any:  # noqa: ANN401 - as Redis answers
        return await self._ask(Command(place.shard, (verb, place.stream, *arguments)))

    async def _ask(self, command: Command) -> Any:  # noqa: ANN401 - as Redis answers
        self._transport.submit(command)
        try:
            async with asyncio.timeout(PATIENCE):
                return await command.reply
        except TimeoutError:
            raise StoreUnavailable("Redis does not answer") from None


class _Walk:
    """Goes through the letters of one stream, oldest first."""

    def __init__(
        self,
        start: Place,
        read: Callable[[Place, str], Awaitable[_Page]],
        reason: str | None,
    ) -> None:
        self._start = start
        self._read = read
        self._reason = reason
        self._found: deque[Summary] = deque()
        self._first = "-"
        self._ended = False

    async def step(self) -> Summary | None:
        """Give the next letter. None: there are no more."""
        while not self._found and not self._ended:
            await self._turn_page()
        return self._found.popleft() if self._found else None

    async def _turn_page(self) -> None:
        page = await self._read(self._start, self._first)
        self._ended = len(page) < PAGE
        for place, dead_letter in page:
            self._first = f"({place.entry}"  # behind this one
            if self._reason in {None, dead_letter.reason}:
                self._found.append(_summary(place, dead_letter))


async def _walk_on(heads: list[tuple[Place, Summary, _Walk]], walk: _Walk) -> None:
    """Take the next letter of a walk among the heads."""
    summary = await walk.step()
    if summary is not None:
        heappush(heads, (summary.place, summary, walk))


def _summary(place: Place, dead_letter: DeadLetter) -> Summary:
    return Summary(
        place,
        dead_letter.update_id,
        dead_letter.ordering_key,
        dead_letter.reason,
        dead_letter.dead_lettered_at,
    )
