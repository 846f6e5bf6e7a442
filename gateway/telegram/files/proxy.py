"""Streams users' files from Telegram to services, so that these need no bot token.

Concurrency: each download runs in the task of its request and keeps one chunk of its
file in memory; a client that reads slowly slows the transfer from Telegram down. At
most `MAX_DOWNLOADS` run at once, and `MAX_DOWNLOADS_PER_CLIENT` per client address.
Downloads beyond these limits are rejected with 503.

Telegram's file URLs contain the bot token and never leave this module: no response,
header, log line or error contains one, and redirects are not followed.
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
"""Maximum concurrent downloads. A service that wants more is asked to retry."""
MAX_DOWNLOADS_PER_CLIENT = 8
"""Maximum concurrent downloads of one client address, so that one service cannot take
all of them."""
MAX_FILE_BYTES = 20 << 20
"""Maximum size of a file (Bot API, getFile: 20 MB), whatever size Telegram declares."""
MAX_DOWNLOAD_SECONDS = 300.0
"""Maximum duration of a download, however steadily its chunks arrive."""
IDLE_TIMEOUT_SECONDS = 30.0
"""Maximum time between two chunks, from Telegram or to the service."""
LOCATION_TTL_SECONDS = 600.0
"""How long the location of a file is cached. Bot API, getFile: valid for at least an
hour."""

_MAX_LOCATIONS = 1000
_CHUNK_BYTES = 64 * 1024
_CONNECT_SECONDS = 5.0
_RANGE = re.compile(r"bytes=(\d{1,15}-\d{0,15}|-\d{1,15})")
_FORWARDED_HEADERS = ("Content-Length", "Content-Range")
_REJECTION_STATUSES = {SignatureCheck.INVALID: 403, SignatureCheck.EXPIRED: 410}


class _FileLocation(Struct, frozen=True):
    """The location of a file below the URL with the token (Bot API: File)."""

    file_path: str
    file_size: int = 0


class _DownloadFailed(Exception):
    """A file that cannot be served.

    Attributes:
        status: the HTTP status of the response.
    """

    def __init__(self, status: int) -> None:
        super().__init__()
        self.status = status


class FileProxy:
    """Serves the users' files of one bot. Call `close` at the end.

    Args:
        api: the bot's Bot API client.
        base_url: the URL of the bot's files at Telegram, without a trailing slash. It
            contains the token.
        signed_urls: verifies the signatures of requests.
    """

    def __init__(
        self, api: BotApiClient, base_url: str, signed_urls: SignedFileUrls
    ) -> None:
        self._api = api
        self._base_url = base_url
        self._signed_urls = signed_urls
        self._session: aiohttp.ClientSession | None = None
        self._locations: OrderedDict[str, tuple[_FileLocation, float]] = OrderedDict()
        self._active_downloads: Counter[str] = Counter()
        """The number of running downloads, by client address."""
        self.endpoints = {("GET", f"{FILES_PATH}/"): self.handle}
        """The request handler, by method and path prefix."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections to Telegram's file server."""
        if self._session is not None:
            await self._session.close()

    def _open_session(self) -> aiohttp.ClientSession:
        """Return the connections, which are opened for the first file."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=MAX_DOWNLOADS),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                timeout=aiohttp.ClientTimeout(
                    total=None, sock_connect=_CONNECT_SECONDS
                ),
            )
        return self._session

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Respond to a request with the file, or with an error status without a body.

        The status is 403 for a wrong signature, 410 for an expired one, 503 for too
        many downloads at once, 413 for a file that is too large, 416 for a wrong range,
        and 502 if Telegram does not return the file. If the transfer breaks, the
        connection is closed.
        """
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
        """Return the location of a file, from the cache or from Telegram.

        Raises:
            _DownloadFailed: Telegram did not return a usable location.
        """
        location, expires_at = self._locations.get(file_id, (None, 0.0))
        if location is not None and time.monotonic() < expires_at:
            return location
        try:
            result = await self._api.call("getFile", {"file_id": file_id})
            location = msgspec.convert(result, _FileLocation)
        except (BotApiError, msgspec.ValidationError) as error:
            _log_warning("file_location_failed", error)
            too_large = (
                isinstance(error, CallRejected) and error.part is RejectedPart.SIZE
            )
            raise _DownloadFailed(413 if too_large else 502) from None
        # A local server returns a path on its own disk and does not serve the files.
        if location.file_path.startswith("/"):
            logger.warning("bot_api_serves_no_files")
            raise _DownloadFailed(502)
        if not _is_safe_path(location.file_path):
            logger.warning("file_path_unsafe")
            raise _DownloadFailed(502)
        self._locations[file_id] = location, time.monotonic() + LOCATION_TTL_SECONDS
        if len(self._locations) > _MAX_LOCATIONS:
            self._locations.popitem(last=False)
        return location

    async def _forward_file(
        self, request: web.BaseRequest, file_id: str, location: _FileLocation
    ) -> web.StreamResponse:
        """Stream a file to the client, or the requested range of it.

        Raises:
            _DownloadFailed: the download failed before the response was started.
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
                self._open_session().get(
                    f"{self._base_url}/{quote(location.file_path)}",
                    headers=headers,
                    allow_redirects=False,
                ) as source,
            ):
                if source.status == 416:
                    raise _DownloadFailed(416)
                if source.status not in {200, 206}:
                    self._locations.pop(file_id, None)
                    logger.warning(
                        "file_download_failed", extra={"status": source.status}
                    )
                    raise _DownloadFailed(502)
                max_bytes = min(location.file_size or MAX_FILE_BYTES, MAX_FILE_BYTES)
                if (source.content_length or 0) > max_bytes:
                    logger.warning("file_too_large")
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
            _log_warning("download_interrupted", error)
        if response is None or not response.prepared:
            raise _DownloadFailed(502)
        # Part of the file was sent: only an abort shows that it is incomplete.
        if request.transport is not None:
            request.transport.abort()
        return response


def _is_safe_path(path: str) -> bool:
    """Return whether a path cannot leave the directory that it is relative to.

    HTTP clients resolve "..", so such a path would name another resource of the server.
    """
    return not {"", ".", ".."} & set(re.split(r"[/\\]", path))


async def _iterate_chunks(
    source: aiohttp.ClientResponse, max_bytes: int
) -> AsyncIterator[bytes]:
    """Yield a file in chunks.

    Raises:
        ValueError: the file is larger than `max_bytes`.
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
    """Create a response with the status, length and range of Telegram's response."""
    headers = _build_headers(location)
    headers |= {
        name: source.headers[name]
        for name in _FORWARDED_HEADERS
        if name in source.headers
    }
    return web.StreamResponse(status=source.status, headers=headers)


def _build_headers(location: _FileLocation) -> dict[str, str]:
    """Return headers that keep browsers from showing a file as a page of ours."""
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
    # The class only: the text of a library's error may contain the URL with the token.
    logger.warning(message, extra={"error": type(error).__name__})
