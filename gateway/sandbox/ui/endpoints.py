"""HTTP endpoints of the chat page: those of updates, and actions of users."""

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from aiohttp import web
from msgspec import Struct, structs

from gateway.sandbox.simulator.actions.manual_updates import ManualUpdates
from gateway.sandbox.simulator.actions.message_builder import InvalidInput
from gateway.sandbox.simulator.actions.user_actions import UserActions
from gateway.sandbox.simulator.faults.persistent import FaultSettings
from gateway.sandbox.simulator.state.event_stream import EventStream
from gateway.sandbox.simulator.state.update_log import UpdateLog
from gateway.sandbox.simulator.validation.rules import Parameters
from gateway.sandbox.ui.responses import json_error, json_response
from gateway.sandbox.ui.update_endpoints import UpdateEndpoints


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
        self._updates = UpdateEndpoints(
            update_log, events, snapshot=snapshot, turns_key=turns_key
        )

    def add_to(self, app: web.Application) -> None:
        """Add the routes."""
        user_actions = self._user_actions
        self._updates.add_to(app)
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


def _doing(
    form: type[Struct], act: Callable[..., Awaitable[object]]
) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def handle(request: web.Request) -> web.Response:
        try:
            given = msgspec.json.decode(await request.read() or b"{}", type=form)
            return json_response(await act(**structs.asdict(given)))
        except (InvalidInput, msgspec.DecodeError) as error:
            return json_error(str(error))

    return handle
