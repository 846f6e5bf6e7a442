"""The bytes of one connection."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import AuthenticationError, InvalidResponse
from redis.exceptions import ConnectionError as Lost

from gateway.mailboxes.redis.client.connection_factory import make_connection_factory
from gateway.mailboxes.redis.client.pipeline import encode_command
from gateway.mailboxes.redis.client.protocol import PipelineProtocol, attach_protocol
from tests.support.redis_servers import RedisServer
from tests.support.waiting import wait_until

PING = encode_command((b"PING",))


async def connected(url: str) -> AbstractConnection:
    """Give a connection."""
    connection = make_connection_factory(url)()
    await connection.connect()  # type: ignore[no-untyped-call]  # redis-py
    return connection


@pytest.fixture
async def connection(redis_server: RedisServer) -> AsyncIterator[AbstractConnection]:
    """Give a connection to a real server."""
    connection = await connected(redis_server.url)
    yield connection
    await connection.disconnect(nowait=True)


async def test_redis_py_shows_its_transport(connection: AbstractConnection) -> None:
    """It is no public part of it: were it gone, all would go on, at a higher price."""
    assert isinstance(attach_protocol(connection, print), PipelineProtocol)


async def test_so_it_does_over_a_socket_file(tmp_path: Path) -> None:
    """The other kind of connections has a transport as well."""
    path = tmp_path / "socket"
    server = RedisServer(tmp_path, f"--unixsocket {path}")
    server.start()
    try:
        connection = await connected(f"unix://{path}")
        replies: list[Any] = []
        line = attach_protocol(connection, replies.append)
        assert isinstance(line, PipelineProtocol)
        line.send(PING, 1)
        await wait_until(lambda: replies == [b"PONG"])
        await connection.disconnect(nowait=True)
    finally:
        server.kill()


async def test_answers_come_in_order_and_errors_are_answers(
    connection: AbstractConnection,
) -> None:
    """A refused command has an answer too, which keeps the others in their places."""
    replies: list[Any] = []
    line = attach_protocol(connection, replies.append)
    line.send(
        PING
        + encode_command((b"NONSENSE",))
        + encode_command((b"ECHO", b"x" * 300_000)),
        3,
    )
    await wait_until(lambda: len(replies) == 3)
    assert replies[0] == b"PONG"
    assert isinstance(replies[1], Exception)
    assert replies[2] == b"x" * 300_000


async def test_what_the_taker_raises_ends_the_line(
    connection: AbstractConnection,
) -> None:
    """And nothing more is handed out."""
    taken: list[Any] = []

    def take(reply: Any) -> None:  # noqa: ANN401 - as Redis answers
        taken.append(reply)
        raise AuthenticationError

    line = attach_protocol(connection, take)
    line.send(PING + PING, 2)
    with pytest.raises(AuthenticationError):
        await line.wait_closed()
    assert taken == [b"PONG"]


@pytest.mark.parametrize(("sent", "error"), [(b"", Lost), (b"?\r\n", InvalidResponse)])
async def test_a_line_that_breaks_while_nobody_asks_ends_with_the_next_batch(
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

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        connection = await connected(f"redis://127.0.0.1:{port}")
        replies: list[Any] = []
        line = attach_protocol(connection, replies.append)
        assert isinstance(line, PipelineProtocol)
        running = asyncio.create_task(line.wait_closed())
        line.send(PING, 1)
        await wait_until(lambda: replies == [b"PONG"])
        ends.set()
        await wait_until(lambda: line._error is not None)  # noqa: SLF001 - unseen so far
        assert not running.done()
        line.send(PING, 1)
        with pytest.raises(error):
            await running
        await connection.disconnect(nowait=True)
