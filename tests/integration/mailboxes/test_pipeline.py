"""The pipeline over one connection."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import AuthenticationError, InvalidResponse
from redis.exceptions import ConnectionError as Lost

from gateway.domain.errors import StoreError
from gateway.mailboxes.redis.client.command import Argument, RedisCommand
from gateway.mailboxes.redis.client.connection import get_transport
from gateway.mailboxes.redis.client.connection_factory import make_connection_factory
from gateway.mailboxes.redis.client.pipeline import CommandPipeline, encode_command
from gateway.mailboxes.redis.client.server_health import ServerHealth
from tests.support.fakes import FakeClock
from tests.support.redis_servers import RedisServer
from tests.support.waiting import wait_until

PING = encode_command((b"PING",))


async def connected(url: str) -> AbstractConnection:
    """Return an open connection."""
    connection = make_connection_factory(url)()
    await connection.connect()  # type: ignore[no-untyped-call]  # redis-py
    return connection


@pytest.fixture
async def connection(redis_server: RedisServer) -> AsyncIterator[AbstractConnection]:
    """Open a connection to a real server."""
    connection = await connected(redis_server.url)
    yield connection
    await connection.disconnect(nowait=True)


class Pipeline:
    """A pipeline over a connection, and the commands sent over it."""

    def __init__(self, connection: AbstractConnection) -> None:
        clock = FakeClock()
        self.queue: deque[RedisCommand] = deque()
        self.pipeline = CommandPipeline(
            get_transport(connection),
            self.queue,
            clock,
            ServerHealth(clock),
            lambda *_: pytest.fail("moved"),
        )

    def send(self, *commands: tuple[Argument, ...]) -> list[RedisCommand]:
        """Send commands in one batch."""
        batch = [RedisCommand(0, command) for command in commands]
        self.queue.extend(batch)
        self.pipeline.schedule_send()
        return batch


@asynccontextmanager
async def listening(
    serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> AsyncIterator[Pipeline]:
    """Open a pipeline to a server that does not behave like Redis."""
    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        connection = await connected(f"redis://127.0.0.1:{port}")
        yield Pipeline(connection)
        await connection.disconnect(nowait=True)


async def test_redis_py_shows_its_transport(connection: AbstractConnection) -> None:
    """It is no public part of it, and might go with any of its versions."""
    assert isinstance(get_transport(connection), asyncio.Transport)


async def test_so_it_does_over_a_socket_file(tmp_path: Path) -> None:
    """The other kind of connections has a transport as well."""
    path = tmp_path / "socket"
    server = RedisServer(tmp_path, f"--unixsocket {path}")
    server.start()
    try:
        connection = await connected(f"unix://{path}")
        (ping,) = Pipeline(connection).send((b"PING",))
        assert await ping.reply == b"PONG"
        await connection.disconnect(nowait=True)
    finally:
        server.kill()


async def test_answers_come_in_order_and_errors_are_answers(
    connection: AbstractConnection,
) -> None:
    """A refused command has an answer too, which keeps the others in their places."""
    ping, nonsense, echo = Pipeline(connection).send(
        (b"PING",), (b"NONSENSE",), (b"ECHO", b"x" * 300_000)
    )
    assert await ping.reply == b"PONG"
    with pytest.raises(StoreError):
        await nonsense.reply
    assert await echo.reply == b"x" * 300_000


async def test_an_error_of_the_connection_ends_the_pipeline() -> None:
    """And nothing more is handed out: the rest is asked for again."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(3 * len(PING))
        writer.write(b"+PONG\r\n-NOAUTH Authentication required.\r\n+PONG\r\n")
        writer.close()

    async with listening(serve) as it:
        first, refused, last = it.send((b"PING",), (b"PING",), (b"PING",))
        with pytest.raises(AuthenticationError):
            await it.pipeline.wait_closed()
        assert await first.reply == b"PONG"
        assert it.pipeline.unanswered == [refused, last]


async def test_a_pipeline_that_broke_takes_no_more_commands() -> None:
    """They stay in the queue, for the next connection."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(len(PING))
        writer.close()

    async with listening(serve) as it:
        (ping,) = it.send((b"PING",))
        with pytest.raises(Lost):
            await it.pipeline.wait_closed()
        (late,) = it.send((b"PING",))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert list(it.queue) == [late]
        assert it.pipeline.unanswered == [ping]


@pytest.mark.parametrize(("sent", "error"), [(b"", Lost), (b"?\r\n", InvalidResponse)])
async def test_a_pipeline_that_breaks_while_nobody_asks_ends_with_the_next_batch(
    sent: bytes, error: type[Exception]
) -> None:
    """A server that ends idle connections is not connected to again and again."""
    ends = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(len(PING))
        writer.write(b"+PONG\r\n")
        await ends.wait()
        writer.write(sent)
        writer.close()

    async with listening(serve) as it:
        running = asyncio.create_task(it.pipeline.wait_closed())
        (ping,) = it.send((b"PING",))
        assert await ping.reply == b"PONG"
        ends.set()
        await wait_until(lambda: it.pipeline._error is not None)  # noqa: SLF001 - unseen so far
        assert not running.done()
        (ping,) = it.send((b"PING",))
        with pytest.raises(error):
            await running
        assert it.pipeline.unanswered == [ping]
