"""Serves the files of all bots over HTTP."""

from aiohttp import web

from gateway.sandbox.simulator.bots import Bots

_HEADERS = {
    # A file that a bot sends must not run as a page of the sandbox.
    "Content-Disposition": "attachment",
    "Content-Security-Policy": "sandbox",
    "X-Content-Type-Options": "nosniff",
}


class Downloads:
    """Serves files to bots, by token as Telegram does, and to the page."""

    def __init__(self, bots: Bots) -> None:
        self._bots = bots

    def add_to(self, app: web.Application) -> None:
        """Add the routes of files to an application."""
        app.router.add_get("/file/bot{token}/files/{name}", self._give_to_bot)
        app.router.add_get("/files/{name}", self._give_to_page)

    async def _give_to_bot(self, request: web.Request) -> web.StreamResponse:
        bot = self._bots.with_token(request.match_info["token"])
        if bot is None:
            return web.Response(status=401)
        return _respond(request, bot.files.read(_file_id(request)))

    async def _give_to_page(self, request: web.Request) -> web.StreamResponse:
        file_id = _file_id(request)
        contents = (bot.files.read(file_id) for bot in self._bots)
        found = next((each for each in contents if each is not None), None)
        return _respond(request, found)


def _file_id(request: web.Request) -> str:
    return request.match_info["name"].partition(".")[0]


def _respond(request: web.Request, content: bytes | None) -> web.StreamResponse:
    if content is None:
        return web.Response(status=404)
    response = web.Response(body=content, headers=_HEADERS)
    try:
        part = request.http_range
    except ValueError:
        part = slice(None, None, 1)
    if "Range" in request.headers and part.start is not None:
        size = len(content)
        start, end, _ = part.indices(size)
        if start >= size:
            return web.Response(status=416)
        response.set_status(206)
        response.headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
        response.body = content[start:end]
    return response
