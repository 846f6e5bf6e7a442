"""The webhook: accepts every POST and always answers 200 with an empty body.

Telegram repeats an update that got no 2xx and delays the updates after it, so an
unusable body also gets a 200.

Concurrency: aiohttp runs one task per connection, so requests run in parallel. The 200
is sent after the update was accepted. A client that disconnects does not cancel
processing.
"""

import asyncio
import hmac
import logging
from collections.abc import Callable, Collection
from email.utils import formatdate

from aiohttp import HttpVersion11, web
from aiohttp.abc import AbstractStreamWriter
from msgspec import Struct

from gateway.domain.ports import Clock
from gateway.domain.processing_record import Outcome, ProcessingRecord
from gateway.observability.logging import RateLimitedLogger, summarize_error
from gateway.telegram.update_receiver import UpdateReceiver

logger = logging.getLogger(__name__)

WEBHOOK_PATH = "/webhook/telegram"
MAX_BODY_BYTES = 1024 * 1024
"""Maximum size of a body that is kept. Telegram's own limit is half of it."""

_FORBIDDEN_BODY_SECONDS = 1.0
"""Body timeout for clients without the secret. During a request a connection is never
closed in favor of another one: this limits how long unauthenticated clients keep it."""

_SECRET_HEADER = "X-Telegram-Bot-Api-Secret-Token"  # noqa: S105 - a header's name


class Webhook:
    """The endpoint that Telegram posts updates to.

    Args:
        secrets: the accepted webhook secrets, none of them empty; two allow a rotation
            without downtime.
        receiver: enqueues the updates.
        record_update: called with a record of each request without a secret.
        clock: the source of the dates of responses.
        body_timeout: how long a client may take to send a body, in seconds.
    """

    def __init__(
        self,
        *,
        secrets: Collection[str],
        receiver: UpdateReceiver,
        record_update: Callable[[ProcessingRecord], None],
        clock: Clock,
        body_timeout: float = 10,
    ) -> None:
        if not secrets or not all(secrets):
            raise ValueError("an empty secret would let anybody in")
        self._secrets = [secret.encode() for secret in secrets]
        self._receiver = receiver
        self._record_update = record_update
        self._body_timeout = body_timeout
        self._limited_log = RateLimitedLogger(logger)
        self._ok_response = _EmptyOkResponse(clock)
        self.endpoints = {("POST", WEBHOOK_PATH): self.handle}
        """The request handlers, by method and path."""

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Handle one request."""
        content = request.content
        try:
            if not self._is_from_telegram(request):
                await self._refuse(request)
            elif (
                content.is_eof()
                and not content.exception()
                and content.total_bytes <= MAX_BODY_BYTES
            ):
                # Nearly always: the body arrived together with the headers.
                await self._receiver.receive(content.read_nowait())
            else:
                await self._receive_slowly(request)
        except Exception as error:  # noqa: BLE001 - Telegram gets a 200 nevertheless
            logger.error(  # noqa: TRY400 - a traceback's last line may quote the user
                "webhook_request_failed", extra={"error": summarize_error(error)}
            )
        if content.is_eof():
            can_keep_alive = request.keep_alive and request.version == HttpVersion11
            return self._ok_response if can_keep_alive else web.Response()
        # Otherwise aiohttp keeps reading the body and logs errors of its own.
        content.feed_eof()
        response = web.Response()
        response.force_close()
        return response

    async def _refuse(self, request: web.BaseRequest) -> None:
        timeout_seconds = min(self._body_timeout, _FORBIDDEN_BODY_SECONDS)
        received = await _receive_body(request, 0, timeout_seconds)
        self._limited_log.log(
            logging.WARNING, "webhook_secret_invalid", size=received.size
        )
        self._record_update(ProcessingRecord(outcome=Outcome.FORBIDDEN))

    async def _receive_slowly(self, request: web.BaseRequest) -> None:
        """Receive a body that has not arrived yet or cannot be processed."""
        received = await _receive_body(request, MAX_BODY_BYTES, self._body_timeout)
        if received.problem is not None:
            self._receiver.report_bad_body(received.problem, received.size)
        else:
            await self._receiver.receive(received.body)

    def _is_from_telegram(self, request: web.BaseRequest) -> bool:
        """Return whether a request has an accepted secret.

        The comparison takes constant time, so that its duration does not reveal how
        much of the secret is right. All secrets are compared, so that the duration does
        not reveal which one matches.
        """
        secret_header = request.headers.get(_SECRET_HEADER, "")
        # Reverses aiohttp's decoding of the header, so that any bytes can be compared.
        secret_bytes = secret_header.encode("utf-8", "surrogateescape")
        matches = False
        for secret in self._secrets:
            matches |= hmac.compare_digest(secret_bytes, secret)
        return matches


class _EmptyOkResponse(web.StreamResponse):
    """A 200 without a body that keeps the connection open.

    All requests share one instance, because it has no state of a request, and its bytes
    are built once a second. aiohttp's own response costs a sixth of aiohttp's work for
    a request.
    """

    keep_alive = True

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock
        self._written_second = -1
        self._written_bytes = b""

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter:
        """Send the response."""
        second = int(self._clock.now())
        if second != self._written_second:
            date = formatdate(second, usegmt=True)
            response = f"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nDate: {date}\r\n\r\n"
            self._written_second, self._written_bytes = second, response.encode()
        transport = request.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError
        transport.write(self._written_bytes)
        if request.protocol.writing_paused:
            await request.writer.drain()
        return request.writer

    async def write_eof(self, data: bytes = b"") -> None:
        """Do nothing: `prepare` has sent the complete response."""


class _ReceivedBody(Struct):
    """A received body, or the problem that prevented its receipt.

    Attributes:
        body: the body, complete if there is no problem.
        size: the number of bytes received, including those that were not kept.
        problem: the code of the problem, or None if there is none.
    """

    body: bytes
    size: int
    problem: str | None


async def _receive_body(
    request: web.BaseRequest, max_bytes: int, timeout_seconds: float
) -> _ReceivedBody:
    """Read a body to its end, unless the timeout passes.

    Even the bytes of a body that is larger than `max_bytes` are read: closing a
    connection with unread bytes may destroy the response before the client reads it.
    """
    content = request.content
    body: bytes | bytearray = b""
    size = 0
    problem = None
    try:
        if content.is_eof():
            body = content.read_nowait()
            size = len(body)
        else:
            body = bytearray()
            if request.headers.get("Expect", "").lower() == "100-continue":
                await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            async with asyncio.timeout(timeout_seconds):
                while chunk := await content.readany():
                    size += len(chunk)
                    if size <= max_bytes:
                        body += chunk
    except TimeoutError:
        problem = "body_timeout"
    except ConnectionError:
        problem = "connection_closed"
    except Exception:  # noqa: BLE001 - aiohttp raises various errors for bad encodings
        problem = "unreadable"
    return _ReceivedBody(
        bytes(body), size, "too_large" if size > max_bytes else problem
    )
