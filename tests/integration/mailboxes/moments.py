"""A way to Redis that tells how far a command has come, so that a test can strike then.

The moments of a command: it is "submitted"; it is "sending" when its batch is about to
be written, "sent" when it was, and "received" when Redis did all of the batch and the
caller knows nothing of it yet; it is "answered" when only the caller has to wake up.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from gateway.mailboxes.redis.client.cluster import ClusterClient
from gateway.mailboxes.redis.client.command import RedisCommand
from gateway.mailboxes.redis.lua.scripts import Scripts
from tests.integration.mailboxes.wire import Wiretap
from tests.support.fakes import FakeClock
from tests.support.tasks import UnownedTasks

MOMENTS = ("submitted", "sending", "sent", "received", "answered")


class Call(NamedTuple):
    """One of the calls of a store."""

    kind: str
    """put, commit, acquire, renew, release, list_claimable; other: no script."""
    number: int
    """From 0, of the calls of this kind."""


class WatchedTransport(ClusterClient):
    """The product's way to Redis; a test watches one of its commands.

    Args:
        url: of the server.
        scripts: as of any transport.
        clock: as of any transport.
        watch: the call to watch.
        at: told of each moment of it, also of those of a repetition. What it raises
            breaks the connection, except when the call is submitted or answered.
    """

    def __init__(
        self,
        url: str,
        scripts: Scripts,
        clock: FakeClock,
        watch: Call | None = None,
        at: Callable[[str], Awaitable[None]] | None = None,
    ) -> None:
        self.tap = Wiretap(self.pass_by)
        super().__init__(
            url,
            scripts.sources,
            clock,
            self.tap.connector,
            background=UnownedTasks(),
        )
        self.watch = watch
        self.at = at
        self.calls: list[Call] = []
        """All that were submitted."""
        self.on_submit: Callable[[], None] = lambda: None
        """Called when the watched call is submitted."""
        self.on_answer: Callable[[], None] = lambda: None
        """Called when the watched call is answered, before its caller wakes up."""
        self._watched: RedisCommand | None = None
        self._count: Counter[str] = Counter()
        names = Scripts.__struct_fields__
        self._kinds = {getattr(scripts, name).sha: name for name in names}

    def submit(self, command: RedisCommand, *, first: bool = False) -> None:
        """Note the call, and watch it if it is the one."""
        kind = self._kind(command.arguments)
        call = Call(kind, self._count[kind])
        self._count[kind] += 1
        self.calls.append(call)
        if call == self.watch:
            self._watched = command
            self.on_submit()
            command.reply.add_done_callback(lambda _: self.on_answer())
        super().submit(command, first=first)

    def _kind(self, arguments: tuple[Any, ...]) -> str:
        kind = self._kinds.get(arguments[1], "other")
        return "release" if kind == "renew" and arguments[5] == 0 else kind

    async def pass_by(self, moment: str) -> None:
        """Tell of a moment, if it is one of the watched call."""
        if (
            self.at is not None
            and self._watched is not None
            and self._watched.send_count
        ):
            await self.at(moment)


def cancel_at(
    transport: WatchedTransport, kind: str, moment: str, work: Awaitable[object]
) -> "asyncio.Future[object]":
    """Begin some work, and cancel it at a moment of its next call of this kind."""
    struck = False

    def strike(now: str) -> None:
        nonlocal struck
        if now == moment and not struck:
            struck = True
            assert task.cancel()

    async def strike_under_way(now: str) -> None:
        strike(now)

    number = sum(call.kind == kind for call in transport.calls)
    transport.watch = Call(kind, number)
    transport.at = strike_under_way
    transport.on_submit = lambda: strike("submitted")
    transport.on_answer = lambda: strike("answered")
    task = asyncio.ensure_future(work)
    return task
