"""Connections to a stand-in for Redis that exists in this process only.

fakeredis reads what is written to its socket, and answers with Python objects. The
product reads bytes from a transport, so the answers are written out here.
"""

import asyncio
from typing import Any

from fakeredis import FakeServer
from fakeredis.aioredis import AsyncFakeSocket, FakeAsyncRedisConnection

from gateway.mailboxes.redis.client.connection_factory import ConnectionFactory


class _FakeTransport(asyncio.Transport):
    """A transport to a socket of fakeredis, which answers while it is written to."""

    def __init__(self, socket: AsyncFakeSocket) -> None:
        super().__init__()
        self._socket = socket
        self._protocol: asyncio.Protocol

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Answer a protocol from now on."""
        assert isinstance(protocol, asyncio.Protocol)
        self._protocol = protocol

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Write, and read the answers in the next turn of the event loop."""
        self._socket.sendall(bytes(data))
        asyncio.get_running_loop().call_soon(self._read)

    def is_closing(self) -> bool:
        """It stays open to the end of the test."""
        return False

    def _read(self) -> None:
        answers = []
        while not self._socket.responses.empty():
            answers.append(_written_out(self._socket.responses.get_nowait()))
        if answers:
            self._protocol.data_received(b"".join(answers))


class _FakeConnection(FakeAsyncRedisConnection):
    """A connection of fakeredis that has a transport, as one of redis-py has."""

    async def _connect(self) -> None:
        await super()._connect()
        socket, writer = self._sock, self._writer
        assert socket is not None
        assert writer is not None
        # As a StreamWriter has it.
        writer.transport = _FakeTransport(socket)  # type: ignore[attr-defined]


def fake_connector(server: FakeServer) -> ConnectionFactory:
    """Return a way to make connections to a stand-in."""
    return lambda: _FakeConnection(server=server, protocol=2)


def _written_out(answer: Any) -> bytes:  # noqa: ANN401 - all that Redis answers
    """Write an answer in the protocol of Redis, version 2."""
    match answer:
        case None:
            return b"$-1\r\n"
        case Exception():
            return b"-%b\r\n" % str(answer).encode()
        case bool() | int():
            return b":%d\r\n" % answer
        case list() | tuple():
            return b"*%d\r\n%b" % (len(answer), b"".join(map(_written_out, answer)))
        case bytes():
            return b"$%d\r\n%b\r\n" % (len(answer), answer)
    raise TypeError(f"no answer of Redis: {type(answer)}")
