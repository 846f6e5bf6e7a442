"""A webhook for the tests of deliveries: answers as a script says, and remembers."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

Answer = Callable[[dict[str, Any]], web.Response | None]


class Receiver:
    """Takes updates over real HTTP.

    Attributes:
        answer: gives the answer to an update; None closes the connection instead.
        arrived: the numbers of all updates that came, repetitions included.
        headers: those of the newest request.
        body: that of the newest request.
        open: the numbers of the updates that are answered right now.
        most_open: how many there were at most.
        hold: while it is cleared, no answer is given.
    """

    def __init__(self) -> None:
        self.answer: Answer = lambda _: web.Response()
        self.arrived: list[int] = []
        self.headers: dict[str, str] = {}
        self.body = b""
        self.open: list[int] = []
        self.most_open = 0
        self.hold = asyncio.Event()
        self.hold.set()
        self.url = ""

    @asynccontextmanager
    async def serving(self) -> AsyncIterator["Receiver"]:
        """Serve inside of the block."""
        app = web.Application()
        app.router.add_post("/hook", self._take)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            self.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
            yield self
        finally:
            self.hold.set()
            await runner.cleanup()

    async def _take(self, request: web.Request) -> web.Response:
        self.headers = dict(request.headers)
        self.body = await request.read()
        update = json.loads(self.body)
        update_id = update["update_id"]
        self.arrived.append(update_id)
        self.open.append(update_id)
        self.most_open = max(self.most_open, len(self.open))
        try:
            await self.hold.wait()
            answer = self.answer(update)
        finally:
            self.open.remove(update_id)
        if answer is None:
            assert request.transport
            request.transport.close()
            return web.Response()
        return answer
