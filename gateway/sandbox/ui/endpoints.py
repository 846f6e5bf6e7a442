"""HTTP endpoints for actions of users, the update log, and the event stream."""

import hmac
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from aiohttp import web
from msgspec import Struct, structs

from gateway.sandbox.simulator.actions.manual_updates import ManualUpdates
from gateway.sandbox.simulator.actions.message_builder import InvalidInput
from gateway.sandbox.simulator.actions.user_actions import UserActions
from gateway.sandbox.simulator.faults.persistent import FaultSettings
from gateway.sandbox.simulator.state.event_stream import (
    EventStream,
    StreamClosed,
    encode,
)
from gateway.sandbox.simulator.state.update_log import UpdateLog
from gateway.sandbox.simulator.validation.rules import Parameters
from gateway.sandbox.tracing.trace_model import UpdateTrace
from gateway.sandbox.tracing.tracer import KEY_HEADER

HEARTBEAT_SECONDS = 15.0
"""Interval of comments on an idle stream; browsers may close a silent one."""
ROWS_LIMIT = 1_000


class _Input(Struct, forbid_unknown_fields=True):
    """A posted JSON object."""


class _Say(_Input):
    user: int
    text: str
    chat: int | None = None
    reply_to: int = 0


class _Press(_Input):
    user: int
    chat: int
    message_id: int
    data: str


class _Attach(_Input):
    user: int
    kind: str
    caption: str = ""
    chat: int | None = None


class _Album(_Input):
    user: int
    count: int = 3


class _Burst(_Input):
    user: int
    count: int = 20
    text: str = ""


class _Block(_Input):
    user: int
    blocked: bool


class _User(_Input):
    first_name: str
    language_code: str = "en"


class _Update(_Input):
    user: int
    kind: str
    content: dict[str, Any] = {}


class _Fault(FaultSettings, forbid_unknown_fields=True, kw_only=True, frozen=True):
    name: str
    on: bool


class Endpoints:
    """The HTTP endpoints of the page.

    Args:
        snapshot: returns the initial state for a page.
        turns_key: the key for posting traces; an empty string rejects all of them.
    """

    def __init__(
        self,
        user_actions: UserActions,
        manual_updates: ManualUpdates,
        update_log: UpdateLog,
        events: EventStream,
        *,
        snapshot: Callable[[], Parameters],
        turns_key: str,
    ) -> None:
        self._user_actions = user_actions
        self._manual_updates = manual_updates
        self._update_log = update_log
        self._events = events
        self._snapshot = snapshot
        self._turns_key = turns_key

    def add_to(self, app: web.Application) -> None:
        """Add the routes."""
        user_actions = self._user_actions
        app.router.add_get("/events", self._stream)
        app.router.add_get("/updates", self._list)
        app.router.add_get(r"/updates/{update_id:\d{1,18}}", self._show)
        app.router.add_post("/turns", self._take_turns)
        doings: dict[str, tuple[type[Struct], Callable[..., Awaitable[object]]]] = {
            "say": (_Say, user_actions.say),
            "press": (_Press, user_actions.press),
            "attach": (_Attach, user_actions.attach),
            "album": (_Album, user_actions.album),
            "burst": (_Burst, user_actions.burst),
            "block": (_Block, user_actions.block),
            "user": (_User, user_actions.add_user),
            "update": (_Update, self._manual_updates.make),
            "fault": (_Fault, self._switch),
        }
        for name, (form, act) in doings.items():
            app.router.add_post(f"/do/{name}", _doing(form, act))

    async def _switch(self, *, name: str, on: bool, **settings: Any) -> object:  # noqa: ANN401 - checked before
        chosen = FaultSettings(**settings) if on else None
        return {"faults": await self._user_actions.fault(name, chosen)}

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
        except ValueError:
            return _bad("before and limit: numbers")
        if not 1 <= limit <= ROWS_LIMIT:
            return _bad(f"limit: 1 to {ROWS_LIMIT}")
        rows = self._update_log.rows(limit, before)
        return _json({"updates": rows, "total_updates": self._update_log.total})

    async def _show(self, request: web.Request) -> web.Response:
        update_id = int(request.match_info["update_id"])
        entry = self._update_log.find(update_id)
        if not entry:
            return _bad(f"nothing is known of update {update_id}", 404)
        return _json(entry)

    async def _take_turns(self, request: web.Request) -> web.Response:
        key = request.headers.get(KEY_HEADER, "")
        if not self._turns_key or not hmac.compare_digest(
            key.encode(), self._turns_key.encode()
        ):
            return _bad("only the gateway of this sandbox tells turns", 403)
        try:
            turns = msgspec.json.decode(await request.read(), type=list[UpdateTrace])
        except msgspec.DecodeError as error:
            return _bad(str(error))
        for record in turns:
            self._update_log.add_trace(record)
        return _json({})


def _doing(
    form: type[Struct], act: Callable[..., Awaitable[object]]
) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def handle(request: web.Request) -> web.Response:
        try:
            given = msgspec.json.decode(await request.read() or b"{}", type=form)
            return _json(await act(**structs.asdict(given)))
        except (InvalidInput, msgspec.DecodeError) as error:
            return _bad(str(error))

    return handle


def _cut(request: web.Request) -> None:
    if request.transport:
        request.transport.abort()


def _json(content: object) -> web.Response:
    return web.Response(
        body=msgspec.json.encode(content), content_type="application/json"
    )


def _bad(reason: str, status: int = 400) -> web.Response:
    return web.json_response({"error": reason}, status=status)
