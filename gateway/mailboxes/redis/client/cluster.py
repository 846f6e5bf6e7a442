"""The client of a single Redis server or a Cluster: one connection per node.

The client learns from redirects which node has a shard. At first it sends everything to
the node in the URL; a node that does not have the shard answers with the address of the
node that has it. A single server therefore needs no extra request, and a Cluster one
redirect per shard. While a node fails, the client asks the other nodes which one has
its shards now.

Concurrency: one task per connection, and one that asks while a node of a Cluster fails.
They end with the `async with` block of the client. A task that fails is logged and goes
on; see `gateway/background.py`.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, Self
from urllib.parse import urlsplit

from redis.asyncio.connection import AbstractConnection
from redis.exceptions import AskError, MovedError, TryAgainError

from gateway.background import BackgroundTask, BackgroundTasks, cancel_and_wait
from gateway.domain.errors import StoreError
from gateway.domain.ports import Clock
from gateway.mailboxes.redis.client.command import RedisCommand
from gateway.mailboxes.redis.client.connection import (
    PipelinedConnection,
    ServerTimeCallback,
    ignore_server_time,
)
from gateway.mailboxes.redis.client.connection_factory import (
    ConnectionFactory,
    make_connection_factory,
)
from gateway.mailboxes.redis.client.pipeline import BATCH_TIMEOUT_SECONDS
from gateway.mailboxes.redis.client.sentinel import MasterConnection
from gateway.mailboxes.redis.client.shards import SHARD_COUNT, SHARD_SLOTS, TIME_SHARD

logger = logging.getLogger(__name__)

REFRESH_SECONDS = 0.25
"""The interval at which the other nodes are asked while a node fails."""

RETRY_SECONDS = 0.02
"""The delay before a command is repeated whose slot is being moved."""

MAX_REDIRECTS = 5
"""How many redirects of a command are followed at once. Further ones are delayed,
because nodes may disagree for a while."""

NodeAddress = tuple[str, int]


class ClusterClient:
    """The `RedisClient` for a single server or a Cluster, with a connection per node.

    The connections exist within an `async with`. Nothing raises if a node does not
    answer: commands wait until it does, or until their callers cancel the replies.

    Args:
        url: the URL of the server, of its Sentinels, or of any node of the Cluster; see
            `make_connection_factory`.
        scripts: the sources of Lua scripts, which are loaded into every server after
            connecting.
        clock: measures when batches were sent.
        make_factory: returns a factory for connections to the URL, or to another host
            and port with the settings of the URL.
        on_server_time: called with the time of the server that has `TIME_SHARD`,
            whenever a connection to it has been made: see `ServerTimeCallback`.
        background: runs the background tasks.
    """

    def __init__(
        self,
        url: str,
        scripts: Iterable[bytes],
        clock: Clock,
        make_factory: Callable[..., ConnectionFactory] = make_connection_factory,
        on_server_time: ServerTimeCallback = ignore_server_time,
        *,
        background: BackgroundTasks,
    ) -> None:
        self._url = url
        self._background = background
        self._on_server_time = on_server_time
        self._make_factory = make_factory
        self._on_restart: Callable[[float], None] = lambda _: None
        self._on_recovery: Callable[[float], None] = lambda _: None
        self._scripts = tuple(scripts)
        self._clock = clock
        self._seed_host = urlsplit(url).hostname or "localhost"
        self._seed = self._open_node(self._seed_host)
        self._nodes: dict[NodeAddress, PipelinedConnection] = {}
        self._owners: list[PipelinedConnection] = [self._seed] * SHARD_COUNT
        self._last_owners = [self._seed.health] * SHARD_COUNT
        """The last known owner of each shard. In contrast to `_owners` it is not reset
        to the node in the URL."""
        self._has_nodes = asyncio.Event()
        """Set when another node than the one in the URL is known."""
        self._refresh_task: BackgroundTask

    @property
    def is_failing(self) -> bool:
        """Whether the node of at least one shard is failing: see `ServerHealth`."""
        return any(owner.health.is_failing for owner in self._owners)

    @property
    def problem(self) -> str:
        """The problem that an operator has to fix; an empty string if none is known."""
        problems = (owner.health.problem for owner in self._owners)
        return next(filter(None, problems), "")

    @property
    def is_down(self) -> bool:
        """Whether there is no connection to any node that has a shard."""
        return not any(owner.health.is_connected for owner in self._owners)

    def get_last_answer_time(self, shard: int) -> float:
        """Return when the node of a shard last answered, by `Clock.uptime`.

        If that node is not failing, this is the last answer of any node, because
        another node may have had the shard.

        Args:
            shard: the number of the shard.
        """
        last = self._last_owners[shard]
        if last.is_failing:
            return last.last_answered_at
        nodes = self._nodes.values()
        return max(node.health.last_answered_at for node in (self._seed, *nodes))

    def is_shard_failing(self, shard: int) -> bool:
        """Return whether the node of the shard with this number is failing."""
        return self._owners[shard].health.is_failing

    @property
    def node_count(self) -> int:
        """The number of nodes that have a shard, as far as this client knows."""
        return len(set(self._owners))

    async def __aenter__(self) -> Self:
        """Start to connect in the background, without waiting for it."""
        self._seed.start()
        self._refresh_task = self._background.start(
            "refresh cluster slots",
            self._keep_refreshing,
            max_delay=BATCH_TIMEOUT_SECONDS,
        )
        return self

    async def __aexit__(self, *error: object) -> None:
        """Close all connections, and cancel all replies that have not arrived."""
        await cancel_and_wait(self._refresh_task)
        for node in (self._seed, *self._nodes.values()):
            await node.close()

    async def wait_first_attempt(self) -> None:
        """Wait until the first attempt to connect has ended, successfully or not."""
        await self._seed.first_attempt_ended.wait()

    def list_shards_on_same_node(self, shard: int) -> list[int]:
        """Return the numbers of all shards on the node of this shard."""
        owner = self._owners[shard]
        return [other for other in range(SHARD_COUNT) if self._owners[other] is owner]

    def make_connection(self) -> AbstractConnection:
        """Make a connection object, not yet connected, to a node that answers.

        If no node answers, it is for the node in the URL. The caller closes it.
        """
        nodes = (self._seed, *self._nodes.values())
        connected = (node for node in nodes if node.health.is_connected)
        return next(connected, self._seed).make_connection()

    def set_health_callbacks(
        self, on_restart: Callable[[float], None], on_recovery: Callable[[float], None]
    ) -> None:
        """Set the functions to call at changes in the health of any node.

        See `RedisClient.set_health_callbacks`.
        """
        self._on_restart, self._on_recovery = on_restart, on_recovery
        for node in (self._seed, *self._nodes.values()):
            self._watch_health(node)

    def submit(self, command: RedisCommand, *, first: bool = False) -> None:
        """Send a command to the node of its shard. See `RedisClient.submit`."""
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
            # Without any shard the restart of a node loses nothing.
            if node in self._owners or node.health in self._last_owners:
                self._on_restart(last_answer_time)

        node.set_health_callbacks(report_restart, self._on_recovery)

    def _set_owner(self, shard: int, owner: PipelinedConnection) -> None:
        """Record that a node has a shard."""
        last, self._last_owners[shard] = self._last_owners[shard], owner.health
        self._owners[shard] = owner
        owner.health.record_takeover(last)

    def _get_node(self, address: NodeAddress) -> PipelinedConnection:
        """Return the connection to a node, which is made if necessary."""
        node = self._nodes.get(address)
        if node is None:
            host, port = address
            node = self._nodes[address] = self._open_node(host, host=host, port=port)
            node.start()
            self._has_nodes.set()
        return node

    def _redirect_command(
        self, asked_host: str, command: RedisCommand, error: AskError | TryAgainError
    ) -> None:
        """Send a command to the node that has its shard now, or repeat it later.

        While a slot is being moved, neither node can run a script on all of its keys.
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
        await self._has_nodes.wait()
        while True:
            await asyncio.sleep(REFRESH_SECONDS)
            if self.is_failing:
                await self._refresh_owners()
                self._resubmit_unsent()

    async def _refresh_owners(self) -> None:
        """Ask which nodes have the shards; without an answer return to the URL."""
        for (host, _), node in list(self._nodes.items()):
            # A node that refuses other commands is failing, but answers this one.
            if not node.health.is_connected:
                continue
            command = RedisCommand(0, (b"CLUSTER", b"SLOTS"))
            node.submit(command)
            with contextlib.suppress(TimeoutError, StoreError):
                async with asyncio.timeout(BATCH_TIMEOUT_SECONDS):
                    self._set_owners(await command.reply, host)
                return
        # All addresses may have changed: the host name in the URL is resolved again.
        self._owners = [self._seed] * SHARD_COUNT

    def _set_owners(self, ranges: Sequence[Any], asked_host: str) -> None:
        """Set the owners of all shards from the reply to CLUSTER SLOTS."""
        for first, last, (host, port, *_), *_ in ranges:
            address = (host.decode() if host else asked_host, port)
            for shard, slot in enumerate(SHARD_SLOTS):
                if first <= slot <= last:
                    self._set_owner(shard, self._get_node(address))

    def _resubmit_unsent(self) -> None:
        """Move unsent commands to the nodes that have their shards now."""
        for node in (self._seed, *self._nodes.values()):
            for command in node.take_unsent():
                self.submit(command)
