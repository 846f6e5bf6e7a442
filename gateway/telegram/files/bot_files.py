"""The signed URLs and the download proxy for the users' files of all bots."""

from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Self

from aiohttp import web
from botgateway.chat.v1.message_pb2 import IncomingMessage
from msgspec import Struct

from gateway.config.bots import BotConfig
from gateway.http.routing import Endpoints
from gateway.telegram.bot_api.client import BotApiClient
from gateway.telegram.bot_api.connections import BotApiConnections
from gateway.telegram.files.proxy import FileProxy
from gateway.telegram.files.signed_urls import (
    FILES_PATH,
    SignedFileUrls,
    find_bot_id,
)


class _ServedBot(Struct, frozen=True):
    """A bot whose files are served.

    Attributes:
        config: the configuration that the others were made from.
        urls: signs the URLs.
        proxy: serves the files.
    """

    config: BotConfig
    urls: SignedFileUrls
    proxy: FileProxy


class BotFiles:
    """Signs the URLs of users' files and serves the files, for all bots.

    Used inside `async with`. The signer and the proxy of a bot are created for its
    first URL or request, and again when its configuration has changed.

    Args:
        find_config: returns the configuration of the bot with an id; None if there is
            no such bot.
        connections: the connections to the Bot API.
        api_url: the URL of the Bot API, without a trailing slash.
        url: the URL at which services reach the gateway, without a trailing slash.
        now: returns the seconds since the epoch.
    """

    def __init__(
        self,
        find_config: Callable[[int], BotConfig | None],
        connections: BotApiConnections,
        *,
        api_url: str,
        url: str,
        now: Callable[[], float],
    ) -> None:
        self._find_config = find_config
        self._connections = connections
        self._api_url = api_url
        self._url = url
        self._now = now
        self._bots: dict[int, _ServedBot] = {}
        self._stack = AsyncExitStack()
        self.endpoints: Endpoints = {("GET", f"{FILES_PATH}/"): self.handle}
        """The request handler, by method and path prefix."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    def add_urls(self, message: IncomingMessage, bot_id: int) -> None:
        """Set the URLs of the files of a message that a bot received.

        Does nothing if there is no bot with this id.
        """
        if (bot := self._find(bot_id)) is not None:
            bot.urls.add_urls(message)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Respond to a request with the file, or with an error status without a body.

        The status for an unknown bot is 403; see `FileProxy.handle` for the others.
        """
        bot_id = find_bot_id(request.path)
        bot = None if bot_id is None else self._find(bot_id)
        if bot is None:
            return web.Response(status=403)  # as for an invalid signature
        return await bot.proxy.handle(request)

    def _find(self, bot_id: int) -> _ServedBot | None:
        config = self._find_config(bot_id)
        if config is None:
            return None
        bot = self._bots.get(bot_id)
        if bot is None or bot.config is not config:
            bot = self._bots[bot_id] = self._add(config)
        return bot

    def _add(self, config: BotConfig) -> _ServedBot:
        urls = SignedFileUrls(config.id, config.signing_keys, self._url, self._now)
        source = f"{self._api_url}/file/bot{config.token}"
        proxy = FileProxy(BotApiClient(config.token, self._connections), source, urls)
        self._stack.push_async_callback(proxy.close)
        return _ServedBot(config, urls, proxy)
