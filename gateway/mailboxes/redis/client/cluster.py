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
from gateway.mailboxes.redis.client.connection import (
    BATCH_TIMEOUT_SECONDS,
    PipelinedConnection,
)
from gateway.mailboxes.redis.client.connection_factory import (
    ConnectionFactory,
    make_connection_factory,
)
from gateway.mailboxes.redis.client.sentinel import MasterConnection
from gateway.mailboxes.redis.commands import RedisCommand
from gateway.mailboxes.redis.keys import SHARD_COUNT, get_slot
from gateway.mailboxes.redis.lua.scripts import Scripts
from gateway.mailboxes.redis.store_clock import (
    TIME_SHARD,
    ServerTimeCallback,
    ignore_server_time,
)

logger = logging.getLogger(__name__)

REFRESH_SECONDS = 0.25
"""How often the other nodes are asked while one fails."""

RETRY_SECONDS = 0.02
"""After so long a command is repeated whose slot is on the move."""

MAX_REDIRECTS = 5
"""So often a command is sent on at once. Nodes may disagree for a while."""

NodeAddress = tuple[str, int]


class ClusterClient:
    """The connections to all nodes that have a shard.

    Args:
        url: the server, its Sentinels, or any node of the Cluster; see
            `make_connection_factory`.
        scripts: loaded into every server that is connected to.
        clock: tells when a batch was sent.
        make_factory: gives the way to make connections to the URL, or to another host
            and port with the URL's settings.
        on_server_time: is told the time of the server that has `TIME_SHARD`, whenever a
            connection to it was made.
        background: runs the tasks.
    """

    def __init__(
        self,
        url: str,
        scripts: Scripts,
        clock: Clock,
        make_factory: Callable[..., ConnectionFactory] = make_connection_factory,
        on_server_time: ServerTimeCallback = ignore_server_time,
        background: BackgroundTasks | None = None,
    ) -> None:
        self._url = url
        self._background = background or BackgroundTasks()
        self._on_server_time = on_server_time
        self._make_factory = make_factory
        self._on_restart: Callable[[float], None] = lambda _: None
        self._on_recovery: Callable[[float], None] = lambda _: None
        self._scripts = scripts
        self._clock = clock
        self._seed_host = urlsplit(url).hostname or "localhost"
        self._seed = self._open_node(self._seed_host)
        self._nodes: dict[NodeAddress, PipelinedConnection] = {}
        self._owners: list[PipelinedConnection] = [self._seed] * SHARD_COUNT
        self._last_owners = [self._seed.health] * SHARD_COUNT
        """Who was last known to have a shard; those are not forgotten for the URL."""
        self._refresh_task: asyncio.Task[None] | None = None

    @property
    def is_failing(self) -> bool:
        """True: some shard cannot be reached."""
        return any(owner.health.is_failing for owner in self._owners)

    @property
    def problem(self) -> str:
        """What an operator has to mend, in words. Empty: nothing is known."""
        problems = (owner.health.problem for owner in self._owners)
        return next(filter(None, problems), "")

    @property
    def is_down(self) -> bool:
        """True: no shard can be reached."""
        return not any(owner.health.is_connected for owner in self._owners)

    def get_last_answer_time(self, shard: int) -> float:
        """Tell when the node of a shard answered last.

        While it does not fail, any of them: the shard may have been on another.
        """
        last = self._last_owners[shard]
        if last.is_failing:
            return last.last_answered_at
        nodes = self._nodes.values()
        return max(node.health.last_answered_at for node in (self._seed, *nodes))

    def is_shard_failing(self, shard: int) -> bool:
        """Tell whether the node of a shard fails."""
        return self._owners[shard].health.is_failing

    @property
    def node_count(self) -> int:
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

    async def wait_first_attempt(self) -> None:
        """Wait until the first attempt to connect has ended, well or badly."""
        await self._seed.first_attempt_ended.wait()

    def list_shards_on_same_node(self, shard: int) -> list[int]:
        """List the shards that are on the node of this one, itself included."""
        owner = self._owners[shard]
        return [other for other in range(SHARD_COUNT) if self._owners[other] is owner]

    async def close(self) -> None:
        """End all connections. Whoever still waits for an answer is cancelled."""
        if self._refresh_task is not None:
            self._refresh_task.cancel()
            await asyncio.gather(self._refresh_task, return_exceptions=True)
        for node in (self._seed, *self._nodes.values()):
            await node.close()

    def make_connection(self) -> AbstractConnection:
        """Make a further connection, not yet connected, to a node that answers."""
        nodes = (self._seed, *self._nodes.values())
        connected = (node for node in nodes if node.health.is_connected)
        return next(connected, self._seed).make_connection()

    def set_health_callbacks(
        self, on_restart: Callable[[float], None], on_recovery: Callable[[float], None]
    ) -> None:
        """Set the callbacks of all nodes. See `RedisClient.set_health_callbacks`."""
        self._on_restart, self._on_recovery = on_restart, on_recovery
        for node in (self._seed, *self._nodes.values()):
            self._watch_health(node)

    def submit(self, command: RedisCommand, *, first: bool = False) -> None:
        """Send a command to the node that has its shard. See `RedisClient.submit`."""
        self._owners[command.shard].submit(command, first=first)

    def _open_node(self, asked_host: str, **address: Any) -> PipelinedConnection:  # noqa: ANN401 - as the factory
        redirect = partial(self._redirect_command, asked_host)
        make = self._make_factory(self._url, **address)

        def connect() -> AbstractConnection:
            connection = make()
            if isinstance(connection, MasterConnection):
                connection.background = self._background
            return connection

        node = PipelinedConnection(
            connect, self._scripts, self._clock, redirect, self._background
        )
        self._watch_health(node)

        def report_server_time(
            server_time: float, asked_at: float, answered_at: float
        ) -> None:
            if self._owners[TIME_SHARD] is node:
                self._on_server_time(server_time, asked_at, answered_at)

        node.on_server_time = report_server_time
        return node

    def _watch_health(self, node: PipelinedConnection) -> None:
        def report_restart(last_answer_time: float) -> None:
            # Else others have its shards, and know more.
            if node in self._owners or node.health in self._last_owners:
                self._on_restart(last_answer_time)

        node.set_health_callbacks(report_restart, self._on_recovery)

    def _set_owner(self, shard: int, owner: PipelinedConnection) -> None:
        """Note that a node has a shard."""
        last, self._last_owners[shard] = self._last_owners[shard], owner.health
        self._owners[shard] = owner
        owner.health.record_takeover(last)

    def _get_node(self, address: NodeAddress) -> PipelinedConnection:
        """Give the connection to a node."""
        node = self._nodes.get(address)
        if node is None:
            host, port = address
            node = self._nodes[address] = self._open_node(host, host=host, port=port)
            node.start()
        if self._refresh_task is None:
            self._refresh_task = self._background.start(
                "ask cluster",
                self._keep_refreshing,
                max_delay=BATCH_TIMEOUT_SECONDS,
            )
        return node

    def _redirect_command(
        self, asked_host: str, command: RedisCommand, error: AskError | TryAgainError
    ) -> None:
        """Send a command on to the node that has its shard now, or will have it soon.

        While a slot moves, neither node can run a script over all of its keys.
        """
        if isinstance(error, MovedError):
            owner = self._get_node((error.host or asked_host, error.port))
            self._set_owner(command.shard, owner)
            if command.send_count <= MAX_REDIRECTS:
                owner.submit(command)
                return
        loop = asyncio.get_running_loop()
        loop.call_later(RETRY_SECONDS, self.submit, command)

    async def _keep_refreshing(self) -> None:
        while True:
            await asyncio.sleep(REFRESH_SECONDS)
            if self.is_failing:
                await self._refresh_owners()
                self._resubmit_unsent()

    async def _refresh_owners(self) -> None:
        """Ask who has which shard; begin anew at the URL if nobody answers."""
        for (host, _), node in list(self._nodes.items()):
            # One that fails because it refuses may know more: it answers this always.
            if not node.health.is_connected:
                continue
            command = RedisCommand(0, (b"CLUSTER", b"SLOTS"))
            node.submit(command)
            with contextlib.suppress(TimeoutError, StoreError):
                async with asyncio.timeout(BATCH_TIMEOUT_SECONDS):
                    self._set_owners(await command.reply, host)
                return
        # All addresses may have changed; the name in the URL leads to the new ones.
        self._owners = [self._seed] * SHARD_COUNT

    def _set_owners(self, ranges: Sequence[Any], asked_host: str) -> None:
        """Take over who has which shard, from the reply to CLUSTER SLOTS."""
        for first, last, (host, port, *_), *_ in ranges:
            address = (host.decode() if host else asked_host, port)
            for shard in range(SHARD_COUNT):
                if first <= get_slot(shard) <= last:
                    self._set_owner(shard, self._get_node(address))

    def _resubmit_unsent(self) -> None:
        """Hand over what waits for a node that does not have its shard any more."""
        for node in (self._seed, *self._nodes.values()):
            for command in node.take_unsent():
                self.submit(command)
