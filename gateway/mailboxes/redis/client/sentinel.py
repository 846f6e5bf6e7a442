"""Connections to a Redis that Sentinels monitor: they know which server is the master.

The Sentinels are asked before every connection. Whenever a connection ends, because the
master failed or because it is a replica now and refuses writes, the next connection
therefore leads to the new master.

After a failover the old master may be alive and not know of it for a while (Sentinels
wait 8 s before they reconfigure it). Writes that it accepts in that time are lost. The
Sentinels are therefore asked regularly, and a connection to an old master is closed.

Concurrency: each connection has one task that asks. `disconnect` ends it; a failure is
logged, and the task asks again.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from anyio import CancelScope
from redis.asyncio.connection import Connection, SSLConnection, parse_url
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import MasterNotFoundError, Sentinel
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from gateway.background import BackgroundTask, BackgroundTasks, cancel_and_wait

SENTINEL_SCHEMES = ("redis+sentinel", "rediss+sentinel")
DEFAULT_PORT = 26379
"""The port of a Sentinel without one in the URL: the default of Redis."""

SENTINEL_TIMEOUT_SECONDS = 0.3
"""The timeout of one Sentinel: if two do not answer, a third can still be asked."""

WATCH_SECONDS = 0.5
"""The interval at which the Sentinels are asked. It is short enough for all workers to
leave an old master well before any of them acquires a lease again."""


class MasterConnection(Connection):
    """A connection to the server that is the master when the connection is opened.

    If another server becomes the master, the connection is closed; see the module.

    Args:
        sentinels: the host and port of each Sentinel.
        service: the Sentinels' name for the master and its replicas.
        sentinel_options: redis-py's options for connections to the Sentinels.
        options: redis-py's options for the connection to the master, without its
            address.
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
        self.background: BackgroundTasks | None = None
        """Runs the task that asks the Sentinels while the connection is open; None if
        the connection is closed soon."""
        self._watch_task: BackgroundTask | None = None

    async def connect(self) -> None:
        """Ask the Sentinels for the master, and connect to it.

        Also starts the task that watches for another master, if `background` is set.

        Raises:
            RedisError: no Sentinel knows the master, or the master cannot be reached.
        """
        async with self._open_sentinels() as sentinels:
            self.host, self.port = await self._find_master(sentinels)
        await super().connect()  # type: ignore[no-untyped-call]  # redis-py
        if self.background is not None:
            self._watch_task = self.background.start(
                "watch sentinels", self._watch_master
            )

    async def disconnect(self, *args: Any, **options: Any) -> None:  # noqa: ANN401 - redis-py's
        """Stop watching the Sentinels, and close the connection."""
        watch_task, self._watch_task = self._watch_task, None
        if watch_task is not None:
            await cancel_and_wait(watch_task)
        await super().disconnect(*args, **options)

    async def _watch_master(self) -> None:
        """Close the connection when another server has become the master."""
        master = self.host, self.port
        async with self._open_sentinels() as sentinels:
            while master == (self.host, self.port):
                await asyncio.sleep(WATCH_SECONDS)
                with contextlib.suppress(RedisError):  # an election may be in progress
                    master = await self._find_master(sentinels)
        # Without `disconnect`, after which redis-py would reconnect by itself.
        if self._writer is not None:
            self._writer.close()

    @contextlib.asynccontextmanager
    async def _open_sentinels(self) -> AsyncIterator[Sequence[Sentinel]]:
        """Yield a client for each Sentinel, which connects when it is first used."""
        sentinels = [
            Sentinel([address], sentinel_kwargs=self._sentinel_options)  # type: ignore[no-untyped-call]  # redis-py
            for address in self._sentinels
        ]
        try:
            yield sentinels
        finally:
            with CancelScope(shield=True):
                for sentinel in sentinels:
                    await sentinel.aclose()

    async def _find_master(self, sentinels: Sequence[Sentinel]) -> tuple[str, int]:
        """Ask one Sentinel after another for the address of the master.

        Given all of them at once, redis-py would stop at the first one that refuses.

        Raises:
            MasterNotFoundError: no Sentinel knows the master.
        """
        for sentinel in sentinels:
            with contextlib.suppress(RedisError):
                address: tuple[str, int] = await sentinel.discover_master(self._service)
                return address
        raise MasterNotFoundError("no Sentinel knows the master")


class SecureMasterConnection(MasterConnection, SSLConnection):
    """A `MasterConnection` that uses TLS to the master."""


def parse_sentinel_url(url: str) -> dict[str, Any]:
    """Parse redis+sentinel://user:password@host:port,host:port/service/database.

    The default port is `DEFAULT_PORT`, and "service" the Sentinels' name for the
    master. The query may contain redis-py's settings, as in its own URLs, and the login
    for the Sentinels as `sentinel_username` and `sentinel_password`. With the scheme
    "rediss+sentinel" all connections use TLS.

    Returns:
        redis-py's options of a connection to the master, including its class.

    Raises:
        ValueError: the URL is invalid. The message does not quote it.
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
        # As for the master: redis-py sends no commands of its own.
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
