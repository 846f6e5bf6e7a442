"""Bot API calls with files, sent as multipart forms.

Concurrency: any number of uploads may run at once, each in the task that makes it.
aiohttp sends the body in a task of its own, which ends before the call does.

A form is sent in chunks of the files' own bytes: they are not copied. The total timeout
depends on the size; an upload that makes no progress is aborted much earlier.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator, Mapping
from typing import Any

import aiohttp
import msgspec

from gateway.domain.bot_api_call import Upload
from gateway.telegram.bot_api.responses import ApiResponse, parse_response

_CHUNK_BYTES = 64 * 1024
_MIN_BYTES_PER_SECOND = 100_000
"""Minimum speed: 50 MB in 500 s. A slower upload is aborted, because the user's next
update waits for it."""
_CONNECT_SECONDS = 5.0
_ESCAPES = {ord('"'): "%22", ord("\r"): "%0D", ord("\n"): "%0A", 0: "%00"}
"""HTML: multipart/form-data encoding algorithm. Other characters are not escaped."""


class MultipartClient:
    """Posts calls with files as multipart forms, without retries.

    Args:
        base_url: the URL of the server, with a trailing slash.
        idle_timeout: seconds without progress, or without a response after the last
            chunk, after which a request is aborted. The total timeout is this plus the
            size divided by 100 kB/s.
    """

    def __init__(self, base_url: str, *, idle_timeout: float) -> None:
        self._base_url = base_url
        self._idle_timeout = idle_timeout
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Close the connections, which the first call with a file has opened."""
        if self._session is not None:
            await self._session.close()

    async def post(
        self, path: str, parameters: Mapping[str, Any], files: Mapping[str, Upload]
    ) -> ApiResponse:
        """Make a call once, without a retry.

        Never raises for a failure of the network: the returned response then has the
        error code 0, and says whether the call may have taken effect.

        Args:
            path: the path under the URL, which consists of a token and a method.
            parameters: the parameters of the call.
            files: the files to upload, by the name of their form field.
        """
        body = _MultipartBody(parameters, files)
        if self._session is None:
            self._session = aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar())
        try:
            async with (
                asyncio.timeout(self._idle_timeout) as idle_timeout,
                self._session.post(
                    self._base_url + path,
                    data=self._iterate_chunks(body, idle_timeout),
                    headers=body.headers,
                    allow_redirects=False,
                    timeout=aiohttp.ClientTimeout(
                        total=self._idle_timeout + body.size / _MIN_BYTES_PER_SECOND,
                        sock_connect=_CONNECT_SECONDS,
                    ),
                ) as response,
            ):
                content = await response.read()
        except (
            aiohttp.ClientConnectorError,
            aiohttp.ConnectionTimeoutError,
            ValueError,
        ):
            # There was no connection. ValueError: the host name is invalid.
            return ApiResponse()
        except (TimeoutError, aiohttp.ClientError, OSError):
            # The request may have been read before the connection broke, unless it was
            # still waiting for a connection.
            return ApiResponse(maybe_applied=body.is_started)
        retry_after = response.headers.get("Retry-After", "")
        return parse_response(response.status, retry_after, content)

    async def _iterate_chunks(
        self, body: "_MultipartBody", idle_timeout: asyncio.Timeout
    ) -> AsyncIterator[memoryview]:
        """Yield the body in chunks, and restart the idle timeout at each of them.

        aiohttp takes the next chunk only after it has sent the previous one.
        """
        loop = asyncio.get_running_loop()
        body.is_started = True
        for part in body.parts:
            content = memoryview(part)
            for start in range(0, len(content), _CHUNK_BYTES):
                if not idle_timeout.expired():
                    idle_timeout.reschedule(loop.time() + self._idle_timeout)
                yield content[start : start + _CHUNK_BYTES]


class _MultipartBody:
    """The body of a request as a list of parts, such as headers and file contents.

    Attributes:
        is_started: whether some of it may have been sent.
    """

    def __init__(
        self, parameters: Mapping[str, Any], files: Mapping[str, Upload]
    ) -> None:
        boundary = secrets.token_hex(16)
        self.is_started = False
        self.parts: list[bytes] = []
        for name, value in parameters.items():
            field = f'Content-Disposition: form-data; name="{name}"\r\n\r\n'
            self.parts.append(f"--{boundary}\r\n{field}".encode())
            self.parts += [_encode_value(value), b"\r\n"]
        for name, file in files.items():
            # The MIME type is from a service: a line break must not end the header.
            mime_type = (
                "".join((file.mime_type or "").split()) or "application/octet-stream"
            )
            field = (
                f'Content-Disposition: form-data; name="{name}"; '
                f'filename="{file.file_name.translate(_ESCAPES)}"\r\n'
                f"Content-Type: {mime_type}\r\n\r\n"
            )
            self.parts.append(f"--{boundary}\r\n{field}".encode())
            self.parts += [file.content, b"\r\n"]
        self.parts.append(f"--{boundary}--\r\n".encode())
        self.size = sum(map(len, self.parts))
        self.headers = {
            "Content-Type": f"multipart/form-data; boundary={boundary}",
            "Content-Length": str(self.size),
        }


def _encode_value(value: object) -> bytes:
    """Encode the value of a form field: a text unchanged, any other value as JSON."""
    return value.encode() if isinstance(value, str) else msgspec.json.encode(value)
