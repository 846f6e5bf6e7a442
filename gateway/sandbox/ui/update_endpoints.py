"""HTTP endpoints that show updates and events, and receive a gateway's traces."""

import hmac
from collections.abc import Callable

import msgspec
from aiohttp import web

from gateway.sandbox.simulator.state.event_stream import (
    EventStream,
    StreamClosed,
    encode,
)
from gateway.sandbox.simulator.state.update_log import UpdateLog
from gateway.sandbox.simulator.validation.rules import Parameters, number
from gateway.sandbox.tracing.trace_model import UpdateTrace
from gateway.sandbox.tracing.tracer import KEY_HEADER
from gateway.sandbox.ui.responses import json_error, json_response

HEARTBEAT_SECONDS = 15.0
"""Interval of comments on an idle stream; browsers may close a silent one."""
ROWS_LIMIT = 1_000


class UpdateEndpoints:
    """HTTP endpoints that show what happened to updates.

    Args:
        update_log: the updates that are shown.
        events: the events that pages follow.
        snapshot: returns all that a page shows at first.
        turns_key: the key with which a gateway may post traces; an empty string rejects
            all of them.
        add_trace: stores a trace; None to store it in `update_log`.
    """

    def __init__(
        self,
        update_log: UpdateLog,
        events: EventStream,
        *,
        snapshot: Callable[[], Parameters],
        turns_key: str,
        add_trace: Callable[[UpdateTrace], None] | None = None,
    ) -> None:
        self._update_log = update_log
        self._events = events
        self._snapshot = snapshot
        self._turns_key = turns_key
        self._add_trace = add_trace or update_log.add_trace

    def add_to(self, app: web.Application) -> None:
        """Add the routes of these endpoints to an application."""
        app.router.add_get("/events", self._stream)
        app.router.add_get("/updates", self._list)
        app.router.add_get(r"/updates/{update_id:\d{1,18}}", self._show)
        app.router.add_post("/turns", self._take_turns)

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(
            headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"}
        )
        await response.prepare(request)
        with self._events.listen(lambda: _cut(request)) as listener:
            listener.put(b"retry: 500\n" + encode("snapshot", **self._snapshot()))
            try:
                while True:
                    events = await listener.take(HEARTBEAT_SECONDS)
                    await response.write(events or b":\n\n")
            except (StreamClosed, ConnectionError):
                return response

    async def _list(self, request: web.Request) -> web.Response:
        try:
            limit = int(request.query.get("limit", 100))
            before = int(request.query["before"]) if "before" in request.query else None
            bot_id = int(request.query.get("bot", 0))
        except ValueError:
            return json_error("before, bot and limit: numbers")
        if not 1 <= limit <= ROWS_LIMIT:
            return json_error(f"limit: 1 to {ROWS_LIMIT}")
        rows = self._update_log.rows(limit, before, bot_id)
        return json_response({"updates": rows, "total_updates": self._update_log.total})

    async def _show(self, request: web.Request) -> web.Response:
        update_id = int(request.match_info["update_id"])
        entry = self._update_log.find(update_id, number(request.query.get("bot")))
        if not entry:
            return json_error(f"nothing is known of update {update_id}", 404)
        return json_response(entry)

    async def _take_turns(self, request: web.Request) -> web.Response:
        key = request.headers.get(KEY_HEADER, "")
        if not self._turns_key or not hmac.compare_digest(
            key.encode(), self._turns_key.encode()
        ):
            return json_error("only the gateway of this sandbox tells turns", 403)
        try:
            turns = msgspec.json.decode(await request.read(), type=list[UpdateTrace])
        except msgspec.DecodeError as error:
            return json_error(str(error))
        for record in turns:
            self._add_trace(record)
        return json_response({})


def _cut(request: web.Request) -> None:
    if request.transport:
        request.transport.abort()
