"""A Bot API that serves any number of bots, as far as the gateway's tests need it."""

import asyncio
import json
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web


def make_token(bot_id: int, key: str = "AAkey-of-the-bot") -> str:
    """Return a token of a bot."""
    return f"{bot_id}:{key}"


class BotAtTelegram:
    """What Telegram knows of one bot, and what the bot did.

    Attributes:
        token: the only valid token.
        webhook: the parameters of the last setWebhook.
        calls: the methods and parameters of all calls, oldest first.
        called_at: the times of these calls.
        answers: responses that replace the next ones, by method.
        updates: updates for getUpdates.
    """

    def __init__(self, token: str) -> None:
        self.token = token
        self.webhook: dict[str, Any] = {}
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.called_at: list[float] = []
        self.answers: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self.updates: list[dict[str, Any]] = []

    @property
    def bot_id(self) -> int:
        """The bot's user id."""
        return int(self.token.partition(":")[0])

    def texts(self, chat_id: int) -> list[str]:
        """Return the texts that were sent to a chat."""
        return [
            parameters["text"]
            for method, parameters in self.calls
            if method == "sendMessage" and parameters["chat_id"] == chat_id
        ]

    def count(self, method: str) -> int:
        """Return the number of calls of a method."""
        return sum(name == method for name, _ in self.calls)

    async def answer(self, method: str, parameters: dict[str, Any]) -> Any:  # noqa: ANN401 - each method has its own result type
        """Carry out a call and return its result."""
        match method:
            case "getMe":
                name = f"bot{self.bot_id}_bot"
                return {"id": self.bot_id, "is_bot": True, "username": name}
            case "setWebhook":
                self.webhook = parameters
            case "deleteWebhook":
                self.webhook = {}
            case "getWebhookInfo":
                return {
                    "url": self.webhook.get("url", ""),
                    "pending_update_count": len(self.updates),
                }
            case "getFile":
                return {"file_id": parameters["file_id"], "file_path": "documents/f"}
            case "getUpdates":
                return await self._get_updates(parameters.get("offset") or 0)
            case "sendMessage":
                chat = {"id": parameters["chat_id"], "type": "private"}
                return {"message_id": len(self.calls), "date": 1, "chat": chat}
        return True

    async def _get_updates(self, offset: int) -> list[dict[str, Any]]:
        self.updates = [it for it in self.updates if it["update_id"] >= offset]
        if not self.updates:
            await asyncio.sleep(0.05)
        return self.updates[:100]


class FakeBotApi:
    """A Bot API with several bots.

    Args:
        tokens: the tokens of the bots.
    """

    def __init__(self, tokens: Iterable[str] = ()) -> None:
        self.bots: dict[int, BotAtTelegram] = {}
        self.refusals: list[tuple[float, str]] = []
        """The times and tokens of the calls with a token that is not valid."""
        self.latency = 0.0
        """How long each call takes, in seconds."""
        for token in tokens:
            self.add(token)

    def add(self, token: str) -> BotAtTelegram:
        """Add a bot."""
        bot = BotAtTelegram(token)
        self.bots[bot.bot_id] = bot
        return bot

    @property
    def refused_tokens(self) -> int:
        """The number of calls with a token that is not valid."""
        return len(self.refusals)

    def has_refused(self, count: int) -> bool:
        """Return whether more calls than these had a token that is not valid."""
        return self.refused_tokens > count

    async def _handle(self, request: web.Request) -> web.Response:
        body = await request.read()
        token = request.match_info["token"]
        bot = self.bots.get(int(token.partition(":")[0]))
        if self.latency:
            await asyncio.sleep(self.latency)
        if bot is None or bot.token != token:
            self.refusals.append((time.monotonic(), token))
            return _respond(
                {"ok": False, "error_code": 401, "description": "Unauthorized"}
            )
        method = request.match_info["method"]
        parameters = json.loads(body) if body else {}
        if method in {"getManagedBotToken", "replaceManagedBotToken"}:
            return self._manage(method, self.bots.get(parameters["user_id"]))
        bot.calls.append((method, parameters))
        bot.called_at.append(time.monotonic())
        if bot.answers[method]:
            return _respond(bot.answers[method].pop(0))
        result = await bot.answer(method, parameters)
        return _respond({"ok": True, "result": result})

    async def _serve_file(self, request: web.Request) -> web.Response:
        """Send a file whose content says which bot received it."""
        bot = self.bots[int(request.match_info["token"].partition(":")[0])]
        return web.Response(body=f"a file of {bot.bot_id}".encode())

    def _manage(self, method: str, managed: BotAtTelegram | None) -> web.Response:
        """Return the token of a bot to its manager, after it was replaced or not."""
        if managed is None:
            description = "Bad Request: managed bot not found"
            return _respond(
                {"ok": False, "error_code": 400, "description": description}
            )
        if method == "replaceManagedBotToken":
            managed.token += "-next"
        return _respond({"ok": True, "result": managed.token})

    @asynccontextmanager
    async def serve(self, port: int = 0) -> AsyncIterator[str]:
        """Serve it inside the block, and yield its URL."""
        app = web.Application()
        app.router.add_post("/bot{token}/{method}", self._handle)
        app.router.add_get("/file/bot{token}/{path:.*}", self._serve_file)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", port)
        await site.start()
        try:
            yield f"http://127.0.0.1:{runner.addresses[0][1]}"
        finally:
            await runner.cleanup()


def _respond(content: dict[str, Any]) -> web.Response:
    status = 200 if content["ok"] else content["error_code"]
    return web.Response(
        status=status, body=json.dumps(content), content_type="application/json"
    )
