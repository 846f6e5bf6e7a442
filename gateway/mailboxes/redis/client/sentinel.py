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

SCHEMES = ("redis+sentinel", "rediss+sentinel")
PORT = 26379
"""The port of a Sentinel that has none in the URL: Redis' own default."""

ANSWER_SECONDS = 0.3
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
        asking: Mapping[str, Any],
        **options: Any,  # noqa: ANN401 - redis-py's options
    ) -> None:
        super().__init__(**options)
        self._sentinels = sentinels
        self._service = service
        self._asking = asking
        self.background = BackgroundTasks()
        """Runs the task that asks; whoever made the connection may set another one."""
        self._watching: asyncio.Task[None] | None = None

    async def connect(self) -> None:
        """Ask for the master, and connect to it.

        Raises:
            RedisError: there is none, or it cannot be reached.
        """
        async with self._sentinels_open() as sentinels:
            self.host, self.port = await self._find(sentinels)
        await super().connect()  # type: ignore[no-untyped-call]  # redis-py
        self._watching = self.background.start("ask sentinels", self._watch)

    async def disconnect(self, *args: Any, **options: Any) -> None:  # noqa: ANN401 - redis-py's
        """End the connection."""
        watching, self._watching = self._watching, None
        if watching is not None:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
        await super().disconnect(*args, **options)

    async def _watch(self) -> None:
        """End the connection when there is another master."""
        master = self.host, self.port
        async with self._sentinels_open() as sentinels:
            while master == (self.host, self.port):
                await asyncio.sleep(WATCH_SECONDS)
                with contextlib.suppress(RedisError):  # they may be about to choose one
                    master = await self._find(sentinels)
        # Not by `disconnect`: redis-py would make the same connection again, unasked.
        if self._writer is not None:
            self._writer.close()

    @contextlib.asynccontextmanager
    async def _sentinels_open(self) -> AsyncIterator[Sequence[Sentinel]]:
        """Give a client of each Sentinel. It connects when it is asked."""
        sentinels = [
            Sentinel([place], sentinel_kwargs=self._asking)  # type: ignore[no-untyped-call]  # redis-py
            for place in self._sentinels
        ]
        try:
            yield sentinels
        finally:
            for sentinel in sentinels:
                await sentinel.aclose()

    async def _find(self, sentinels: Sequence[Sentinel]) -> tuple[str, int]:
        """Ask one Sentinel after the other. redis-py stops at one that refuses."""
        for sentinel in sentinels:
            with contextlib.suppress(RedisError):
                found: tuple[str, int] = await sentinel.discover_master(self._service)
                return found
        raise MasterNotFoundError("no Sentinel knows the master")


class SecureMasterConnection(MasterConnection, SSLConnection):
    """The same over TLS."""


def read_sentinel_url(url: str) -> dict[str, Any]:
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
    secure = options.pop("connection_class", Connection) is SSLConnection
    asking = {name: value for name, value in options.items() if name.startswith("ssl")}
    for name in ("username", "password"):
        if (value := options.pop(f"sentinel_{name}", None)) is not None:
            asking[name] = value
    asking |= {
        "ssl": secure,
        "retry": Retry(NoBackoff(), 0),
        "socket_timeout": ANSWER_SECONDS,
        "socket_connect_timeout": ANSWER_SECONDS,
        # As to the master: nothing is said but the question.
        "protocol": 2,
        "driver_info": None,
    }
    return options | {
        "connection_class": SecureMasterConnection if secure else MasterConnection,
        "sentinels": tuple(_address(host) for host in hosts.split(",")),
        "service": service,
        "asking": asking,
    }


def _address(text: str) -> tuple[str, int]:
    parts = urlsplit(f"//{text}")
    return parts.hostname or "localhost", parts.port or PORT
