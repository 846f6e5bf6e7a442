"""A TCP proxy in front of a server, which cuts connections when told to."""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from gateway.background import cancel_and_wait


class Proxy:
    """Passes requests on one by one; handshakes always come through.

    Attributes:
        faults: what to do with the next requests: "cut before" the server saw it, or
            "cut after" the server answered. Used up from the left.
        fault: asked for every request beyond them; empty: none.
        connections: how many were made.
        cuts: how many of them were cut.
    """

    def __init__(self, port: int) -> None:
        self._target = port
        self._server: asyncio.Server | None = None
        self._serving: set[asyncio.Task[None]] = set()
        self.faults: deque[str] = deque()
        self.fault: Callable[[], str] = lambda: ""
        self.connections = 0
        self.cuts = 0

    @property
    def url(self) -> str:
        """The URL of the server behind the proxy."""
        assert self._server is not None
        return f"redis://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def start(self) -> None:
        """Listen."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)

    async def close(self) -> None:
        """Stop listening, and end all connections."""
        assert self._server is not None
        self._server.close()
        await self._server.wait_closed()
        await cancel_and_wait(*self._serving)

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        try:
            server = await asyncio.open_connection("127.0.0.1", self._target)
            try:
                await self._pass(reader, writer, *server)
            finally:
                await _close(server[1])
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            await _close(writer)
            self._serving.discard(task)

    async def _pass(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        answers: asyncio.StreamReader,
        requests: asyncio.StreamWriter,
    ) -> None:
        back = asyncio.create_task(self._pass_back(answers, writer))
        try:
            while request := await reader.read(1 << 20):
                fault = ""
                if b"EVALSHA" in request:
                    fault = self.faults.popleft() if self.faults else self.fault()
                if fault:
                    self.cuts += 1
                    back.cancel()
                    if fault == "cut after":
                        requests.write(request)
                        await answers.read(1 << 20)
                    return
                requests.write(request)
        finally:
            await cancel_and_wait(back)

    async def _pass_back(
        self, answers: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        while answer := await answers.read(1 << 20):
            writer.write(answer)
        writer.close()


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


@asynccontextmanager
async def proxied(port: int) -> AsyncIterator[Proxy]:
    """Run a proxy in front of a port."""
    proxy = Proxy(port)
    await proxy.start()
    try:
        yield proxy
    finally:
        await proxy.close()
