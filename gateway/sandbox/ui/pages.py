"""Serves what people read: the chat page, and plain texts for curl."""

from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec
from aiohttp import web

from gateway.sandbox.simulator.bots import Bots
from gateway.sandbox.simulator.dispatcher import ApiCall
from gateway.sandbox.simulator.validation.rules import Parameters, number

_DIRECTORY = Path(__file__).parent / "page"
_LISTED = 100
"""Maximum number of calls that `/sent` returns."""
_POLICY = (
    # Messages of a bot must not make the browser send requests or run scripts.
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self'; base-uri 'none'; form-action 'none'; "
    # In a hidden frame, a foreign page could trick users into clicking the sandbox.
    "frame-ancestors 'none'"
)
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}

ABOUT = """\
A stand-in for Telegram's Bot API. It keeps what the bot sends; nothing leaves this
machine, and everything is forgotten when it ends, but for chats with --keep.

  GET  /                       the chat page, for a browser
  GET  /chats/{chat_id}        what a chat shows (?bot=id)
  GET  /sent                   the newest calls as JSON (?chat_id=, ?bot=, ?after=time)
  GET  /events                 all that happens, as a stream of events
  GET  /updates                the newest updates as JSON (?before=update_id, ?limit=)
  GET  /updates/{update_id}    an update, and what the gateway did with it
  POST /do/say                 {"user": 1001, "text": "hello"}
  POST /do/...                 press, attach, album, burst, block, user, fault
  POST /do/bot                 {"name": "Support"}; adds a bot and returns its token
  POST /do/token               {"bot": 123457}; replaces its token, and returns it
  POST /do/limits              {"on": true}; enforces Telegram's limits
  POST /do/hold                {"chat": 1001, "seconds": 37}; retry_after for a chat
  GET  /limits                 the limits, and how often calls exceeded them
  GET  /files/{file_id}        a file that was sent
  POST /bot{token}/{method}    the Bot API
"""


class Pages:
    """Serves the chat page, the chats as text, and the newest calls of the Bot API.

    Args:
        sent: returns the recorded calls of the Bot API, oldest first.
        bots: the bots of the simulator.
    """

    def __init__(
        self,
        sent: Callable[[], Iterable[ApiCall]],
        bots: Bots,
    ) -> None:
        self._sent = sent
        self._bots = bots

    def add_to(self, app: web.Application) -> None:
        """Add the routes of the pages to an application."""
        add_page(app, "index.html")
        app.router.add_get("/about", self._show_about)
        app.router.add_get("/sent", self._show_sent)
        app.router.add_get(r"/chats/{chat_id:-?\d+}", self._show_chat)

    async def _show_about(self, _: web.Request) -> web.Response:
        return web.Response(text=ABOUT)

    async def _show_chat(self, request: web.Request) -> web.Response:
        chat = number(request.match_info["chat_id"])
        bot = self._bots.with_id(number(request.query.get("bot")) or None)
        if not bot:
            raise web.HTTPNotFound(text="bot: there is no such bot\n")
        return web.Response(text=chat_page(chat, bot.chats.messages(chat)))

    async def _show_sent(self, request: web.Request) -> web.Response:
        try:
            after = float(request.query.get("after", 0))
        except ValueError:
            raise web.HTTPBadRequest(text="after: not a number\n") from None
        chat = number(request.query.get("chat_id"))
        bot_id = number(request.query.get("bot"))
        calls = [
            call
            for call in self._sent()
            if call.time > after
            and chat in {0, number(call.parameters.get("chat_id"))}
            and bot_id in {0, call.bot_id}
        ]
        page = msgspec.json.format(msgspec.json.encode(calls[-_LISTED:]), indent=2)
        return web.Response(body=page + b"\n", content_type="application/json")


def add_page(app: web.Application, document: str) -> None:
    """Serve an HTML file at "/", and the files that it loads at "/page/".

    Args:
        app: the application.
        document: the name of the HTML file in the folder `page`.
    """

    async def show_page(_: web.Request) -> web.StreamResponse:
        return _file(document) or web.Response(text=ABOUT)

    async def show_file(request: web.Request) -> web.StreamResponse:
        return _file(request.match_info["file"]) or web.Response(status=404)

    app.router.add_get("/", show_page)
    app.router.add_get(r"/page/{file:[\w.-]+}", show_file)


def _file(name: str) -> web.FileResponse | None:
    path = _DIRECTORY / name
    return web.FileResponse(path, headers=_HEADERS) if path.is_file() else None


def chat_page(chat_id: int, messages: Iterable[Parameters]) -> str:
    """Return a chat as text: each message with its id, content and buttons."""
    shown = [_message(message) for message in messages]
    return "\n".join(shown) or f"Nothing was sent to chat {chat_id} yet.\n"


def _message(message: Parameters) -> str:
    author = message["from"]
    name = [] if author["is_bot"] else [f"{author['first_name']}:"]
    kinds = [kind for kind in message if kind in _ATTACHMENTS]
    if "animation" in kinds:
        kinds.remove("document")  # the same file, for old apps
    attached = [f"({kind})" for kind in kinds]
    words = [*name, *attached, message.get("text") or message.get("caption") or ""]
    first, *more = " ".join(word for word in words if word).split("\n")
    edited = " (edited)" if "edit_date" in message else ""
    lines = [f"#{message['message_id']}{edited}  {first}"]
    lines += [f"    {line}" for line in more]
    for row in message.get("reply_markup", {}).get("inline_keyboard", []):
        lines.append("    " + " ".join(_button(button) for button in row))
    return "\n".join(lines) + "\n"


_ATTACHMENTS = frozenset(
    {
        "photo",
        "document",
        "voice",
        "audio",
        "video",
        "animation",
        "sticker",
        "location",
        "contact",
    }
)


def _button(button: Parameters) -> str:
    looks = {"text", "style", "icon_custom_emoji_id"}
    actions = [value for name, value in button.items() if name not in looks]
    return f"[{button['text']} -> {actions[0]}]"
