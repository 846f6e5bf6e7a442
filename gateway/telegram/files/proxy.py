"""Files of users, for services: passed on from Telegram as they come.

Concurrency: each download lives in the task of its request, and has one piece of its
file in memory. Who reads slowly slows Telegram down. At most `MAX_DOWNLOADS` are under
way at once, and `MAX_DOWNLOADS_PER_CLIENT` from one address; nobody waits for a place.

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
from gateway.telegram.bot_api.client import BotApiClient
from gateway.telegram.files.signed_urls import (
    FILES_PATH,
    SignatureCheck,
    SignedFileUrls,
)

logger = logging.getLogger(__name__)

MAX_DOWNLOADS = 32
"""At once. A service that wants more is told to come again."""
MAX_DOWNLOADS_PER_CLIENT = 8
"""At once from one address, so that one service cannot take all places."""
MAX_FILE_BYTES = 20 << 20
"""Of one file. Bot API, getFile: 20 MB. More is not passed on, whatever is sent."""
MAX_DOWNLOAD_SECONDS = 300.0
"""After so long a download ends, however fast its pieces come."""
IDLE_TIMEOUT_SECONDS = 30.0
"""After so long without a piece, from Telegram or to the service, it ends."""
LOCATION_TTL_SECONDS = 600.0
"""How long it is remembered where a file lies. Bot API, getFile: an hour at least."""

_MAX_LOCATIONS = 1000
_CHUNK_BYTES = 64 * 1024
_CONNECT_SECONDS = 5.0
_RANGE = re.compile(r"bytes=(\d{1,15}-\d{0,15}|-\d{1,15})")
_FORWARDED_HEADERS = ("Content-Length", "Content-Range")
_REJECTION_STATUSES = {SignatureCheck.INVALID: 403, SignatureCheck.EXPIRED: 410}


class _FileLocation(Struct, frozen=True):
    """Bot API, File: where a file lies, under the address with the token."""

    file_path: str
    file_size: int = 0


class _DownloadFailed(Exception):
    """There is no file to give.

    Attributes:
        status: the HTTP status that says so.
    """

    def __init__(self, status: int) -> None:
        super().__init__()
        self.status = status


class FileProxy:
    """Serves files. Used inside `async with`.

    Args:
        api: the bot's client.
        base_url: where Telegram has the files of the bot, without a slash at its end.
        signed_urls: checks who may have which file.
    """

    _session: aiohttp.ClientSession

    def __init__(
        self, api: BotApiClient, base_url: str, signed_urls: SignedFileUrls
    ) -> None:
        self._api = api
        self._base_url = base_url
        self._signed_urls = signed_urls
        self._locations: OrderedDict[str, tuple[_FileLocation, float]] = OrderedDict()
        self._active_downloads: Counter[str] = Counter()
        """Downloads under way, by the address that asked."""
        self.endpoints = {("GET", f"{FILES_PATH}/"): self.handle}
        """What is served, by method and path: all that is under this one."""

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=MAX_DOWNLOADS),
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
        check = self._signed_urls.check_signature(signature, file_id)
        if check is not SignatureCheck.VALID:
            return web.Response(status=_REJECTION_STATUSES[check])
        client = request.remote or ""
        is_full = self._active_downloads.total() >= MAX_DOWNLOADS
        if is_full or self._active_downloads[client] >= MAX_DOWNLOADS_PER_CLIENT:
            return web.Response(status=503, headers={"Retry-After": "1"})
        self._active_downloads[client] += 1
        try:
            location = await self._find_location(file_id)
            if request.method == "HEAD":
                return _build_head_response(location)
            return await self._forward_file(request, file_id, location)
        except _DownloadFailed as failed:
            return web.Response(status=failed.status)
        finally:
            self._active_downloads[client] -= 1
            if not self._active_downloads[client]:
                del self._active_downloads[client]

    async def _find_location(self, file_id: str) -> _FileLocation:
        """Ask where a file lies, unless it is known.

        Raises:
            _DownloadFailed: it cannot be had.
        """
        location, expires_at = self._locations.get(file_id, (None, 0.0))
        if location is not None and time.monotonic() < expires_at:
            return location
        try:
            result = await self._api.call("getFile", {"file_id": file_id})
            location = msgspec.convert(result, _FileLocation)
        except (BotApiError, msgspec.ValidationError) as error:
            _log_warning("file not found", error)
            too_large = (
                isinstance(error, CallRejected) and error.part is RejectedPart.SIZE
            )
            raise _DownloadFailed(413 if too_large else 502) from None
        # A local server gives a path on its own disk: it does not serve the files.
        if location.file_path.startswith("/"):
            logger.warning("the Bot API server is local and serves no files")
            raise _DownloadFailed(502)
        if not _is_safe_path(location.file_path):
            logger.warning("the Bot API names a file outside of its files")
            raise _DownloadFailed(502)
        self._locations[file_id] = location, time.monotonic() + LOCATION_TTL_SECONDS
        if len(self._locations) > _MAX_LOCATIONS:
            self._locations.popitem(last=False)
        return location

    async def _forward_file(
        self, request: web.BaseRequest, file_id: str, location: _FileLocation
    ) -> web.StreamResponse:
        """Pass a file on, or the part of it that is asked for.

        Raises:
            _DownloadFailed: nothing of it came.
        """
        headers = {"Accept-Encoding": "identity"}
        if _RANGE.fullmatch(requested_range := request.headers.get("Range", "")):
            headers["Range"] = requested_range
        response: web.StreamResponse | None = None
        loop = asyncio.get_running_loop()
        deadline = loop.time() + MAX_DOWNLOAD_SECONDS
        try:
            async with (
                asyncio.timeout(IDLE_TIMEOUT_SECONDS) as idle_timeout,
                self._session.get(
                    f"{self._base_url}/{quote(location.file_path)}",
                    headers=headers,
                    allow_redirects=False,
                ) as source,
            ):
                if source.status == 416:
                    raise _DownloadFailed(416)
                if source.status not in {200, 206}:
                    self._locations.pop(file_id, None)
                    logger.warning("file not sent", extra={"status": source.status})
                    raise _DownloadFailed(502)
                max_bytes = min(location.file_size or MAX_FILE_BYTES, MAX_FILE_BYTES)
                if (source.content_length or 0) > max_bytes:
                    logger.warning("file larger than declared")
                    raise _DownloadFailed(502)
                response = _build_response(location, source)
                await response.prepare(request)
                async for chunk in _iterate_chunks(source, max_bytes):
                    await response.write(chunk)
                    idle_timeout.reschedule(
                        min(loop.time() + IDLE_TIMEOUT_SECONDS, deadline)
                    )
                await response.write_eof()
                return response
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            _log_warning("download broken off", error)
        if response is None or not response.prepared:
            raise _DownloadFailed(502)
        # Some of it is on its way: that this was not all is said by the connection.
        if request.transport is not None:
            request.transport.abort()
        return response


def _is_safe_path(path: str) -> bool:
    """Return whether a path leads to a file below the directory that it starts in.

    Clients resolve "..", so that such a path would name something else of the server.
    """
    return not {"", ".", ".."} & set(re.split(r"[/\\]", path))


async def _iterate_chunks(
    source: aiohttp.ClientResponse, max_bytes: int
) -> AsyncIterator[bytes]:
    """Read a file piece by piece.

    Raises:
        ValueError: it has more than so many bytes.
    """
    async for chunk in source.content.iter_chunked(_CHUNK_BYTES):
        max_bytes -= len(chunk)
        if max_bytes < 0:
            raise ValueError("larger than declared")
        yield chunk


def _build_head_response(location: _FileLocation) -> web.Response:
    headers = _build_headers(location)
    if location.file_size:
        headers["Content-Length"] = str(location.file_size)
    return web.Response(headers=headers)


def _build_response(
    location: _FileLocation, source: aiohttp.ClientResponse
) -> web.StreamResponse:
    """Begin an answer with what Telegram says of its own."""
    headers = _build_headers(location)
    headers |= {
        name: source.headers[name]
        for name in _FORWARDED_HEADERS
        if name in source.headers
    }
    return web.StreamResponse(status=source.status, headers=headers)


def _build_headers(location: _FileLocation) -> dict[str, str]:
    """Say what a file is, so that no browser takes it for a page of ours."""
    name = re.sub(r"[^A-Za-z0-9._-]", "_", location.file_path.rpartition("/")[2])
    content_type = mimetypes.guess_type(name)[0] or "application/octet-stream"
    return {
        "Content-Type": content_type,
        "Content-Disposition": f'attachment; filename="{name}"',
        "Accept-Ranges": "bytes",
        "Cache-Control": "private",
        "X-Content-Type-Options": "nosniff",
    }


def _log_warning(message: str, error: Exception) -> None:
    # The class only: the text of a foreign error may hold the address.
    logger.warning(message, extra={"error": type(error).__name__})
