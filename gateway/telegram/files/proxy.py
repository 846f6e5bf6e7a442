"""Files of users, for services: passed on from Telegram as they come.

Concurrency: each download lives in the task of its request, and has one piece of its
file in memory. Who reads slowly slows Telegram down. At most `MOST_DOWNLOADS` are under
way at once, and `MOST_PER_ADDRESS` from one address; nobody waits for a place.

Telegram's addresses of files hold the token. They stay in here: no answer, header, log
or error has one, and redirects are not followed.
"""

import asyncio
import logging
import mimetypes
import re
import time
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator
from typing import Self
from urllib.parse import quote

import aiohttp
import msgspec
from aiohttp import web
from msgspec import Struct

from gateway.domain.errors import BotApiError, CallRejected, RejectedPart
from gateway.telegram.bot_api.client import BotApi
from gateway.telegram.files.signed_urls import PATH, FileAddresses, Verdict

logger = logging.getLogger(__name__)

MOST_DOWNLOADS = 32
"""At once. A service that wants more is told to come again."""
MOST_PER_ADDRESS = 8
"""At once from one address, so that one service cannot take all places."""
MOST_BYTES = 20 << 20
"""Of one file. Bot API, getFile: 20 MB. More is not passed on, whatever is sent."""
TOTAL_SECONDS = 300.0
"""After so long a download ends, however fast its pieces come."""
SILENCE_SECONDS = 30.0
"""After so long without a piece, from Telegram or to the service, it ends."""
PLACE_SECONDS = 600.0
"""How long it is remembered where a file lies. Bot API, getFile: an hour at least."""

_PLACES = 1000
_PIECE_BYTES = 64 * 1024
_CONNECT_SECONDS = 5.0
_RANGE = re.compile(r"bytes=(\d{1,15}-\d{0,15}|-\d{1,15})")
_PASSED_ON = ("Content-Length", "Content-Range")
_REFUSALS = {Verdict.WRONG: 403, Verdict.EXPIRED: 410}


class _Place(Struct, frozen=True):
    """Bot API, File: where a file lies, under the address with the token."""

    file_path: str
    file_size: int = 0


class _Failed(Exception):
    """There is no file to give.

    Attributes:
        status: the HTTP status that says so.
    """

    def __init__(self, status: int) -> None:
        super().__init__()
        self.status = status


class Downloads:
    """Serves files. Used inside `async with`.

    Args:
        api: the bot's client.
        address: where Telegram has the files of the bot, without a slash at its end.
        addresses: checks who may have which file.
    """

    _session: aiohttp.ClientSession

    def __init__(self, api: BotApi, address: str, addresses: FileAddresses) -> None:
        self._api = api
        self._address = address
        self._addresses = addresses
        self._places: OrderedDict[str, tuple[_Place, float]] = OrderedDict()
        self._running: Counter[str] = Counter()
        """Downloads under way, by the address that asked."""
        self.pages = {("GET", f"{PATH}/"): self.handle}
        """What is served, by method and path: all that is under this one."""

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=MOST_DOWNLOADS),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS),
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Give a file, or a status without a word."""
        _, _, signature, file_id = [*request.path.split("/", 3), "", "", ""][:4]
        verdict = self._addresses.check(signature, file_id)
        if verdict is not Verdict.GOOD:
            return web.Response(status=_REFUSALS[verdict])
        asker = request.remote or ""
        full = self._running.total() >= MOST_DOWNLOADS
        if full or self._running[asker] >= MOST_PER_ADDRESS:
            return web.Response(status=503, headers={"Retry-After": "1"})
        self._running[asker] += 1
        try:
            place = await self._find(file_id)
            if request.method == "HEAD":
                return _head(place)
            return await self._pass_on(request, file_id, place)
        except _Failed as failed:
            return web.Response(status=failed.status)
        finally:
            self._running[asker] -= 1
            if not self._running[asker]:
                del self._running[asker]

    async def _find(self, file_id: str) -> _Place:
        """Ask where a file lies, unless it is known.

        Raises:
            _Failed: it cannot be had.
        """
        place, until = self._places.get(file_id, (None, 0.0))
        if place is not None and time.monotonic() < until:
            return place
        try:
            result = await self._api.call("getFile", {"file_id": file_id})
            place = msgspec.convert(result, _Place)
        except (BotApiError, msgspec.ValidationError) as error:
            _warn("file not found", error)
            too_large = (
                isinstance(error, CallRejected) and error.part is RejectedPart.SIZE
            )
            raise _Failed(413 if too_large else 502) from None
        # A local server gives a path on its own disk: it does not serve the files.
        if place.file_path.startswith("/"):
            logger.warning("the Bot API server is local and serves no files")
            raise _Failed(502)
        if not _stays_below(place.file_path):
            logger.warning("the Bot API names a file outside of its files")
            raise _Failed(502)
        self._places[file_id] = place, time.monotonic() + PLACE_SECONDS
        if len(self._places) > _PLACES:
            self._places.popitem(last=False)
        return place

    async def _pass_on(
        self, request: web.BaseRequest, file_id: str, place: _Place
    ) -> web.StreamResponse:
        """Pass a file on, or the part of it that is asked for.

        Raises:
            _Failed: nothing of it came.
        """
        headers = {"Accept-Encoding": "identity"}
        if _RANGE.fullmatch(part := request.headers.get("Range", "")):
            headers["Range"] = part
        response: web.StreamResponse | None = None
        loop = asyncio.get_running_loop()
        end = loop.time() + TOTAL_SECONDS
        try:
            async with (
                asyncio.timeout(SILENCE_SECONDS) as silence,
                self._session.get(
                    f"{self._address}/{quote(place.file_path)}",
                    headers=headers,
                    allow_redirects=False,
                ) as source,
            ):
                if source.status == 416:
                    raise _Failed(416)
                if source.status not in {200, 206}:
                    self._places.pop(file_id, None)
                    logger.warning("file not sent", extra={"status": source.status})
                    raise _Failed(502)
                left = min(place.file_size or MOST_BYTES, MOST_BYTES)
                if (source.content_length or 0) > left:
                    logger.warning("file larger than declared")
                    raise _Failed(502)
                response = _start(place, source)
                await response.prepare(request)
                async for piece in _pieces(source, left):
                    await response.write(piece)
                    silence.reschedule(min(loop.time() + SILENCE_SECONDS, end))
                await response.write_eof()
                return response
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            _warn("download broken off", error)
        if response is None or not response.prepared:
            raise _Failed(502)
        # Some of it is on its way: that this was not all is said by the connection.
        if request.transport is not None:
            request.transport.abort()
        return response


def _stays_below(path: str) -> bool:
    """Return whether a path leads to a file below the directory that it starts in.

    Clients resolve "..", so that such a path would name something else of the server.
    """
    return not {"", ".", ".."} & set(re.split(r"[/\\]", path))


async def _pieces(source: aiohttp.ClientResponse, most: int) -> AsyncIterator[bytes]:
    """Read a file piece by piece.

    Raises:
        ValueError: it has more than so many bytes.
    """
    async for piece in source.content.iter_chunked(_PIECE_BYTES):
        most -= len(piece)
        if most < 0:
            raise ValueError("larger than declared")
        yield piece


def _head(place: _Place) -> web.Response:
    headers = _headers(place)
    if place.file_size:
        headers["Content-Length"] = str(place.file_size)
    return web.Response(headers=headers)


def _start(place: _Place, source: aiohttp.ClientResponse) -> web.StreamResponse:
    """Begin an answer with what Telegram says of its own."""
    headers = _headers(place)
    headers |= {
        name: source.headers[name] for name in _PASSED_ON if name in source.headers
    }
    return web.StreamResponse(status=source.status, headers=headers)


def _headers(place: _Place) -> dict[str, str]:
    """Say what a file is, so that no browser takes it for a page of ours."""
    name = re.sub(r"[^A-Za-z0-9._-]", "_", place.file_path.rpartition("/")[2])
    kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
    return {
        "Content-Type": kind,
        "Content-Disposition": f'attachment; filename="{name}"',
        "Accept-Ranges": "bytes",
        "Cache-Control": "private",
        "X-Content-Type-Options": "nosniff",
    }


def _warn(message: str, error: Exception) -> None:
    # The class only: the text of a foreign error may hold the address.
    logger.warning(message, extra={"error": type(error).__name__})
