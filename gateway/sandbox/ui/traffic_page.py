"""The page that shows what happens to the updates of a real bot.

It is the sandbox's page without the chats. The updates and their traces, which contain
texts of users, stay in the memory of this process; they are neither stored nor logged.

Concurrency: one event loop, as for the simulator.
"""

import time
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
from aiohttp import web

from gateway.sandbox.origin_guard import reject_foreign_requests
from gateway.sandbox.simulator.delivery import update_types
from gateway.sandbox.simulator.state.event_stream import EventStream
from gateway.sandbox.simulator.state.update_log import UpdateLog, UpdateRow
from gateway.sandbox.simulator.validation.rules import Parameters
from gateway.sandbox.tracing.trace_model import NO_UPDATE, UpdateTrace
from gateway.sandbox.ui.pages import add_page
from gateway.sandbox.ui.update_endpoints import UpdateEndpoints

_SHOWN = 200
"""Number of updates in the snapshot for a new page."""
_LARGEST_BODY = 50 * 2**20
"""Maximum bytes of a post with traces, each of which contains an update."""
_MAX_USERS = 1_000
"""Maximum number of users whose names are known; the oldest are dropped first."""


class TrafficPage:
    """Serves the page, and keeps the traces that a gateway posts to it.

    Args:
        username: the bot's username without the at sign.
        turns_key: the key with which the gateway posts traces; other posts are
            rejected.
    """

    def __init__(self, username: str, turns_key: str) -> None:
        self._bot: Parameters = {"first_name": username, "username": username}
        self._turns_key = turns_key
        self._events = EventStream()
        self._update_log = UpdateLog(self._events)
        self._users: OrderedDict[int, Parameters] = OrderedDict()

    @property
    def app(self) -> web.Application:
        """A new aiohttp application that serves the page and its endpoints."""
        app = web.Application(
            client_max_size=_LARGEST_BODY, middlewares=[reject_foreign_requests]
        )
        add_page(app, "traffic.html")
        UpdateEndpoints(
            self._update_log,
            self._events,
            snapshot=self._take_snapshot,
            turns_key=self._turns_key,
            add_trace=self._add_trace,
        ).add_to(app)
        return app

    @asynccontextmanager
    async def serve(self, host: str, port: int) -> AsyncIterator[str]:
        """Serve over HTTP within the block, and yield the base URL.

        Args:
            host: the address to listen on.
            port: the port to listen on; 0 for a free one.

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

    def _take_snapshot(self) -> Parameters:
        return {
            "bot": self._bot,
            "users": list(self._users.values()),
            "messages": {},
            "asked": {},
            "updates": self._update_log.rows(_SHOWN),
            "total_updates": self._update_log.total,
            "commands": [],
            "faults": [],
            "webhook": {},
        }

    def _add_trace(self, trace: UpdateTrace) -> None:
        trace.bot_id = 0  # the page has one bot, which the first trace does not know
        if trace.update != NO_UPDATE and not self._update_log.find(trace.update_id):
            self._add_update(trace, bytes(trace.update))
        trace.update = NO_UPDATE  # the log has it
        self._update_log.add_trace(trace)

    def _add_update(self, trace: UpdateTrace, body: bytes) -> None:
        update = msgspec.json.decode(body)
        kind = next((name for name in update if name != "update_id"), "")
        row = UpdateRow(
            update_id=trace.update_id,
            kind=kind,
            user_id=0,
            chat_id=0,
            title=kind,
            sent_at=min((step.start for step in trace.steps), default=time.time()),
            state="accepted",
        )
        content = update.get(kind)
        try:
            row.title = update_types.title(kind, content)
            row.user_id = update_types.user_id(content)
            row.chat_id = update_types.chat_id(content)
            self._add_user(content.get("from") or content.get("user") or {})
        except (AttributeError, KeyError, TypeError, ValueError):
            pass  # the update has another form than Telegram's: its type says enough
        self._update_log.record(row, body)

    def _add_user(self, user: Parameters) -> None:
        if "id" not in user or self._users.get(user["id"]) == user:
            return
        self._users[user["id"]] = user
        if len(self._users) > _MAX_USERS:
            self._users.popitem(last=False)
        self._events.publish("user", user=user)
