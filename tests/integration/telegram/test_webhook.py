"""The webhook, over real HTTP: 200 whatever comes, and nothing in aiohttp's log."""

import asyncio
import gzip
import json
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from email.utils import parsedate_to_datetime
from functools import partial

import pytest
from aiohttp import web
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.domain.errors import StoreUnavailable
from gateway.domain.processing_record import Outcome, ProcessingRecord
from gateway.domain.update import DeadLetter, Envelope, Update
from gateway.http.routing import find_handler
from gateway.observability.logging import RateLimitedLogger
from gateway.telegram import update_receiver, webhook
from gateway.telegram.inbound.parser import UpdateParser
from gateway.telegram.update_receiver import UpdateReceiver
from gateway.telegram.webhook import WEBHOOK_PATH, Webhook, WebhookTarget
from tests.factories import build_message_json
from tests.support.fakes import FakeClock
from tests.support.waiting import LIMIT, wait_until

SECRET = "a-Secret_0123"  # one that a test makes up
PREVIOUS_SECRET = "the-Secret_before"
UPDATE = json.dumps(
    {
        "update_id": 431500101,
        "message": build_message_json("words of mine", user=5510000001),
    }
).encode()
OK = b"HTTP/1.1 200 OK"
MEBIBYTE = 1024 * 1024


class Gateway:
    """What lies behind the webhook, and a server before it."""

    def __init__(self, body_seconds: float = 10) -> None:
        self.clock = FakeClock()
        self.accepted: list[Envelope] = []
        self.letters: list[DeadLetter] = []
        self.turns: list[ProcessingRecord] = []
        self.begun = 0
        self.ready = asyncio.Event()
        self.ready.set()
        self.accept_fault: Exception | None = None
        self.bury_fault: Exception | None = None
        self.read_fault: Exception | None = None
        self.port = 0
        self._reader = UpdateParser(bot_id=7)
        self.receiver = UpdateReceiver(
            parse=self.read,
            accept=self.accept,
            add_dead_letter=self.add_dead_letter,
            record_update=self.turns.append,
            clock=self.clock,
        )
        target = WebhookTarget(
            [SECRET, PREVIOUS_SECRET], self.receiver, self.turns.append
        )
        self.webhook = Webhook(
            {WEBHOOK_PATH: target},
            record_update=self.turns.append,
            clock=self.clock,
            body_timeout=body_seconds,
        )

    def read(self, body: bytes, arrived: float) -> Update:
        """Read as the gateway does."""
        if self.read_fault:
            raise self.read_fault
        return self._reader.parse(body, arrived)

    async def accept(self, envelope: Envelope) -> None:
        """Keep the update, or fail as told."""
        self.accepted.append(envelope)
        await self.ready.wait()
        if self.accept_fault:
            raise self.accept_fault

    async def add_dead_letter(self, dead_letter: DeadLetter) -> None:
        """Keep the letter, or fail as told."""
        if self.bury_fault:
            raise self.bury_fault
        self.letters.append(dead_letter)

    @property
    def outcomes(self) -> list[tuple[Outcome, str | None]]:
        """What was observed."""
        return [(record.outcome, record.error) for record in self.turns]

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Listen on a free port."""

        async def count(request: web.BaseRequest) -> web.StreamResponse:
            self.begun += 1
            path = request.rel_url.raw_path
            handler = find_handler(self.webhook.endpoints, request.method, path)
            return await handler(request)

        server = web.Server(count, access_log=None, auto_decompress=False)
        runner = web.ServerRunner(server)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.port = runner.addresses[0][1]
        try:
            yield
        finally:
            await runner.cleanup()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator["Connection"]:
        """Open a connection to the server."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            yield Connection(reader, writer)
        finally:
            writer.close()

    async def post(
        self, body: bytes, *, secret: bytes | None = SECRET.encode()
    ) -> bytes:
        """Post a body on a connection of its own and give the answer."""
        async with self.connection() as connection:
            connection.send(head(len(body), secret=secret) + body)
            return await connection.answer()


class Connection:
    """A sender, byte by byte."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._reader = reader
        self._writer = writer

    def send(self, data: bytes) -> None:
        """Send bytes."""
        self._writer.write(data)

    def hang_up(self) -> None:
        """Close at once, without a good-bye."""
        self._writer.transport.abort()

    async def status(self) -> bytes:
        """Read the first line of an answer."""
        async with asyncio.timeout(LIMIT):
            return await self._reader.readline()

    async def answer(self) -> bytes:
        """Read one answer; fail if it has a body."""
        async with asyncio.timeout(LIMIT):
            answer = await self._reader.readuntil(b"\r\n\r\n")
        assert b"Content-Length: 0\r\n" in answer
        return answer

    async def closed(self) -> bool:
        """Wait for the end of the connection, however it comes."""
        try:
            async with asyncio.timeout(LIMIT):
                return await self._reader.read() == b""
        except ConnectionResetError:
            return True


def head(
    length: int | None = None, *extra: str, secret: bytes | None = SECRET.encode()
) -> bytes:
    """Make the head of a request."""
    lines = [b"POST /webhook/telegram HTTP/1.1", b"Host: localhost"]
    if secret is not None:
        lines.append(b"X-Telegram-Bot-Api-Secret-Token: " + secret)
    if length is not None:
        lines.append(f"Content-Length: {length}".encode())
    return b"\r\n".join([*lines, *(line.encode() for line in extra), b"", b""])


@pytest.fixture(autouse=True)
def _silent(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Fail a test in which aiohttp or asyncio had to log something."""
    yield
    noise = [
        record.getMessage()
        for record in caplog.get_records("call")
        if record.name.partition(".")[0] in ("aiohttp", "asyncio")
        and record.levelno >= logging.WARNING
    ]
    assert noise == []


def logged(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    """Return level and message of what the webhook logged."""
    return [
        (record.levelname, record.getMessage())
        for record in caplog.records
        if record.name.startswith("gateway.telegram.")
    ]


class TestUpdates:
    """Updates that Telegram posts."""

    async def test_an_update_is_accepted_and_answered_with_an_empty_200(self) -> None:
        """With its body as it came, its mailbox and the time of its arrival."""
        gateway = Gateway()
        async with gateway.serving():
            answer = await gateway.post(UPDATE)
        assert answer.startswith(OK)
        assert b"Connection: close" not in answer
        [envelope] = gateway.accepted
        assert (envelope.update_id, envelope.ordering_key) == (
            431500101,
            "7/5510000001",
        )
        assert envelope.arrived_at == gateway.clock.now()
        assert envelope.body == UPDATE
        assert envelope.update is not None
        assert envelope.update.context.send_time.ToSeconds() == 1_790_000_000
        assert (gateway.turns, gateway.letters) == ([], [])

    async def test_the_200_waits_until_the_update_is_safe(self) -> None:
        """Telegram may forget it only then."""
        gateway = Gateway()
        gateway.ready.clear()
        async with gateway.serving():
            post = asyncio.create_task(gateway.post(UPDATE))
            await wait_until(lambda: gateway.accepted)
            assert not post.done()
            gateway.ready.set()
            assert (await post).startswith(OK)

    async def test_a_sender_that_hangs_up_does_not_take_its_update_back(self) -> None:
        """What was read is accepted, though nobody waits for the answer."""
        gateway = Gateway()
        gateway.ready.clear()
        gateway.accept_fault = RuntimeError()
        async with gateway.serving():
            async with gateway.connection() as connection:
                connection.send(head(len(UPDATE)) + UPDATE)
                await wait_until(lambda: gateway.accepted)
                connection.hang_up()
            gateway.ready.set()
            await wait_until(lambda: gateway.letters)

    async def test_one_connection_carries_one_update_after_the_other(self) -> None:
        """Telegram keeps its connections, and a bad body does not cost one."""
        gateway = Gateway()
        async with gateway.serving(), gateway.connection() as connection:
            for body in (UPDATE, b"{", b"", UPDATE, b"x" * (MEBIBYTE + 1), UPDATE):
                connection.send(head(len(body)) + body)
                assert (await connection.answer()).startswith(OK)
        assert len(gateway.accepted) == 3

    async def test_a_body_in_chunks_is_put_together(self) -> None:
        """A proxy in between may send it so."""
        gateway = Gateway()
        async with gateway.serving(), gateway.connection() as connection:
            connection.send(head(None, "Transfer-Encoding: chunked"))
            await wait_until(lambda: gateway.begun)
            for part in (UPDATE[:50], UPDATE[50:], b""):
                connection.send(f"{len(part):x}\r\n".encode() + part + b"\r\n")
            assert (await connection.answer()).startswith(OK)
        assert gateway.accepted[0].body == UPDATE

    async def test_a_sender_that_asks_first_is_told_to_go_on(self) -> None:
        """A proxy may hold back a long body until then (RFC 9110: 100-continue)."""
        gateway = Gateway()
        async with gateway.serving(), gateway.connection() as connection:
            connection.send(head(len(UPDATE), "Expect: 100-continue"))
            assert await connection.status() == b"HTTP/1.1 100 Continue\r\n"
            assert await connection.status() == b"\r\n"
            connection.send(UPDATE)
            assert (await connection.answer()).startswith(OK)
        assert len(gateway.accepted) == 1

    async def test_an_old_sender_gets_an_answer_that_it_understands(self) -> None:
        """HTTP/1.0, or a last request: the connection ends behind the answer."""
        gateway = Gateway()
        old = head(len(UPDATE)).replace(b"HTTP/1.1", b"HTTP/1.0")
        last = head(len(UPDATE), "Connection: close")
        for request, version in ((old, b"HTTP/1.0"), (last, b"HTTP/1.1")):
            async with gateway.serving(), gateway.connection() as connection:
                connection.send(request + UPDATE)
                assert (await connection.answer()).startswith(version + b" 200 OK")
                assert await connection.closed()
        assert len(gateway.accepted) == 2

    async def test_an_old_sender_may_ask_to_stay(self) -> None:
        """An old proxy: HTTP/1.0 stays connected only where both say so."""
        gateway = Gateway()
        request = head(len(UPDATE), "Connection: keep-alive")
        async with gateway.serving(), gateway.connection() as connection:
            for _ in range(2):
                connection.send(request.replace(b"HTTP/1.1", b"HTTP/1.0") + UPDATE)
                answer = await connection.answer()
                assert answer.startswith(b"HTTP/1.0 200 OK")
                assert b"connection: keep-alive" in answer.lower()
        assert len(gateway.accepted) == 2

    async def test_an_answer_says_when_it_was_made(self) -> None:
        """In the form that HTTP asks for, though it is made once a second only."""
        gateway = Gateway()
        async with gateway.serving():
            dates = []
            for seconds in (0, 0.5, 61):
                gateway.clock.move(seconds)
                answer = await gateway.post(UPDATE)
                [date] = [it for it in answer.splitlines() if it.startswith(b"Date: ")]
                dates.append(parsedate_to_datetime(date[6:].decode()).timestamp())
        assert dates[1] - dates[0] in (0, 1)
        assert dates[2] == int(gateway.clock.now())

    async def test_a_fault_behind_the_webhook_is_a_dead_letter_and_a_200(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Telegram will not send it again, so it must not be lost."""
        gateway = Gateway()
        gateway.accept_fault = RuntimeError("words of mine")
        async with gateway.serving():
            assert (await gateway.post(UPDATE)).startswith(OK)
        [dead_letter] = gateway.letters
        assert (dead_letter.update_id, dead_letter.ordering_key) == (
            431500101,
            "7/5510000001",
        )
        assert (dead_letter.reason, dead_letter.body) == ("crashed", UPDATE)
        [record] = gateway.turns
        assert (record.outcome, record.error) == (Outcome.CRASHED, "RuntimeError")
        assert (record.request_id, record.update_type) == ("7-431500101", "message")
        assert logged(caplog) == [("ERROR", "update_not_enqueued")]
        assert "words of mine" not in str([vars(r) for r in caplog.records])

    async def test_an_update_that_was_not_stored_is_sent_again(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Telegram does so after any answer but 200. One in the store is known then."""
        gateway = Gateway()
        gateway.accept_fault = StoreUnavailable("full")
        async with gateway.serving():
            answer = await gateway.post(UPDATE)
            assert answer.startswith(b"HTTP/1.1 503 ")
            gateway.accept_fault = None
            assert (await gateway.post(UPDATE)).startswith(OK)
        assert (gateway.letters, gateway.turns) == ([], [])
        assert logged(caplog) == [("ERROR", "update_refused")]

    async def test_faults_everywhere_still_give_a_200(self) -> None:
        """A reader, mailboxes and dead letters that all fail."""
        gateway = Gateway()
        gateway.accept_fault = gateway.bury_fault = RuntimeError()
        async with gateway.serving():
            assert (await gateway.post(UPDATE)).startswith(OK)
            gateway.read_fault = KeyError()
            assert (await gateway.post(UPDATE)).startswith(OK)


class TestSecret:
    """Requests that are not Telegram's."""

    @pytest.mark.parametrize(
        "secret",
        [
            None,
            b"",
            b"wrong",
            SECRET.lower().encode(),
            SECRET.encode()[:-1],
            b"\xff\xfe",
        ],
    )
    async def test_a_wrong_secret_is_a_warning_and_nothing_else(
        self, secret: bytes | None, caplog: pytest.LogCaptureFixture
    ) -> None:
        """It is answered like any other request, so that nobody learns by asking."""
        gateway = Gateway()
        async with gateway.serving():
            right = await gateway.post(UPDATE)
            wrong = await gateway.post(UPDATE, secret=secret)
        assert without_date(wrong) == without_date(right)
        assert len(gateway.accepted) == 1
        assert gateway.letters == []
        assert gateway.outcomes == [(Outcome.FORBIDDEN, None)]
        assert logged(caplog) == [("WARNING", "webhook_secret_invalid")]

    async def test_who_knocks_often_writes_one_line(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        """For each of the two things that can be wrong; what comes again is counted."""
        rarely = partial(RateLimitedLogger, seconds=3600)
        for module in (webhook, update_receiver):
            monkeypatch.setattr(module, "RateLimitedLogger", rarely)
        gateway = Gateway()
        async with gateway.serving():
            for _ in range(5):
                await gateway.post(UPDATE, secret=b"wrong")
                await gateway.post(b"{")
        assert sorted(logged(caplog)) == [
            ("ERROR", "update_body_invalid"),
            ("WARNING", "webhook_secret_invalid"),
        ]
        assert len(gateway.outcomes) == 10

    async def test_the_previous_secret_is_accepted_beside_the_current_one(self) -> None:
        """So that Telegram and many gateways can change it one after the other."""
        gateway = Gateway()
        async with gateway.serving():
            answers = [
                (await gateway.post(UPDATE, secret=secret.encode())).partition(
                    b"\r\nDate"
                )[0]
                for secret in (SECRET, PREVIOUS_SECRET, "another-Secret_0123")
            ]
        assert len(set(answers)) == 1  # nobody learns which one fits
        assert len(gateway.accepted) == 2
        assert gateway.outcomes == [(Outcome.FORBIDDEN, None)]

    @pytest.mark.parametrize("secrets", [[], [""], [SECRET, ""]])
    def test_an_empty_secret_is_refused(self, secrets: list[str]) -> None:
        """A missing header would fit it."""
        gateway = Gateway()
        with pytest.raises(ValueError, match="empty secret"):
            WebhookTarget(secrets, gateway.receiver, gateway.turns.append)

    async def test_the_connection_outlives_a_wrong_secret(self) -> None:
        """A proxy shares it among senders: what was not used has to be out of the way.

        The body comes after the head was seen, so that it is still to be read then.
        """
        gateway = Gateway()
        async with gateway.serving(), gateway.connection() as connection:
            body = b"x" * (2 * MEBIBYTE)
            connection.send(head(len(body), secret=b"wrong"))
            await wait_until(lambda: gateway.begun)
            connection.send(body)
            assert (await connection.answer()).startswith(OK)
            connection.send(head(len(UPDATE)) + UPDATE)
            assert (await connection.answer()).startswith(OK)
        assert len(gateway.accepted) == 1

    async def test_other_methods_are_refused(self) -> None:
        gateway = Gateway()
        async with gateway.serving(), gateway.connection() as connection:
            connection.send(b"GET /webhook/telegram HTTP/1.0\r\n\r\n")
            assert b" 405 " in await connection.status()
        assert gateway.outcomes == []


class TestBadBodies:
    """Bodies that are no updates."""

    async def test_a_malformed_body_is_a_dead_letter(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Somebody may look at it; the log only says that it came."""
        gateway = Gateway()
        body = b'{"update_id": 7, "message": {"text": "words of mine"}}'
        async with gateway.serving():
            assert (await gateway.post(body)).startswith(OK)
        [dead_letter] = gateway.letters
        assert (dead_letter.update_id, dead_letter.ordering_key) == (None, None)
        assert (dead_letter.reason, dead_letter.body) == ("malformed", body)
        assert dead_letter.dead_lettered_at == gateway.clock.now()
        assert gateway.outcomes == [(Outcome.MALFORMED, "malformed")]
        assert logged(caplog) == [("ERROR", "update_body_invalid")]
        fields = vars(caplog.records[-1])
        assert (fields["reason"], fields["size"]) == ("malformed", len(body))
        assert "words of mine" not in str(fields)

    async def test_an_empty_body_leaves_no_letter(self) -> None:
        gateway = Gateway()
        async with gateway.serving():
            assert (await gateway.post(b"")).startswith(OK)
        assert gateway.letters == []
        assert gateway.outcomes == [(Outcome.MALFORMED, "malformed")]

    async def test_a_fault_of_the_reader_loses_nothing(self) -> None:
        """What it cannot read for reasons of its own is kept as well."""
        gateway = Gateway()
        gateway.read_fault = KeyError("words of mine")
        async with gateway.serving():
            assert (await gateway.post(UPDATE)).startswith(OK)
        assert [dead_letter.body for dead_letter in gateway.letters] == [UPDATE]

    async def test_a_body_may_have_one_mebibyte_and_not_a_byte_more(self) -> None:
        gateway = Gateway()
        filling = b" " * (MEBIBYTE - len(UPDATE))
        async with gateway.serving():
            assert (await gateway.post(UPDATE + filling)).startswith(OK)
            assert (gateway.outcomes, len(gateway.accepted)) == ([], 1)
            assert (await gateway.post(UPDATE + filling + b" ")).startswith(OK)
        assert gateway.outcomes == [(Outcome.MALFORMED, "too_large")]
        assert (gateway.letters, len(gateway.accepted)) == ([], 1)

    async def test_a_compressed_body_is_not_looked_into(self) -> None:
        """Half a megabyte can hold half a gigabyte of nothing; Telegram sends none."""
        gateway = Gateway()
        packed = gzip.compress(UPDATE)
        async with gateway.serving(), gateway.connection() as connection:
            connection.send(head(len(packed), "Content-Encoding: gzip") + packed)
            assert (await connection.answer()).startswith(OK)
        assert gateway.outcomes == [(Outcome.MALFORMED, "malformed")]
        assert [dead_letter.body for dead_letter in gateway.letters] == [packed]

    @pytest.mark.parametrize("secret", [SECRET, "wrong"])
    async def test_half_a_body_is_not_waited_for(self, secret: str) -> None:
        """The sender gets its answer, and what it sends later goes nowhere."""
        gateway = Gateway(body_seconds=0.1)
        async with gateway.serving(), gateway.connection() as connection:
            connection.send(head(100, secret=secret.encode()) + b'{"update_id"')
            answer = await connection.answer()
            assert answer.startswith(OK)
            assert b"Connection: close" in answer
            connection.send(b":1}" + b" " * 1000)
            assert await connection.closed()
        assert (gateway.accepted, gateway.letters) == ([], [])
        [(outcome, fault)] = gateway.outcomes
        assert outcome == (Outcome.MALFORMED if secret == SECRET else Outcome.FORBIDDEN)
        assert fault == ("body_timeout" if secret == SECRET else None)

    async def test_a_stranger_has_less_time_than_telegram(self) -> None:
        """Strangers who send half a body would keep all connections for themselves."""
        gateway = Gateway(body_seconds=10 * LIMIT)
        async with (
            gateway.serving(),
            gateway.connection() as telegram,
            gateway.connection() as stranger,
        ):
            telegram.send(head(len(UPDATE)) + UPDATE[:5])
            await wait_until(lambda: gateway.begun)
            stranger.send(head(100, secret=b"wrong") + b'{"update_id"')
            assert (await stranger.answer()).startswith(OK)
            telegram.send(UPDATE[5:])
            assert (await telegram.answer()).startswith(OK)
        assert gateway.outcomes == [(Outcome.FORBIDDEN, None)]
        assert len(gateway.accepted) == 1

    async def test_a_sender_that_hangs_up_in_the_middle_is_only_noted(self) -> None:
        """Telegram does so whenever its webhook is set again."""
        gateway = Gateway()
        async with gateway.serving():
            async with gateway.connection() as connection:
                connection.send(head(100) + b'{"update_id"')
                await wait_until(lambda: gateway.begun)
                connection.hang_up()
            await wait_until(lambda: gateway.turns)
        assert gateway.outcomes == [(Outcome.MALFORMED, "connection_closed")]
        assert gateway.letters == []

    @pytest.mark.parametrize("secret", [SECRET, "wrong"])
    @pytest.mark.parametrize(
        ("encoding", "garbage"),
        [
            ("Transfer-Encoding: chunked", b"zz\r\ngarbage\r\n"),
            ("Transfer-Encoding: chunked", b"4\r\nabcdefgh\r\n0\r\n\r\n"),
        ],
    )
    async def test_a_broken_encoding_is_answered_too(
        self, encoding: str, garbage: bytes, secret: str
    ) -> None:
        """The connection ends, because where the body ends is not known any more."""
        gateway = Gateway(body_seconds=0.1)
        async with gateway.serving(), gateway.connection() as connection:
            connection.send(head(None, encoding, secret=secret.encode()))
            await wait_until(lambda: gateway.begun)
            connection.send(garbage)
            assert (await connection.answer()).startswith(OK)
            connection.send(b"more")
            assert await connection.closed()
        assert len(gateway.outcomes) == 1
        assert (gateway.accepted, gateway.letters) == ([], [])


def without_date(answer: bytes) -> list[bytes]:
    """Return the lines of an answer that do not depend on the time."""
    return [line for line in answer.splitlines() if not line.startswith(b"Date:")]


SLOW = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
JUNK = (
    st.binary(max_size=200)
    | st.just(UPDATE)
    | st.sampled_from([b"", b"{}", UPDATE[:9]])
)


@settings(max_examples=60, suppress_health_check=SLOW)
@given(st.lists(JUNK, min_size=1, max_size=8))
async def test_any_bytes_are_answered_with_200(bodies: list[bytes]) -> None:
    """One answer for each body, on one connection, sent without waiting for any."""
    gateway = Gateway()
    async with gateway.serving(), gateway.connection() as connection:
        for body in bodies:
            connection.send(head(len(body)) + body)
        for _ in bodies:
            assert (await connection.answer()).startswith(OK)
    assert len(gateway.accepted) + len(gateway.turns) == len(bodies)
    unread = [body for body in bodies if body and body != UPDATE]
    assert [dead_letter.body for dead_letter in gateway.letters] == unread


@settings(max_examples=60, suppress_health_check=SLOW)
@given(st.lists(st.integers(0x21, 0xFF).filter(lambda byte: byte != 0x7F), max_size=40))
async def test_any_secret_is_answered_with_200(secret: list[int]) -> None:
    """Any bytes that HTTP allows in a header."""
    gateway = Gateway()
    async with gateway.serving():
        assert (await gateway.post(UPDATE, secret=bytes(secret))).startswith(OK)
    assert len(gateway.accepted) == (bytes(secret) == SECRET.encode())
