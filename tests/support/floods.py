"""Connections that strangers open."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


@asynccontextmanager
async def silent_connections(
    port: int, count: int
) -> AsyncIterator[list[socket.socket]]:
    """Open connections that send nothing, and close them at the end of the block."""
    loop = asyncio.get_running_loop()
    opened: list[socket.socket] = []
    try:
        for _ in range(count):
            connection = socket.socket()
            opened.append(connection)
            connection.setblocking(False)
            await loop.sock_connect(connection, ("127.0.0.1", port))
        yield opened
    finally:
        for connection in opened:
            connection.close()


def is_closed(connection: socket.socket) -> bool:
    """Return whether the other side closed a connection that got nothing."""
    try:
        return connection.recv(1) == b""
    except BlockingIOError:
        return False
    except ConnectionError:
        return True
