"""HTTP endpoints of the chat page: actions of users, and what happened to updates."""

from collections.abc import Callable
from functools import partial
from typing import Any

from aiohttp import web
from msgspec import Struct

from gateway.sandbox.simulator.bots import Bots
from gateway.sandbox.simulator.faults.persistent import FaultSettings
from gateway.sandbox.simulator.limits.flood_limits import FloodLimits
from gateway.sandbox.simulator.simulated_bot import SimulatedBot
from gateway.sandbox.simulator.state.event_stream import EventStream
from gateway.sandbox.simulator.state.update_log import UpdateLog
from gateway.sandbox.simulator.validation.rules import Parameters
from gateway.sandbox.ui.control_endpoints import ControlEndpoints, find_bot
from gateway.sandbox.ui.responses import Action, json_handler
from gateway.sandbox.ui.update_endpoints import UpdateEndpoints


class _Input(Struct, forbid_unknown_fields=True, kw_only=True):
    """A posted JSON object.

    Attributes:
        bot: the id of the bot, or None for the first one.
    """

    bot: int | None = None


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
    bot: int | None = None


class Endpoints:
    """All HTTP endpoints that the chat page uses.

    Args:
        bots: the bots of the simulator.
        limits: the limits of how often they may send.
        update_log: the updates that are shown.
        events: the events that the page follows.
        snapshot: returns all that a page shows at first.
        turns_key: the key with which a gateway may post traces; an empty string rejects
            all of them.
    """

    def __init__(
        self,
        bots: Bots,
        limits: FloodLimits,
        update_log: UpdateLog,
        events: EventStream,
        *,
        snapshot: Callable[[], Parameters],
        turns_key: str,
    ) -> None:
        self._bots = bots
        self._control = ControlEndpoints(bots, limits, events)
        self._updates = UpdateEndpoints(
            update_log, events, snapshot=snapshot, turns_key=turns_key
        )

    def add_to(self, app: web.Application) -> None:
        """Add the routes of these endpoints to an application."""
        self._updates.add_to(app)
        self._control.add_to(app)
        actions: dict[str, tuple[type[Struct], Callable[[SimulatedBot], Action]]] = {
            "say": (_Say, lambda bot: bot.user_actions.say),
            "press": (_Press, lambda bot: bot.user_actions.press),
            "attach": (_Attach, lambda bot: bot.user_actions.attach),
            "album": (_Album, lambda bot: bot.user_actions.album),
            "burst": (_Burst, lambda bot: bot.user_actions.burst),
            "block": (_Block, lambda bot: bot.user_actions.block),
            "user": (_User, lambda bot: bot.user_actions.add_user),
            "update": (_Update, lambda bot: bot.manual_updates.make),
            "fault": (_Fault, lambda bot: partial(_switch_fault, bot)),
        }
        for name, (form, find) in actions.items():
            act = partial(self._act_for_bot, find)
            app.router.add_post(f"/do/{name}", json_handler(form, act))

    async def _act_for_bot(
        self,
        find: Callable[[SimulatedBot], Action],
        *,
        bot: int | None,
        **fields: Any,  # noqa: ANN401 - checked before
    ) -> object:
        return await find(find_bot(self._bots, bot))(**fields)


async def _switch_fault(
    bot: SimulatedBot,
    *,
    name: str,
    on: bool,
    **settings: Any,  # noqa: ANN401 - checked before
) -> object:
    chosen = FaultSettings(**settings) if on else None
    return {"faults": await bot.user_actions.fault(name, chosen)}
