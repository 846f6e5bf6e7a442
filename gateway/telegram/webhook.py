"""The webhook: accepts every POST and answers 200 with an empty body.

Telegram repeats an update that got no 2xx and delays the updates after it, so an
unusable body also gets a 200. Only an update that could not be stored gets a 503.

Concurrency: aiohttp runs one task per connection, so requests run in parallel. The 200
is sent after the update was stored. A client that disconnects does not cancel
processing.
"""

import asyncio
import hmac
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from email.utils import formatdate
from secrets import token_hex

from aiohttp import HttpVersion11, web
from aiohttp.abc import AbstractStreamWriter
from msgspec import Struct

from gateway.domain.errors import StoreUnavailable
from gateway.domain.ports import Clock
from gateway.domain.processing_record import Outcome, ProcessingRecord
from gateway.observability.logging import RateLimitedLogger, summarize_error
from gateway.telegram.previous_secret import PreviousSecret
from gateway.telegram.update_receiver import UpdateReceiver

logger = logging.getLogger(__name__)

WEBHOOK_PATH = "/webhook/telegram"
"""The path of the only bot. The path of one of several bots goes on with its name."""

_NAMED_PATHS = "/webhook/"
"""The paths that are answered alike, whether they belong to a bot or not."""

MAX_BODY_BYTES = 1024 * 1024
"""Maximum size of a body that is kept. Telegram's own limit is half of it."""

_FORBIDDEN_BODY_SECONDS = 1.0
"""Body timeout for clients without the secret. During a request a connection is never
closed in favor of another one: this limits how long unauthenticated clients keep it."""

_SECRET_HEADER = "X-Telegram-Bot-Api-Secret-Token"  # noqa: S105 - a header's name


class WebhookTarget:
    """The bot that receives the updates of a path, and the secrets that it accepts.

    Args:
        secrets: the accepted secrets, none of them empty: the current one, and the
            previous one while it is being changed.
        receiver: stores the updates; None if every request is refused.
        record_update: called with a record of each request whose secret is missing or
            wrong.
        previous: the previous secret, if other targets of the bot share it; None if
            `secrets` has it, which is then accepted for ever, or if there is none.

    Attributes:
        receiver: as the argument.
        record_update: as the argument.

    Raises:
        ValueError: there is no secret, or one is empty.
    """

    def __init__(
        self,
        secrets: Sequence[str],
        receiver: UpdateReceiver | None,
        record_update: Callable[[ProcessingRecord], None],
        previous: PreviousSecret | None = None,
    ) -> None:
        if not secrets or not all(secrets):
            raise ValueError("an empty secret would let anybody in")
        self._current = secrets[0].encode()
        if previous is None:
            # Nobody knows a token. Two comparisons for every target: their duration
            # does not reveal whether a path has a bot, or whether its secret is being
            # changed.
            previous = PreviousSecret(secrets[1] if secrets[1:] else token_hex(16))
        self._previous = previous
        self.receiver = receiver
        self.record_update = record_update

    def accepts(self, secret: bytes) -> bool:
        """Return whether a request with this secret may deliver updates.

        The first use of the current secret is noted: the previous one then ends soon.
        The comparison takes constant time, so that its duration does not reveal how
        much of the secret is right, or which secret matches.
        """
        is_current = hmac.compare_digest(secret, self._current)
        is_previous = hmac.compare_digest(secret, self._previous.value)
        if is_current:
            self._previous.is_confirmed = True
        return is_current | is_previous


class Webhook:
    """The HTTP endpoints that Telegram posts updates to.

    A path without a target gets the same response as a wrong secret.

    Args:
        targets: the targets by path. The caller may change the mapping at any time.
        record_update: called with a record of each request to a path without a target.
        clock: the source of the dates of responses.
        body_timeout: how long a client may take to send a body, in seconds.
        update_targets: called before a request is refused; reads the latest
            configuration and returns whether it has changed. None if the configuration
            never changes.
        has_names: whether the paths of the targets may end with names of bots.
    """

    def __init__(
        self,
        targets: Mapping[str, WebhookTarget],
        *,
        record_update: Callable[[ProcessingRecord], None],
        clock: Clock,
        body_timeout: float = 10,
        update_targets: Callable[[], Awaitable[bool]] | None = None,
        has_names: bool = False,
    ) -> None:
        self._targets = targets
        self._unknown_target = WebhookTarget([token_hex(16)], None, record_update)
        self._update_targets = update_targets
        self._body_timeout = body_timeout
        self._limited_log = RateLimitedLogger(logger)
        self._ok_response = _EmptyOkResponse(clock)
        self.endpoints = {("POST", WEBHOOK_PATH): self.handle}
        """The request handlers, by method and path."""
        if has_names:
            self.endpoints["POST", _NAMED_PATHS] = self.handle

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Store the update of one request, and respond.

        The response is a 200 without a body, whatever the request is: also if the
        secret or the body is wrong, which is logged and counted. Only an update that
        could not be stored gets a 503, so that Telegram sends it again.
        """
        content = request.content
        is_stored = True
        try:
            receiver = self._find_receiver(request)
            # This process must not refuse what another one accepts already.
            update = self._update_targets
            if receiver is None and update is not None and await update():
                receiver = self._find_receiver(request)
            if receiver is None:
                await self._refuse(request)
            elif (
                content.is_eof()
                and not content.exception()
                and content.total_bytes <= MAX_BODY_BYTES
            ):
                # Nearly always: the body arrived together with the headers.
                await receiver.receive(content.read_nowait())
            else:
                await self._receive_slowly(request, receiver)
        except StoreUnavailable as error:
            is_stored = False
            self._limited_log.log(logging.ERROR, "update_refused", reason=str(error))
        except Exception as error:  # noqa: BLE001 - Telegram gets a 200 nevertheless
            logger.error(  # noqa: TRY400 - a traceback's last line may quote the user
                "webhook_request_failed", extra={"error": summarize_error(error)}
            )
        if not is_stored:
            return web.Response(status=503)
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
        target = self._targets.get(request.rel_url.raw_path, self._unknown_target)
        target.record_update(ProcessingRecord(outcome=Outcome.FORBIDDEN))

    async def _receive_slowly(
        self, request: web.BaseRequest, receiver: UpdateReceiver
    ) -> None:
        """Receive a body that has not arrived yet or cannot be processed."""
        received = await _receive_body(request, MAX_BODY_BYTES, self._body_timeout)
        if received.problem is not None:
            receiver.report_bad_body(received.problem, received.size)
        else:
            await receiver.receive(received.body)

    def _find_receiver(self, request: web.BaseRequest) -> UpdateReceiver | None:
        """Return the receiver of a request; None if it has no accepted secret."""
        secret_header = request.headers.get(_SECRET_HEADER, "")
        # Reverses aiohttp's decoding of the header, so that any bytes can be compared.
        secret_bytes = secret_header.encode("utf-8", "surrogateescape")
        target = self._targets.get(request.rel_url.raw_path, self._unknown_target)
        return target.receiver if target.accepts(secret_bytes) else None


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
