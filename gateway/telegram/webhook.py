"""The webhook: takes what is posted and answers 200 with an empty body, always.

Telegram repeats what it got no 2xx for and holds back what comes behind it, so a body
that cannot be used is answered like any other.

Concurrency: aiohttp runs one task per connection, so requests run in parallel. The 200
goes out after the update was accepted. A sender that hangs up does not cancel what
was begun.
"""

import asyncio
import hmac
import logging
from collections.abc import Awaitable, Callable, Collection
from email.utils import formatdate

from aiohttp import HttpVersion11, web
from aiohttp.abc import AbstractStreamWriter
from msgspec import Struct

from gateway.domain.ports import Clock
from gateway.domain.processing_record import Outcome, ProcessingRecord
from gateway.domain.update import DeadLetter, Envelope, Update
from gateway.observability.logging import RateLimitedLogger, summarize_error

logger = logging.getLogger(__name__)

WEBHOOK_PATH = "/webhook/telegram"
MAX_BODY_BYTES = 1024 * 1024
"""Larger bodies are not kept. Telegram's own limit is half of it."""

_FORBIDDEN_BODY_SECONDS = 1.0
"""How long a sender without the secret has for its body. No connection with a request
under way is closed to make room for others: this bounds how long strangers keep it."""

_SECRET_HEADER = "X-Telegram-Bot-Api-Secret-Token"  # noqa: S105 - the name of a header


class Webhook:
    """The end point that Telegram posts updates to.

    Args:
        secrets: what Telegram may have been told to send along; none is empty. Two of
            them let the secret change while gateways run.
        parse: turns a body and its time of arrival into an update, or raises.
        accept: takes an update; it is safe when this returns.
        add_dead_letter: keeps a body that could not be used.
        record_update: is told of what never became an update.
        clock: tells the time of arrival.
        body_timeout: how long the sender has for a body.
    """

    def __init__(
        self,
        *,
        secrets: Collection[str],
        parse: Callable[[bytes, float], Update],
        accept: Callable[[Envelope], Awaitable[None]],
        add_dead_letter: Callable[[DeadLetter], Awaitable[None]],
        record_update: Callable[[ProcessingRecord], None],
        clock: Clock,
        body_timeout: float = 10,
    ) -> None:
        if not secrets or not all(secrets):
            raise ValueError("an empty secret would let anybody in")
        self._secrets = [secret.encode() for secret in secrets]
        self._parse = parse
        self._accept = accept
        self._add_dead_letter = add_dead_letter
        self._record_update = record_update
        self._clock = clock
        self._body_timeout = body_timeout
        self._limited_log = RateLimitedLogger(logger)
        self._ok_response = _EmptyOkResponse(clock)
        self.endpoints = {("POST", WEBHOOK_PATH): self.handle}
        """What is served, by method and path."""

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Take one request."""
        try:
            await self._process(request)
        except Exception as error:  # noqa: BLE001 - Telegram gets its 200 all the same
            logger.error(  # noqa: TRY400 - a traceback's last line may quote the user
                "webhook failed", extra={"error": summarize_error(error)}
            )
        if request.content.is_eof():
            can_keep_alive = request.keep_alive and request.version == HttpVersion11
            return self._ok_response if can_keep_alive else web.Response()
        # Else aiohttp goes on reading and logs whatever breaks there as its own.
        request.content.feed_eof()
        response = web.Response()
        response.force_close()
        return response

    async def _process(self, request: web.BaseRequest) -> None:
        if not self._is_from_telegram(request):
            timeout_seconds = min(self._body_timeout, _FORBIDDEN_BODY_SECONDS)
            received = await _receive_body(request, 0, timeout_seconds)
            self._limited_log.log(
                logging.WARNING, "webhook secret is wrong", size=received.size
            )
            self._record_update(ProcessingRecord(outcome=Outcome.FORBIDDEN))
            return
        received = await _receive_body(request, MAX_BODY_BYTES, self._body_timeout)
        if received.problem:
            self._report_bad_body(received.problem, received.size)
        else:
            await self._deliver_update(received.body)

    def _is_from_telegram(self, request: web.BaseRequest) -> bool:
        """Compare the secret, in a time that does not tell how much of it is right.

        All secrets are compared, so that the time does not tell which one fits either.
        """
        secret_header = request.headers.get(_SECRET_HEADER, "")
        # Undoes what aiohttp did to the header, so that any bytes can be compared.
        secret_bytes = secret_header.encode("utf-8", "surrogateescape")
        matches = False
        for secret in self._secrets:
            matches |= hmac.compare_digest(secret_bytes, secret)
        return matches

    async def _deliver_update(self, body: bytes) -> None:
        """Read the body and hand the update on."""
        arrived_at = self._clock.now()
        try:
            update = self._parse(body, arrived_at)
        except Exception as error:  # noqa: BLE001 - what trips the reader is kept too
            self._report_bad_body("malformed", len(body), summarize_error(error))
            if body:
                await self._dead_letter_body(body, "malformed")
            return
        envelope = Envelope(
            update_id=update.update_id,
            ordering_key=update.ordering_key,
            arrived_at=arrived_at,
            body=body,
            update=update,
        )
        try:
            await self._accept(envelope)
        except Exception as error:  # noqa: BLE001 - our 200 will say that it is safe
            await self._dead_letter_update(update, body, error)

    def _report_bad_body(self, reason: str, size: int, error: str = "") -> None:
        """Note a body that is no update."""
        self._limited_log.log(
            logging.ERROR,
            "webhook body is bad",
            reason=reason,
            size=size,
            error=error,
        )
        self._record_update(ProcessingRecord(outcome=Outcome.MALFORMED, error=reason))

    async def _dead_letter_update(
        self, update: Update, body: bytes, error: Exception
    ) -> None:
        """Keep an update that was not accepted, because no one will send it again."""
        context = update.context
        logger.error(
            "update was not accepted",
            extra={"request_id": context.request_id, "error": summarize_error(error)},
        )
        self._record_update(
            ProcessingRecord(
                update_id=update.update_id,
                update_type=update.update_type,
                request_id=context.request_id,
                telegram_user_id=context.telegram_user_id,
                outcome=Outcome.CRASHED,
                error=type(error).__name__,
            )
        )
        await self._dead_letter_body(
            body, "crashed", update.update_id, update.ordering_key
        )

    async def _dead_letter_body(
        self, body: bytes, reason: str, update_id: int = 0, ordering_key: str = ""
    ) -> None:
        await self._add_dead_letter(
            DeadLetter(
                update_id=update_id,
                ordering_key=ordering_key,
                reason=reason,
                dead_lettered_at=self._clock.now(),
                body=body,
            )
        )


class _EmptyOkResponse(web.StreamResponse):
    """A 200 without a body that leaves the connection open.

    One for all requests, since it keeps nothing of them, and its bytes are made once a
    second. aiohttp's own costs a sixth of all that it does for a request.
    """

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock
        self._written_second = -1
        self._written_bytes = b""

    @property
    def keep_alive(self) -> bool:
        """Leave the connection open."""
        return True

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter:
        """Send it."""
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
        """Do nothing: all of it was sent."""


class _ReceivedBody(Struct):
    """What came of a body: all of it, or a fault."""

    body: bytes
    size: int
    problem: str


async def _receive_body(
    request: web.BaseRequest, max_bytes: int, timeout_seconds: float
) -> _ReceivedBody:
    """Read a body to its end, if it has one in time, and keep it if it is small enough.

    What is too much is read and thrown away: a connection that is closed with bytes
    left unread may take our answer along.
    """
    content = request.content
    body: bytes | bytearray = b""
    size = 0
    problem = ""
    try:
        if content.is_eof():  # nearly always: it came along with its head
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
        problem = "too_slow"
    except ConnectionError:
        problem = "cut_off"
    except Exception:  # noqa: BLE001 - whatever aiohttp makes of a broken encoding
        problem = "unreadable"
    return _ReceivedBody(
        bytes(body), size, "too_large" if size > max_bytes else problem
    )
