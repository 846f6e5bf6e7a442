"""Posts over kept connections: real sockets, and servers that say what they like."""

import asyncio
import gc
import socket
import ssl
import struct
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway.telegram.bot_api import connection
from gateway.telegram.bot_api.connection import Response, ResponseLost
from gateway.telegram.bot_api.connection_pool import ConnectionPool, RequestNotSent
from tests.support.waiting import LIMIT, wait_until

CERTIFICATES = Path(__file__).parents[2] / "support" / "certificates"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
SLOW = b"HTTP/1.1 429 Slow\r\nContent-Length: 0\r\n\r\n"
TOKEN = "4711:AA-secret"


class Line:
    """A connection as the server has it."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.reader = reader
        self.writer = writer
        self.heads: list[str] = []
        self.bodies: list[bytes] = []
        self.ended = False

    async def read(self) -> bytes:
        """Read a request and give its body."""
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
        length = next(x for x in head.split("\r\n") if x.startswith("Content-Length"))
        body = await self.reader.readexactly(int(length.partition(":")[2]))
        self.heads.append(head)
        self.bodies.append(body)
        return body

    async def say(self, *pieces: bytes) -> None:
        """Write pieces, each of which the client reads by itself."""
        for piece in pieces:
            self.writer.write(piece)
            for _ in range(3):
                await asyncio.sleep(0)

    async def serve(self, answer: bytes = OK) -> None:
        """Answer all requests alike."""
        while True:
            await self.read()
            self.writer.write(answer)


Talk = Callable[[Line], Awaitable[None]]


class Server:
    """What the server saw."""

    def __init__(self) -> None:
        self.url = ""
        self.lines: list[Line] = []

    @property
    def open(self) -> int:
        """How many connections are open."""
        return sum(not line.ended for line in self.lines)

    @property
    def bodies(self) -> list[bytes]:
        """All requests, connection by connection."""
        return [body for line in self.lines for body in line.bodies]


@asynccontextmanager
async def serving(
    talk: Talk = Line.serve,
    tls: ssl.SSLContext | None = None,
    host: str = "127.0.0.1",
) -> AsyncIterator[Server]:
    """Serve each connection by `talk`; it is closed after that."""
    seen = Server()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = Line(reader, writer)
        seen.lines.append(line)
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            await talk(line)
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
        line.ended = True

    async with await asyncio.start_server(serve, host, 0, ssl=tls) as server:
        port = server.sockets[0].getsockname()[1]
        scheme = "https" if tls else "http"
        seen.url = f"{scheme}://{host}:{port}/bot{TOKEN}/"
        yield seen
        await wait_until(lambda: not seen.open)


@asynccontextmanager
async def pool_of(url: str, **changes: Any) -> AsyncIterator[ConnectionPool]:  # noqa: ANN401 - as they are
    """Yield a pool, which is closed at the end."""
    defaults = {
        "max_requests": 9,
        "request_timeout": 5,
        "connect_timeout": 5,
        "idle_timeout": 30,
    }
    pool = ConnectionPool(url, **{**defaults, **changes})
    yield pool
    await pool.close()


@pytest.fixture(autouse=True)
async def _nothing_is_left_to_the_loop() -> AsyncIterator[None]:
    faults: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, it: faults.append(it))
    yield
    assert not faults


async def hang(line: Line) -> None:
    """Read requests and never answer."""
    await line.reader.read(-1)


def answering(*pieces: bytes) -> Talk:
    """Return a server that answers one request and closes."""

    async def talk(line: Line) -> None:
        await line.read()
        await line.say(*pieces)

    return talk


async def outcome(
    pool: ConnectionPool, body: bytes = b"{}"
) -> Response | type[Exception]:
    """Post, and give the answer or the kind of the error."""
    try:
        return await pool.post("getMe", body)
    except (RequestNotSent, ResponseLost) as raised:
        error = raised
    assert TOKEN not in "".join(traceback.format_exception(error)) + repr(pool)
    return type(error)


async def test_a_request_arrives_as_it_should() -> None:
    async with serving() as server, pool_of(server.url) as pool:
        assert await pool.post("sendMessage", b'{"text":1}') == (200, "", b"{}")
    (line,) = server.lines
    assert line.bodies == [b'{"text":1}']
    host = server.url.split("/")[2]
    assert line.heads[0].split("\r\n") == [
        f"POST /bot{TOKEN}/sendMessage HTTP/1.1",
        f"Host: {host}",
        "Content-Type: application/json",
        "Accept-Encoding: identity",
        "Content-Length: 10",
        "",
        "",
    ]


async def test_credentials_in_the_address_are_used() -> None:
    """A Bot API server of one's own may stand behind a password."""
    async with serving() as server:
        url = server.url.replace("//", "//me:a%40b@")
        async with pool_of(url) as pool:
            await pool.post("getMe", b"{}")
    assert "\r\nAuthorization: Basic bWU6YUBi\r\n" in server.lines[0].heads[0]
    assert "me:" not in server.lines[0].heads[0]


class TestAnswers:
    """What counts as an answer, and what is left of the connection."""

    CHUNKED = (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"3;x=y\r\nabc\r\n10\r\n0123456789abcdef\r\n0\r\nTrailer: x\r\n\r\n"
    )
    ANSWERS = (
        OK,
        b"HTTP/1.1 429 Slow\r\nretry-after: 17\r\nContent-Length: 3\r\n\r\nabc",
        CHUNKED,
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nLink: x\r\n\r\n" + OK,
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 502 Bad\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 103 Early\r\nRetry-After: 9\r\n\r\n" + SLOW,
    )
    MEANINGS = (
        (200, "", b"{}"),
        (429, "17", b"abc"),
        (200, "", b"abc0123456789abcdef"),
        (200, "", b"{}"),
        (204, "", b""),
        (502, "", b""),
        (429, "", b""),
    )

    @settings(max_examples=30)
    @given(
        which=st.lists(st.integers(0, 6), min_size=1, max_size=4),
        cuts=st.sets(st.integers(1, 150)),
    )
    @example(which=list(range(7)), cuts={20})
    def test_answers_are_read_however_they_are_cut(
        self, which: list[int], cuts: set[int]
    ) -> None:
        """And the next request goes over the same connection."""

        async def talk(line: Line) -> None:
            for each in which:
                await line.read()
                answer = self.ANSWERS[each]
                ends = [cut for cut in sorted(cuts) if cut < len(answer)]
                pairs = zip([0, *ends], [*ends, len(answer)], strict=True)
                await line.say(*(answer[start:end] for start, end in pairs))
            await line.reader.read()

        async def run() -> None:
            async with serving(talk) as server, pool_of(server.url) as pool:
                for each in which:
                    assert await pool.post("getMe", b"{}") == self.MEANINGS[each]
                assert len(server.lines) == 1

        asyncio.run(run())

    @pytest.mark.parametrize(
        "head",
        [
            b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\n",
            b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n",
            b"HTTP/1.1 200 OK\r\n\r\n",
            b"HTTP/1.0 200 OK\r\n\r\n",
        ],
    )
    async def test_a_server_may_close_after_its_answer(self, head: bytes) -> None:
        """The end of the connection may be the end of the body."""
        talk = answering(head, b"{", b"}")
        async with serving(talk) as server, pool_of(server.url) as pool:
            for _ in range(2):
                assert await pool.post("getMe", b"{}") == (200, "", b"{}")
        assert len(server.lines) == 2

    async def test_a_connection_is_closed_where_the_server_says_so(self) -> None:
        """Also if it leaves that to the client."""
        close = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"

        async def talk(line: Line) -> None:
            await line.serve(close)

        async with serving(talk) as server, pool_of(server.url) as pool:
            await pool.post("getMe", b"{}")
            await wait_until(lambda: not server.open)

    @pytest.mark.parametrize(
        "answer",
        [
            b"",
            b"HTTP/1.1 20",
            b"HTTP/1.1 200 OK\r\nContent-Le",
            b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nabc",
            b"HTTP/1.1 100 Continue\r\n\r\n",
        ],
    )
    async def test_half_an_answer_is_none(self, answer: bytes) -> None:
        """The server closes in the middle of it."""
        talk = answering(answer)
        async with serving(talk) as server, pool_of(server.url) as pool:
            assert await outcome(pool) is ResponseLost
            assert len(server.bodies) == 1

    async def test_an_answer_that_breaks_off_is_none(self) -> None:
        """The end of the connection is the end of the body only if it ends well."""

        async def talk(line: Line) -> None:
            await line.read()
            await line.say(b"HTTP/1.1 200 OK\r\n\r\n", b"{}")
            linger = struct.pack("ii", 1, 0)
            raw = line.writer.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            line.writer.transport.abort()

        async with serving(talk) as server, pool_of(server.url) as pool:
            assert await outcome(pool) is ResponseLost

    @pytest.mark.parametrize(
        "answer",
        [
            b"no HTTP at all\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n\r\n",
            b"HTTP/1.1 101 Go\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000,
            b"HTTP/1.1 100 Continue\r\n\r\n" * 3_000,
            b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 100_001,
            b"HTTP/1.1 200 OK\r\nContent-Length: 999999\r\n\r\n" + b"x" * 100_001,
        ],
        ids=lambda answer: answer[:40].decode(),
    )
    async def test_garbage_and_floods_end_the_connection(
        self, answer: bytes, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """At once, and the next request is not harmed."""
        monkeypatch.setattr(connection, "_MAX_RESPONSE_BYTES", 100_000)

        async def talk(line: Line) -> None:
            await line.serve(OK if len(server.lines) > 1 else answer)

        async with (
            serving(talk) as server,
            pool_of(server.url, request_timeout=60) as pool,
        ):
            async with asyncio.timeout(LIMIT):
                assert await outcome(pool) is ResponseLost
            assert await outcome(pool) == (200, "", b"{}")
            await wait_until(lambda: server.lines[0].ended)

    async def test_a_large_answer_is_read(self) -> None:
        """It is far larger than what is read at once."""
        body = b"0123456789" * 200_000
        head = b"HTTP/1.1 200 OK\r\nContent-Length: 2000000\r\n\r\n"
        async with (
            serving(answering(head + body)) as server,
            pool_of(server.url) as pool,
        ):
            assert await pool.post("getMe", b"{}") == (200, "", body)

    @pytest.mark.parametrize("more", [OK.replace(b"{}", b"[]"), b"garbage"])
    async def test_a_second_answer_is_nobodys(self, more: bytes) -> None:
        """The next request must not get it."""

        async def talk(line: Line) -> None:
            await line.serve(OK + more)

        async with serving(talk) as server, pool_of(server.url) as pool:
            for _ in range(2):
                assert await pool.post("getMe", b"{}") == (200, "", b"{}")
        assert len(server.lines) == 2

    async def test_an_answer_without_a_request_ends_the_connection(self) -> None:
        """The next request must not get it."""

        async def talk(line: Line) -> None:
            await line.serve()

        async with serving(talk) as server, pool_of(server.url) as pool:
            await pool.post("getMe", b"{}")
            server.lines[0].writer.write(OK.replace(b"{}", b"[]"))
            await wait_until(lambda: not server.open)
            assert await pool.post("getMe", b"{}") == (200, "", b"{}")
        assert len(server.lines) == 2


class TestKeeping:
    """Connections are used again, as long as they are whole."""

    async def test_requests_in_turn_share_a_connection(self) -> None:
        async with serving() as server, pool_of(server.url) as pool:
            for _ in range(5):
                await pool.post("getMe", b"{}")
        assert len(server.lines) == 1

    async def test_a_connection_outlives_the_deadlines_of_its_requests(self) -> None:
        loop = asyncio.get_running_loop()
        async with (
            serving() as server,
            pool_of(server.url, request_timeout=1.5) as pool,
        ):
            start = loop.time()
            while loop.time() < start + 2:
                assert await outcome(pool) == (200, "", b"{}")
        assert len(server.lines) == 1

    async def test_each_answer_may_have_the_longest_length(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What came before on the connection does not count."""
        monkeypatch.setattr(connection, "_MAX_RESPONSE_BYTES", len(OK))

        async def talk(line: Line) -> None:
            while True:
                await line.read()
                await line.say(OK[:-1], OK[-1:])

        async with serving(talk) as server, pool_of(server.url) as pool:
            for _ in range(3):
                assert await outcome(pool) == (200, "", b"{}")

    async def test_the_newest_connection_is_taken_first(self) -> None:
        """So that the others become old and are closed."""
        async with serving() as server, pool_of(server.url) as pool:
            await asyncio.gather(*(pool.post("getMe", b"{}") for _ in range(3)))
            assert len(server.lines) == 3
            for _ in range(5):
                await pool.post("getMe", b"{}")
            assert sorted(len(line.bodies) for line in server.lines) == [1, 1, 6]

    async def test_an_idle_connection_is_closed_in_time(self) -> None:
        async with serving() as server, pool_of(server.url, idle_timeout=1.5) as pool:
            await asyncio.gather(*(pool.post("getMe", b"{}") for _ in range(3)))
            while server.open > 1:
                await pool.post("getMe", b"{}")
            assert sorted(line.ended for line in server.lines) == [False, True, True]
            await wait_until(lambda: not server.open)

    async def test_a_connection_the_server_closed_is_not_used(self) -> None:
        """Nothing was written to it."""
        async with serving() as server, pool_of(server.url) as pool:
            await pool.post("getMe", b"{}")
            server.lines[0].writer.close()
            await wait_until(lambda: not server.open)
            assert await outcome(pool) == (200, "", b"{}")

    async def test_a_connection_that_closes_just_then_leaves_a_doubt(self) -> None:
        """The server may have read the request; it is not repeated here."""
        async with serving() as server, pool_of(server.url) as pool:
            await pool.post("getMe", b"{}")
            # The client has not been told when it writes.
            server.lines[0].writer.get_extra_info("socket").shutdown(socket.SHUT_RDWR)
            assert await outcome(pool) is ResponseLost
            assert await outcome(pool) == (200, "", b"{}")
        assert len(server.lines) == 2

    async def test_large_bodies_arrive_whole(self) -> None:
        body = b"0123456789" * 800_000

        async def talk(line: Line) -> None:
            read = await line.read()
            assert read == body
            await line.say(OK)
            await line.serve()

        async with serving(talk) as server, pool_of(server.url) as pool:
            for each in (body, b"{}"):
                assert await pool.post("getMe", each) == (200, "", b"{}")
        assert len(server.lines) == 1

    async def test_an_answer_may_come_before_the_request_is_sent(self) -> None:
        """The rest would be taken for the next request: the connection is closed."""

        async def talk(line: Line) -> None:
            await line.reader.readuntil(b"\r\n\r\n")
            await line.say(b"HTTP/1.1 413 Large\r\nContent-Length: 0\r\n\r\n")
            await ended.wait()

        ended = asyncio.Event()
        async with serving(talk) as server, pool_of(server.url) as pool:
            for lines in (1, 2):
                body = b"0" * 8_000_000
                assert await pool.post("getMe", body) == (413, "", b"")
                assert len(server.lines) == lines
            ended.set()


class TestTurns:
    """No more requests are under way than there may be connections."""

    async def test_requests_wait_in_turn(self) -> None:
        async with serving() as server, pool_of(server.url, max_requests=1) as pool:
            bodies = [b"%d" % number for number in range(20)]
            await asyncio.gather(*(pool.post("getMe", body) for body in bodies))
            assert server.bodies == bodies

    async def test_no_connection_more_is_opened(self) -> None:
        async with serving() as server, pool_of(server.url, max_requests=3) as pool:
            await asyncio.gather(*(pool.post("getMe", b"{}") for _ in range(20)))
            assert len(server.lines) == 3

    async def test_a_broken_connection_lets_the_next_one_go(self) -> None:
        """Whatever happens to a request, its turn ends."""
        async with (
            serving(answering(b"")) as server,
            pool_of(server.url, max_requests=1) as pool,
        ):
            outcomes = await asyncio.gather(*(outcome(pool) for _ in range(4)))
        assert outcomes == [ResponseLost] * 4

    async def test_who_waits_too_long_has_sent_nothing(self) -> None:
        """The request may be repeated."""
        async with (
            serving(hang) as server,
            pool_of(server.url, max_requests=1, request_timeout=1) as pool,
        ):
            outcomes = await asyncio.gather(outcome(pool), outcome(pool))
            assert list(outcomes) == [ResponseLost, RequestNotSent]

    async def test_the_wait_for_a_connection_takes_no_time_from_the_request(
        self,
    ) -> None:
        """A request that is given up early may be executed, and is lost."""
        loop = asyncio.get_running_loop()
        answered_at = 0.0

        async def talk(line: Line) -> None:
            nonlocal answered_at
            await line.read()
            await asyncio.sleep(0.5)
            answered_at = loop.time()
            await line.say(OK)
            await line.reader.read()

        async with (
            serving(talk) as server,
            pool_of(server.url, max_requests=1, request_timeout=2) as pool,
        ):
            outcomes = await asyncio.gather(outcome(pool), outcome(pool))
            assert list(outcomes) == [(200, "", b"{}"), ResponseLost]
            assert loop.time() >= answered_at + 2
        assert len(server.lines) == 1


class TestEnds:
    """Deadlines, cancellation, and the end of the pool."""

    async def test_a_request_ends_at_its_deadline(self) -> None:
        """And its connection with it: a late answer is nobody's."""

        async def talk(line: Line) -> None:
            await line.read()
            await line.say(OK[:-1])
            await line.reader.read()

        async with (
            serving(talk) as server,
            pool_of(server.url, request_timeout=0.5) as pool,
        ):
            assert await outcome(pool) is ResponseLost
            await wait_until(lambda: not server.open)

    async def test_each_request_of_a_connection_has_its_own_deadline(self) -> None:
        """The second one has all of its time, whatever the first one took."""

        async def talk(line: Line) -> None:
            await line.read()
            await line.say(OK)
            await line.read()
            await line.reader.read()

        loop = asyncio.get_running_loop()
        async with (
            serving(talk) as server,
            pool_of(server.url, request_timeout=1.5) as pool,
        ):
            assert await outcome(pool) == (200, "", b"{}")
            start = loop.time()
            assert await outcome(pool) is ResponseLost
            assert loop.time() >= start + 1.5
        assert len(server.lines) == 1

    async def test_opening_a_connection_has_a_limit_of_its_own(self) -> None:
        """The server waits for a request, the client for a TLS handshake."""
        async with serving(hang) as server:
            url = server.url.replace("http:", "https:")
            async with pool_of(url, connect_timeout=0.1) as pool:
                assert await outcome(pool) is RequestNotSent

    async def test_a_refused_connection_has_sent_nothing(self) -> None:
        """Nor one to a host without a name."""
        async with serving() as gone:
            pass
        for url in (gone.url, "http://host.invalid/", "http://x..y/", "ftp://x/"):
            async with pool_of(url) as pool:
                assert await outcome(pool) is RequestNotSent

    async def test_another_address_of_the_host_is_tried(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async with serving() as server:
            port = int(server.url.split("/")[2].partition(":")[2])

            async def addresses(*_: object, **__: object) -> list[Any]:
                kind = (socket.AF_INET, socket.SOCK_STREAM, 6, "")
                return [(*kind, (f"127.0.0.{last}", port)) for last in (2, 1)]

            loop = asyncio.get_running_loop()
            monkeypatch.setattr(loop, "getaddrinfo", addresses)
            async with pool_of(server.url) as pool:
                assert await outcome(pool) == (200, "", b"{}")

    async def test_those_that_connect_at_once_share_one_look_up(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A slow name server would keep a crowd waiting until it gives up."""
        loop = asyncio.get_running_loop()
        real = loop.getaddrinfo
        names: list[str] = []
        answers = asyncio.Event()

        async def look_up(host: str, *place: Any, **how: Any) -> Any:  # noqa: ANN401 - as the loop's
            names.append(host)
            await answers.wait()
            return await real(host, *place, **how)

        monkeypatch.setattr(loop, "getaddrinfo", look_up)
        async with serving() as server, pool_of(server.url) as pool:
            waiting = [asyncio.create_task(outcome(pool)) for _ in range(3)]
            await wait_until(lambda: names)
            waiting[0].cancel()  # takes the answer from nobody else
            waiting.append(asyncio.create_task(outcome(pool)))
            answers.set()
            assert await asyncio.gather(*waiting[1:]) == [(200, "", b"{}")] * 3
        assert len(names) == 1

    async def test_nobody_may_be_left_when_a_look_up_fails(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It is looked up again for the next one, and the loop hears nothing of it."""
        loop = asyncio.get_running_loop()
        begun: list[str] = []
        fails = asyncio.Event()

        async def look_up(host: str, *_: object, **__: object) -> Any:  # noqa: ANN401 - as the loop's
            begun.append(host)
            await fails.wait()
            raise socket.gaierror

        monkeypatch.setattr(loop, "getaddrinfo", look_up)
        async with pool_of("http://host.invalid/", connect_timeout=0.05) as pool:
            assert await outcome(pool) is RequestNotSent
            fails.set()
            assert await outcome(pool) is RequestNotSent
            assert await outcome(pool) is RequestNotSent
        gc.collect()  # a task whose error nobody read says so when it goes
        assert len(begun) == 2

    async def test_a_cancelled_request_takes_its_connection_along(self) -> None:
        """The answer on its way must not meet the next request."""

        async def talk(line: Line) -> None:
            await line.read()
            if len(server.lines) > 1:
                await line.say(OK)
            await line.reader.read()

        async with serving(talk) as server, pool_of(server.url, max_requests=1) as pool:
            task = asyncio.create_task(pool.post("getMe", b"{}"))
            await wait_until(lambda: server.bodies)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await outcome(pool) == (200, "", b"{}")
            await wait_until(lambda: server.lines[0].ended)

    @pytest.mark.parametrize("tls", [False, True])
    async def test_a_request_may_be_cancelled_at_any_moment(
        self, tls: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Its turn and its connection are not lost, and no answer is mixed up."""

        async def talk(line: Line) -> None:
            while True:
                body = await line.read()
                await line.say(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", body)

        monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATES / "ca.pem"))
        async with (
            serving(talk, a_server_context() if tls else None) as server,
            pool_of(server.url, max_requests=2) as pool,
        ):
            for turns in range(60):
                bodies = [b"%03d" % (3 * turns + number) for number in range(3)]
                posts = [
                    asyncio.create_task(pool.post("getMe", body)) for body in bodies
                ]
                for _ in range(turns):
                    await asyncio.sleep(0)
                posts[turns % 2].cancel()
                posts[2].cancel()
                answers = await asyncio.gather(*posts, return_exceptions=True)
                for answer, body in zip(answers, bodies, strict=True):
                    if not isinstance(answer, asyncio.CancelledError):
                        assert answer == (200, "", body)
                assert answers[1 - turns % 2] == (200, "", bodies[1 - turns % 2])
            await wait_until(lambda: server.open <= 2)

    async def test_closing_ends_what_is_idle_and_what_is_under_way(self) -> None:

        async def talk(line: Line) -> None:
            if await line.read() == b"[]":
                await line.say(OK)
            await line.reader.read()

        async with serving(talk) as server, pool_of(server.url) as pool:
            under_way = asyncio.create_task(outcome(pool))
            await outcome(pool, b"[]")
            await wait_until(lambda: len(server.bodies) == 2)
            assert server.open == 2
            await pool.close()
            await wait_until(lambda: not server.open)
            assert await under_way is ResponseLost
            assert await outcome(pool) is RequestNotSent

    async def test_closing_ends_what_waits(self) -> None:
        async with serving(hang) as server, pool_of(server.url, max_requests=1) as pool:
            posts = [asyncio.create_task(outcome(pool)) for _ in range(3)]
            await wait_until(lambda: server.open)
            await pool.close()
            outcomes = await asyncio.gather(*posts)
            assert outcomes == [ResponseLost, RequestNotSent, RequestNotSent]
            assert len(server.lines) == 1

    async def test_closing_while_a_connection_is_opened_leaves_none(self) -> None:
        """It is closed as soon as it is there."""
        async with serving() as server, pool_of(server.url) as pool:
            opening = asyncio.create_task(outcome(pool))
            await asyncio.sleep(0)
            await pool.close()
            assert await opening is RequestNotSent
        assert server.bodies == []


def a_server_context() -> ssl.SSLContext:
    """Return what a server with the tests' certificate needs."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATES / "server.pem", CERTIFICATES / "server.key")
    return context


class TestTls:
    """The server shows who it is, or is told nothing."""

    @pytest.fixture
    def _trusted(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Trust the authority of the tests' certificates."""
        monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATES / "ca.pem"))

    @pytest.mark.usefixtures("_trusted")
    async def test_requests_share_a_connection(self) -> None:
        async with serving(tls=a_server_context()) as server:
            async with pool_of(server.url) as pool:
                for body in (b"{}", b"0" * 2_000_000, b"{}"):
                    assert await outcome(pool, body) == (200, "", b"{}")
            assert len(server.lines) == 1

    @pytest.mark.usefixtures("_trusted")
    async def test_a_body_may_end_with_the_connection(self) -> None:
        talk = answering(b"HTTP/1.1 200 OK\r\n\r\n", b"{", b"}")
        async with (
            serving(talk, a_server_context()) as server,
            pool_of(server.url) as pool,
        ):
            for _ in range(2):
                assert await outcome(pool) == (200, "", b"{}")

    @pytest.mark.usefixtures("_trusted")
    async def test_a_connection_the_server_closed_is_not_used(self) -> None:
        """Nothing was written to it."""
        async with (
            serving(tls=a_server_context()) as server,
            pool_of(server.url) as pool,
        ):
            await outcome(pool)
            server.lines[0].writer.close()
            await wait_until(lambda: not server.open)
            assert await outcome(pool) == (200, "", b"{}")

    @pytest.mark.usefixtures("_trusted")
    async def test_a_name_may_end_with_a_dot(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """So that it is not looked up in other domains; no certificate has the dot."""
        loop = asyncio.get_running_loop()
        real = loop.getaddrinfo
        names: list[str] = []

        async def look_up(host: str, *place: Any, **how: Any) -> Any:  # noqa: ANN401 - as the loop's
            names.append(host)
            return await real("127.0.0.1", *place, **how)

        monkeypatch.setattr(loop, "getaddrinfo", look_up)
        async with serving(tls=a_server_context()) as server:
            url = server.url.replace("127.0.0.1", "localhost.")
            async with pool_of(url) as pool:
                assert await outcome(pool) == (200, "", b"{}")
        assert names == ["localhost."]

    async def test_an_unknown_authority_is_told_nothing(self) -> None:
        """Anybody can make a certificate."""
        async with (
            serving(tls=a_server_context()) as server,
            pool_of(server.url) as pool,
        ):
            assert await outcome(pool) is RequestNotSent
        assert server.bodies == []

    @pytest.mark.usefixtures("_trusted")
    async def test_another_hosts_certificate_is_told_nothing(self) -> None:
        """It is for localhost and 127.0.0.1."""
        async with (
            serving(tls=a_server_context(), host="127.0.0.2") as server,
            pool_of(server.url) as pool,
        ):
            assert await outcome(pool) is RequestNotSent
        assert server.bodies == []


@pytest.fixture
def _debugging(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Have asyncio tell all it can."""
    with caplog.at_level("DEBUG"):
        yield
    assert TOKEN not in caplog.text


@pytest.mark.usefixtures("_debugging")
async def test_the_token_is_in_no_log() -> None:
    """Not even when asyncio is to tell everything."""
    loop = asyncio.get_running_loop()
    loop.set_debug(True)
    loop.slow_callback_duration = 0
    async with serving(answering(b"garbage\r\n\r\n")) as server:
        async with pool_of(server.url) as pool:
            assert await outcome(pool) is ResponseLost
            assert await outcome(pool, b"0" * 8_000_000) is ResponseLost
        url = server.url.replace("http:", "https:")
        async with pool_of(url, connect_timeout=0.1) as pool:
            assert await outcome(pool) is RequestNotSent
