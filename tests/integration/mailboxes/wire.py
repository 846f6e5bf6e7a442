"""The bytes of a connection to Redis, where a test can watch, delay and break them.

redis-py makes the connection and the product reads it, as ever. Only the transport
between the two is ours, so the code under test is the code that production runs.
"""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from redis.asyncio.connection import Connection

from gateway.mailboxes.redis.client.connection_factory import (
    ConnectionFactory,
    make_connection_factory,
)

At = Callable[[str], Awaitable[None]]
"""Told of each moment: "sending", "sent", "received". What it raises breaks the
connection."""


class Wire(asyncio.Transport):
    """A transport that tells before and after each write, and before each read.

    It only passes on until it gets a new protocol: then redis-py has logged in.

    Args:
        real: the transport of the socket.
        tap: told of each moment. Nothing else happens on the wire until it returns.
    """

    def __init__(self, real: asyncio.Transport, tap: "Wiretap") -> None:
        super().__init__()
        self.protocol: asyncio.Protocol | None = None
        """Who reads."""
        self._real = real
        self._tap = tap
        self._steps: asyncio.Queue[tuple[bytes, bool]] = asyncio.Queue()
        self._carrying: asyncio.Task[None] | None = None

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Read for a protocol from now on."""
        assert isinstance(protocol, asyncio.Protocol)
        self.protocol = protocol
        self._real.set_protocol(_RealEnd(self))
        self._carrying = asyncio.create_task(self._carry(protocol), name="wire")

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Write when all before has been written and read."""
        if self.protocol is None:
            self._real.write(data)
        else:
            self._tap.writes.append(len(data))
            self._steps.put_nowait((bytes(data), True))

    def receive(self, data: bytes) -> None:
        """Take what came over the real transport."""
        self._steps.put_nowait((data, False))

    def lose(self, error: Exception | None) -> None:
        """Tell the protocol, which hears nothing any more, that this is the end."""
        if self._carrying is not None:
            self._carrying.cancel()
        if self.protocol is not None:
            self.protocol.connection_lost(error)

    def is_closing(self) -> bool:
        """Return whether it is closed."""
        return self._real.is_closing()

    def close(self) -> None:
        """Close it."""
        if self._carrying is not None:
            self._carrying.cancel()
        self._real.close()

    def abort(self) -> None:
        """Close it at once."""
        self._real.abort()

    async def _carry(self, protocol: asyncio.Protocol) -> None:
        while True:
            data, outwards = await self._steps.get()
            try:
                await self._tap.at("sending" if outwards else "received")
                if outwards:
                    self._real.write(data)
                    await self._tap.at("sent")
                else:
                    protocol.data_received(data)
            except ConnectionError as error:
                self._real.abort()
                protocol.connection_lost(error)
                return


class _RealEnd(asyncio.Protocol):
    """The protocol of the real transport."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    def data_received(self, data: bytes) -> None:
        self._wire.receive(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._wire.lose(exc)


class Wiretap:
    """Makes connections whose wires tell a test of each moment.

    Args:
        at: told of each moment, on any wire.
    """

    def __init__(self, at: At | None = None) -> None:
        self.at = at or _go_on
        self.wires: list[Wire] = []
        """Those of all connections that were made."""
        self.writes: list[int] = []
        """How many bytes each write had. Those of redis-py are left out."""

    def connector(self, url: str, **place: Any) -> ConnectionFactory:  # noqa: ANN401 - as the product's
        """Return a way to make connections, as the product's `connector` does."""
        return make_connection_factory(
            url, **place, connection_class=partial(_Tapped, self)
        )


class _Tapped(Connection):
    """A connection of redis-py with a wire in it."""

    def __init__(self, tap: Wiretap, **options: Any) -> None:  # noqa: ANN401 - redis-py's
        super().__init__(**options)
        self._tap = tap

    async def _connect(self) -> None:
        await super()._connect()  # type: ignore[no-untyped-call]  # redis-py
        writer = self._writer
        assert writer is not None
        wire = Wire(writer.transport, self._tap)  # type: ignore[arg-type]  # a socket's
        writer._transport = wire  # type: ignore[attr-defined]  # noqa: SLF001 - asyncio has no way
        self._tap.wires.append(wire)


async def _go_on(_: str) -> None:
    """Let it pass."""
