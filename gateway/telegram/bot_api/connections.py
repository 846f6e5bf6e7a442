"""The connections to one Bot API server, which the clients of all bots share.

The token of a bot is part of the path of each request, so any connection serves any
bot. What a request shows about the server, such as an outage, holds for all bots.
"""

import time
from collections.abc import Callable
from typing import Self

from gateway.telegram.bot_api.connection_pool import ConnectionPool
from gateway.telegram.bot_api.health import BotApiHealth
from gateway.telegram.bot_api.multipart import MultipartClient

# telegram-bot-api (Client::send) allows a bot 1000 open requests.
_MAX_CONNECTIONS = 1000
_KEEPALIVE_SECONDS = 30.0
_CONNECT_SECONDS = 5.0


class BotApiConnections:
    """The connections to a Bot API server. They are open inside `async with`.

    Args:
        url: the URL of the server, without a trailing slash.
        request_timeout: the seconds that one attempt may take, after getting a
            connection. More than 8 s: Telegram may hold a request that long, and giving
            up early leaves it unknown whether the message was sent.
        max_connections: the maximum number of open connections for calls without files.
        uptime: returns the seconds of a monotonic clock.

    Attributes:
        pool: posts JSON.
        multipart: posts files.
        health: finds out from the requests whether the server works.
        waiting_bytes: the size of all uploads that wait for a retry; the clients keep
            it up to date.
    """

    pool: ConnectionPool

    def __init__(
        self,
        url: str = "https://api.telegram.org",
        *,
        request_timeout: float = 30.0,
        max_connections: int = _MAX_CONNECTIONS,
        uptime: Callable[[], float] = time.monotonic,
    ) -> None:
        self._url = f"{url}/"
        self._request_timeout = request_timeout
        self._max_connections = max_connections
        self.multipart = MultipartClient(self._url, idle_timeout=request_timeout)
        self.health = BotApiHealth(uptime)
        self.waiting_bytes = 0

    async def __aenter__(self) -> Self:
        self.pool = ConnectionPool(
            self._url,
            max_requests=self._max_connections,
            request_timeout=self._request_timeout,
            connect_timeout=_CONNECT_SECONDS,
            idle_timeout=_KEEPALIVE_SECONDS,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.pool.close()
        await self.multipart.close()
