"""A stand-in for Telegram's Bot API, over real HTTP, for the sandbox and for tests.

It checks what the real one checks, answers in its words, keeps what was sent, and can
be told to fail. It lives in memory and forgets everything with its end.

Concurrency: one event loop. A call is carried out and noted without an `await` in
between, so calls take effect one at a time, in the order in which they were read. An
answer that was asked to be late waits after its call took effect; it ends with its
client or with the server, whichever goes first.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
from aiohttp import web
from msgspec import Struct

from gateway.sandbox.faults import Fault, Faults
from gateway.sandbox.methods import KEPT, Methods
from gateway.sandbox.pages import ABOUT, chat_page
from gateway.sandbox.rules import Parameters, Refused, number
from gateway.sandbox.wire import read_parameters, refusal, response

_PAGE = 100
"""Calls that `/sent` shows at most."""


class Sent(Struct, frozen=True, kw_only=True):
    """One call of the Bot API.

    Attributes:
        method: the method's name as Telegram spells it.
        parameters: what was in the query and in the body.
        status: the HTTP status of the answer. 0: the connection was closed instead.
        error: the description of the error. Empty: the call took effect.
        time: seconds since the epoch at which the call was read.
    """

    method: str
    parameters: Parameters
    status: int
    error: str
    time: float


class Simulator:
    """One bot on a Bot API of its own.

    Attributes:
        token: the bot's token; calls with another one get 401.
        sent: the newest 10,000 calls, oldest first, refused ones included.
    """

    def __init__(self, token: str, *, username: str = "sandbox_bot") -> None:
        self.token = token
        self.sent: list[Sent] = []
        self._methods = Methods(number(token.partition(":")[0]), username)
        self._faults = Faults()

    @property
    def blocked(self) -> set[int]:
        """Users who blocked the bot: add and discard them as a test needs it."""
        return self._methods.blocked

    @property
    def answers(self) -> list[Parameters]:
        """The newest answers to pressed buttons, oldest first."""
        return self._methods.answers

    @property
    def webhook(self) -> Parameters:
        """What getWebhookInfo gives back. May be changed, to play a delivery."""
        return self._methods.webhook

    @property
    def secret_token(self) -> str:
        """The secret that setWebhook was called with. Empty: none."""
        return self._methods.secret_token

    def messages(self, chat_id: int) -> list[Parameters]:
        """List what a chat shows, as Telegram's Message objects, oldest first.

        Edits show in place. Only the newest 10,000 messages of all chats are kept.
        """
        return self._methods.messages(chat_id)

    def fail(  # noqa: PLR0913 - one keyword for each thing that can go wrong
        self,
        method: str = "*",
        status: int = 429,
        *,
        description: str | None = None,
        retry_after: int | None = None,
        migrate_to_chat_id: int | None = None,
        chat_id: int | None = None,
        times: int = 1,
        delay: float = 0.0,
        drop: bool = False,
        body: str | None = None,
    ) -> None:
        """Queue a fault. A call meets the first queued fault that fits it.

        Args:
            method: the method that fails, in any case; "*": every one.
            status: the status of the answer. With 200 the call takes effect all the
                same, and only its answer comes late, not at all, or garbled.
            description: the description of the error; Telegram's words if None.
            retry_after: seconds to wait, for 429; 1 if None.
            migrate_to_chat_id: the new id of an upgraded group; makes the status 400.
            chat_id: only calls to this chat fail.
            times: how many calls meet the fault.
            delay: seconds after which the answer comes.
            drop: close the connection instead of answering.
            body: answer with this text, which need not be JSON.
        """
        self._faults.add(
            Fault(
                method=method.lower(),
                chat_id=chat_id,
                times=times,
                status=status,
                description=description,
                retry_after=retry_after,
                migrate_to_chat_id=migrate_to_chat_id,
                delay=delay,
                drop=drop,
                body=body,
            )
        )

    @property
    def app(self) -> web.Application:
        """A new aiohttp application over this simulator."""
        app = web.Application()
        app.router.add_get("/", self._show_about)
        app.router.add_get("/sent", self._show_sent)
        app.router.add_get(r"/chats/{chat_id:-?\d+}", self._show_chat)
        app.router.add_route("*", "/bot{token}/{method}", self._answer)
        return app

    @asynccontextmanager
    async def serve(self, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[str]:
        """Serve over HTTP, on a free port if it is 0; gives the address.

        May be entered again after it ended: that plays an outage.

        Raises:
            OSError: the port is in use.
        """
        runner = web.AppRunner(
            self.app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1
        )
        await runner.setup()
        try:
            await web.TCPSite(runner, host, port).start()
            yield f"http://{host}:{runner.addresses[0][1]}"
        finally:
            await runner.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        method = request.match_info["method"]
        method = self._methods.find(method) or method
        parameters: Parameters = {}
        fault = None
        try:
            parameters = await read_parameters(request)
            self._check(request.match_info["token"], method)
            fault = self._faults.meet(method, parameters)
            answer = self._carry_out(method, parameters, fault)
        except Refused as refused:
            answer = refusal(refused)
        status = 0 if fault and fault.drop else answer.get("error_code", 200)
        self._note(method, parameters, status, answer)
        if fault and fault.delay:
            await asyncio.sleep(fault.delay)
        if fault and fault.drop and request.transport:
            request.transport.close()
        return response(answer, fault.body if fault else None)

    def _check(self, token: str, method: str) -> None:
        if token != self.token:
            raise Refused("Unauthorized", 401)
        if not self._methods.find(method):
            raise Refused("Not Found: method not found", 404)

    def _carry_out(
        self, method: str, parameters: Parameters, fault: Fault | None
    ) -> Parameters:
        if fault and fault.refuses:
            raise fault.refusal()
        return {"ok": True, "result": self._methods.call(method, parameters)}

    def _note(
        self, method: str, parameters: Parameters, status: int, answer: Parameters
    ) -> None:
        self.sent.append(
            Sent(
                method=method,
                parameters=parameters,
                status=status,
                error=answer.get("description", ""),
                time=time.time(),
            )
        )
        del self.sent[:-KEPT]

    async def _show_about(self, _: web.Request) -> web.Response:
        return web.Response(text=ABOUT)

    async def _show_chat(self, request: web.Request) -> web.Response:
        chat = int(request.match_info["chat_id"])
        return web.Response(text=chat_page(chat, self.messages(chat)))

    async def _show_sent(self, request: web.Request) -> web.Response:
        try:
            after = float(request.query.get("after", 0))
        except ValueError:
            raise web.HTTPBadRequest(text="after: not a number\n") from None
        chat = number(request.query.get("chat_id"))
        calls = [
            call
            for call in self.sent
            if call.time > after and chat in {0, number(call.parameters.get("chat_id"))}
        ]
        page = msgspec.json.format(msgspec.json.encode(calls[-_PAGE:]), indent=2)
        return web.Response(body=page + b"\n", content_type="application/json")
