"""The way to Redis, be it one server or a Cluster: one connection per node.

Which node has a shard is learned from the nodes themselves: at first everything goes to
the one in the URL, and what belongs to another comes back with its address. So a single
server needs no question, and a Cluster one redirect per shard. When a node fails, the
others are asked who has its shards now.

Concurrency: one task per connection, and one that asks while a node of a Cluster fails.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Self
from urllib.parse import urlsplit

from redis.asyncio.connection import AbstractConnection
from redis.exceptions import AskError, MovedError, TryAgainError

from gateway.background import BackgroundTasks
from gateway.domain.errors import StoreError
from gateway.domain.ports import Clock
from gateway.mailboxes.redis.client.connection import DEADLINE, Transport
from gateway.mailboxes.redis.client.connection_factory import Connect, connector
from gateway.mailboxes.redis.client.sentinel import MasterConnection
from gateway.mailboxes.redis.commands import Command
from gateway.mailboxes.redis.keys import SHARDS, slot_of
from gateway.mailboxes.redis.lua.scripts import Scripts
from gateway.mailboxes.redis.store_clock import TIME_SHARD, LearnTime, ignore_time

logger = logging.getLogger(__name__)

REFRESH_SECONDS = 0.25
"""How often the other nodes are asked while one fails."""

RETRY_SECONDS = 0.02
"""After so long a command is repeated whose slot is on the move."""

BOUNCES = 5
"""So often a command is sent on at once. Nodes may disagree for a while."""

Address = tuple[str, int]


class ClusterTransport:
    """The connections to all nodes that have a shard.

    Args:
        url: the server, its Sentinels, or any node of the Cluster; see `connector`.
        scripts: loaded into every server that is connected to.
        clock: tells when a batch was sent.
        connector: gives the way to make connections to the URL, or to another host and
            port with the URL's settings.
        learn_time: is told the time of the server that has `TIME_SHARD`, whenever a
            connection to it was made.
        background: runs the tasks.
    """

    def __init__(
        self,
        url: str,
        scripts: Scripts,
        clock: Clock,
        connector: Callable[..., Connect] = connector,
        learn_time: LearnTime = ignore_time,
        background: BackgroundTasks | None = None,
    ) -> None:
        self._url = url
        self._background = background or BackgroundTasks()
        self._learn_time = learn_time
        self._connector = connector
        self._on_restart: Callable[[float], None] = lambda _: None
        self._on_return: Callable[[float], None] = lambda _: None
        self._scripts = scripts
        self._clock = clock
        self._seed_host = urlsplit(url).hostname or "localhost"
        self._seed = self._transport(self._seed_host)
        self._nodes: dict[Address, Transport] = {}
        self._owners: list[Transport] = [self._seed] * SHARDS
        self._last = [self._seed.server] * SHARDS
        """Who was last known to have a shard; those are not forgotten for the URL."""
        self._refreshing: asyncio.Task[None] | None = None

    @property
    def failing(self) -> bool:
        """True: some shard cannot be reached."""
        return any(owner.server.failing for owner in self._owners)

    @property
    def problem(self) -> str:
        """What an operator has to mend, in words. Empty: nothing is known."""
        problems = (owner.server.problem for owner in self._owners)
        return next(filter(None, problems), "")

    @property
    def down(self) -> bool:
        """True: no shard can be reached."""
        return not any(owner.server.reachable for owner in self._owners)

    def answered(self, shard: int) -> float:
        """Tell when the node of a shard answered last.

        While it does not fail, any of them: the shard may have been on another.
        """
        last = self._last[shard]
        if last.failing:
            return last.answered
        nodes = self._nodes.values()
        return max(node.server.answered for node in (self._seed, *nodes))

    def failing_at(self, shard: int) -> bool:
        """Tell whether the node of a shard fails."""
        return self._owners[shard].server.failing

    @property
    def nodes(self) -> int:
        """How many nodes have a shard, as far as known."""
        return len(set(self._owners))

    async def __aenter__(self) -> Self:
        """Start to connect."""
        self.start()
        return self

    async def __aexit__(self, *error: object) -> None:
        """End all connections."""
        await self.close()

    def start(self) -> None:
        """Start to connect."""
        self._seed.start()

    async def attempt(self) -> None:
        """Wait until the first attempt to connect has ended, well or badly."""
        await self._seed.attempted.wait()

    def beside(self, shard: int) -> list[int]:
        """List the shards that are on the node of this one, itself included."""
        owner = self._owners[shard]
        return [other for other in range(SHARDS) if self._owners[other] is owner]

    async def close(self) -> None:
        """End all connections. Whoever still waits for an answer is cancelled."""
        if self._refreshing is not None:
            self._refreshing.cancel()
            await asyncio.gather(self._refreshing, return_exceptions=True)
        for node in (self._seed, *self._nodes.values()):
            await node.close()

    def connect(self) -> AbstractConnection:
        """Make a further connection, not yet connected, to a node that answers."""
        nodes = (self._seed, *self._nodes.values())
        answering = (node for node in nodes if node.server.reachable)
        return next(answering, self._seed).connect()

    def listen(
        self, on_restart: Callable[[float], None], on_return: Callable[[float], None]
    ) -> None:
        """Ask to be told how the nodes are doing. See `Submits.listen`."""
        self._on_restart, self._on_return = on_restart, on_return
        for node in (self._seed, *self._nodes.values()):
            self._listen(node)

    def submit(self, command: Command, *, first: bool = False) -> None:
        """Send a command to the node that has its shard. See `Submits.submit`."""
        self._owners[command.shard].submit(command, first=first)

    def _transport(self, asked_host: str, **place: Any) -> Transport:  # noqa: ANN401 - as connector
        redirect = partial(self._redirect, asked_host)
        make = self._connector(self._url, **place)

        def connect() -> AbstractConnection:
            connection = make()
            if isinstance(connection, MasterConnection):
                connection.background = self._background
            return connection

        transport = Transport(
            connect, self._scripts, self._clock, redirect, self._background
        )
        self._listen(transport)

        def learn_time(server_time: float, asked: float, answered: float) -> None:
            if self._owners[TIME_SHARD] is transport:
                self._learn_time(server_time, asked, answered)

        transport.learn_time = learn_time
        return transport

    def _listen(self, node: Transport) -> None:
        def restarted(answered: float) -> None:
            # Else others have its shards, and know more.
            if node in self._owners or node.server in self._last:
                self._on_restart(answered)

        node.listen(restarted, self._on_return)

    def _give(self, shard: int, owner: Transport) -> None:
        """Note that a node has a shard."""
        last, self._last[shard] = self._last[shard], owner.server
        self._owners[shard] = owner
        owner.server.succeed(last)

    def _node(self, address: Address) -> Transport:
        """Give the connection to a node."""
        node = self._nodes.get(address)
        if node is None:
            host, port = address
            node = self._nodes[address] = self._transport(host, host=host, port=port)
            node.start()
        if self._refreshing is None:
            self._refreshing = self._background.start(
                "ask cluster", self._refresh_forever, longest_pause=DEADLINE
            )
        return node

    def _redirect(
        self, asked_host: str, command: Command, error: AskError | TryAgainError
    ) -> None:
        """Send a command on to the node that has its shard now, or will have it soon.

        While a slot moves, neither node can run a script over all of its keys.
        """
        if isinstance(error, MovedError):
            owner = self._node((error.host or asked_host, error.port))
            self._give(command.shard, owner)
            if command.sends <= BOUNCES:
                owner.submit(command)
                return
        loop = asyncio.get_running_loop()
        loop.call_later(RETRY_SECONDS, self.submit, command)

    async def _refresh_forever(self) -> None:
        while True:
            await asyncio.sleep(REFRESH_SECONDS)
            if self.failing:
                await self._refresh()
                self._reroute()

    async def _refresh(self) -> None:
        """Ask who has which shard; begin anew at the URL if nobody answers."""
        for (host, _), node in list(self._nodes.items()):
            # One that fails because it refuses may know more: it answers this always.
            if not node.server.reachable:
                continue
            command = Command(0, (b"CLUSTER", b"SLOTS"))
            node.submit(command)
            with contextlib.suppress(TimeoutError, StoreError):
                async with asyncio.timeout(DEADLINE):
                    self._assign(await command.reply, host)
                return
        # All addresses may have changed; the name in the URL leads to the new ones.
        self._owners = [self._seed] * SHARDS

    def _assign(self, ranges: Sequence[Any], asked_host: str) -> None:
        """Take over who has which shard, from the reply to CLUSTER SLOTS."""
        for first, last, (host, port, *_), *_ in ranges:
            address = (host.decode() if host else asked_host, port)
            for shard in range(SHARDS):
                if first <= slot_of(shard) <= last:
                    self._give(shard, self._node(address))

    def _reroute(self) -> None:
        """Hand over what waits for a node that does not have its shard any more."""
        for node in (self._seed, *self._nodes.values()):
            for command in node.withdraw():
                self.submit(command)
