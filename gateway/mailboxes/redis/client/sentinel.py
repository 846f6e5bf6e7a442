"""A Redis that Sentinels watch: they know which server is the master.

They are asked before every connection. So whatever ends a connection, be it that the
master died or that it refuses to write because it is a replica now, the next one leads
to its successor.

A master that lives may have a successor long before it hears of it itself (Sentinels
wait 8 s after a failover), and what it accepts meanwhile is lost. So they are asked
again and again, and a connection to it is ended.

Concurrency: one task per connection asks. It ends with it.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from redis.asyncio.connection import Connection, SSLConnection, parse_url
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import MasterNotFoundError, Sentinel
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from gateway.background import BackgroundTasks

SENTINEL_SCHEMES = ("redis+sentinel", "rediss+sentinel")
DEFAULT_PORT = 26379
"""The port of a Sentinel that has none in the URL: Redis' own default."""

SENTINEL_TIMEOUT_SECONDS = 0.3
"""For so long a Sentinel is asked. Two that are silent leave time for a third one."""

WATCH_SECONDS = 0.5
"""How often they are asked. All workers leave well before any claims a lane again."""


class MasterConnection(Connection):
    """A connection to whoever is the master when it is made.

    Args:
        sentinels: host and port of each.
        service: the name that they have for the master and its replicas.
        asking: how to connect to them, as redis-py takes it.
        options: how to connect to the master, but for its address.
    """

    def __init__(
        self,
        *,
        sentinels: tuple[tuple[str, int], ...],
        service: str,
        sentinel_options: Mapping[str, Any],
        **options: Any,  # noqa: ANN401 - redis-py's options
    ) -> None:
        super().__init__(**options)
        self._sentinels = sentinels
        self._service = service
        self._sentinel_options = sentinel_options
        self.background = BackgroundTasks()
        """Runs the task that asks; whoever made the connection may set another one."""
        self._watch_task: asyncio.Task[None] | None = None

    async def connect(self) -> None:
        """Ask for the master, and connect to it.

        Raises:
            RedisError: there is none, or it cannot be reached.
        """
        async with self._open_sentinels() as sentinels:
            self.host, self.port = await self._find_master(sentinels)
        await super().connect()  # type: ignore[no-untyped-call]  # redis-py
        self._watch_task = self.background.start("ask sentinels", self._watch_master)

    async def disconnect(self, *args: Any, **options: Any) -> None:  # noqa: ANN401 - redis-py's
        """End the connection."""
        watch_task, self._watch_task = self._watch_task, None
        if watch_task is not None:
            watch_task.cancel()
            await asyncio.gather(watch_task, return_exceptions=True)
        await super().disconnect(*args, **options)

    async def _watch_master(self) -> None:
        """End the connection when there is another master."""
        master = self.host, self.port
        async with self._open_sentinels() as sentinels:
            while master == (self.host, self.port):
                await asyncio.sleep(WATCH_SECONDS)
                with contextlib.suppress(RedisError):  # they may be about to choose one
                    master = await self._find_master(sentinels)
        # Not by `disconnect`: redis-py would make the same connection again, unasked.
        if self._writer is not None:
            self._writer.close()

    @contextlib.asynccontextmanager
    async def _open_sentinels(self) -> AsyncIterator[Sequence[Sentinel]]:
        """Give a client of each Sentinel. It connects when it is asked."""
        sentinels = [
            Sentinel([address], sentinel_kwargs=self._sentinel_options)  # type: ignore[no-untyped-call]  # redis-py
            for address in self._sentinels
        ]
        try:
            yield sentinels
        finally:
            for sentinel in sentinels:
                await sentinel.aclose()

    async def _find_master(self, sentinels: Sequence[Sentinel]) -> tuple[str, int]:
        """Ask one Sentinel after the other. redis-py stops at one that refuses."""
        for sentinel in sentinels:
            with contextlib.suppress(RedisError):
                address: tuple[str, int] = await sentinel.discover_master(self._service)
                return address
        raise MasterNotFoundError("no Sentinel knows the master")


class SecureMasterConnection(MasterConnection, SSLConnection):
    """The same over TLS."""


def parse_sentinel_url(url: str) -> dict[str, Any]:
    """Read redis+sentinel://user:password@host:port,host:port/service/database.

    What follows a "?" are redis-py's settings, as in its own URLs, and the Sentinels'
    `sentinel_username` and `sentinel_password`. With "rediss" all connections have TLS.

    Returns:
        The options of a connection, its class included.

    Raises:
        ValueError: it is no such URL. The text does not quote it.
    """
    parts = urlsplit(url)
    login, at, hosts = parts.netloc.rpartition("@")
    service, _, database = parts.path.strip("/").partition("/")
    scheme = parts.scheme.partition("+")[0]
    master = f"{scheme}://{login}{at}master/{database}?{parts.query}"
    options: dict[str, Any] = dict(parse_url(master))
    del options["host"]
    has_tls = options.pop("connection_class", Connection) is SSLConnection
    sentinel_options = {
        name: value for name, value in options.items() if name.startswith("ssl")
    }
    for name in ("username", "password"):
        if (value := options.pop(f"sentinel_{name}", None)) is not None:
            sentinel_options[name] = value
    sentinel_options |= {
        "ssl": has_tls,
        "retry": Retry(NoBackoff(), 0),
        "socket_timeout": SENTINEL_TIMEOUT_SECONDS,
        "socket_connect_timeout": SENTINEL_TIMEOUT_SECONDS,
        # As to the master: nothing is said but the question.
        "protocol": 2,
        "driver_info": None,
    }
    return options | {
        "connection_class": SecureMasterConnection if has_tls else MasterConnection,
        "sentinels": tuple(_parse_address(host) for host in hosts.split(",")),
        "service": service,
        "sentinel_options": sentinel_options,
    }


def _parse_address(text: str) -> tuple[str, int]:
    parts = urlsplit(f"//{text}")
    return parts.hostname or "localhost", parts.port or DEFAULT_PORT
