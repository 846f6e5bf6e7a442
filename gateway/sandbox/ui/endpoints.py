"""HTTP endpoints of the chat page: those of updates, and actions of users."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import msgspec
from aiohttp import web
from msgspec import Struct, structs

from gateway.sandbox.simulator.actions.message_builder import InvalidInput
from gateway.sandbox.simulator.bots import (
    Bots,
    SimulatedBot,
    make_token,
    parse_bot_id,
)
from gateway.sandbox.simulator.faults.persistent import FaultSettings
from gateway.sandbox.simulator.state.event_stream import EventStream
from gateway.sandbox.simulator.state.update_log import UpdateLog
from gateway.sandbox.simulator.validation.rules import Parameters
from gateway.sandbox.ui.responses import json_error, json_response
from gateway.sandbox.ui.update_endpoints import UpdateEndpoints

_Action = Callable[..., Awaitable[object]]


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


class _Bot(Struct, forbid_unknown_fields=True):
    id: int | None = None
    name: str | None = None
    username: str | None = None
    token: str | None = None


class _Token(Struct, forbid_unknown_fields=True):
    bot: int
    token: str | None = None


class Endpoints:
    """The HTTP endpoints of the page.

    Args:
        bots: the bots.
        snapshot: returns the initial state for a page.
        turns_key: the key for posting traces; an empty string rejects all of them.
    """

    def __init__(
        self,
        bots: Bots,
        update_log: UpdateLog,
        events: EventStream,
        *,
        snapshot: Callable[[], Parameters],
        turns_key: str,
    ) -> None:
        self._bots = bots
        self._events = events
        self._updates = UpdateEndpoints(
            update_log, events, snapshot=snapshot, turns_key=turns_key
        )

    def add_to(self, app: web.Application) -> None:
        """Add the routes."""
        self._updates.add_to(app)
        actions: dict[str, tuple[type[Struct], Callable[[SimulatedBot], _Action]]] = {
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
            app.router.add_post(f"/do/{name}", _doing(form, act))
        app.router.add_post("/do/bot", _doing(_Bot, self._add_bot))
        app.router.add_post("/do/token", _doing(_Token, self._replace_token))

    async def _act_for_bot(
        self,
        find: Callable[[SimulatedBot], _Action],
        *,
        bot: int | None,
        **fields: Any,  # noqa: ANN401 - checked before
    ) -> object:
        return await find(self._find_bot(bot))(**fields)

    def _find_bot(self, bot_id: int | None) -> SimulatedBot:
        bot = self._bots.with_id(bot_id)
        if not bot:
            raise InvalidInput(f"there is no bot {bot_id}")
        return bot

    async def _add_bot(
        self,
        *,
        id: int | None,  # noqa: A002 - the name in the JSON
        name: str | None,
        username: str | None,
        token: str | None,
    ) -> object:
        bot_id = id or max(bot.id for bot in self._bots) + 1
        try:
            token = token or make_token(bot_id)
            bot_id = parse_bot_id(token)
            bot = self._bots.add(
                token, name or f"Bot {bot_id}", username or f"sandbox_{bot_id}_bot"
            )
        except ValueError as error:
            raise InvalidInput(str(error)) from None
        self._events.publish("bot", **bot.view(0))
        return {"bot": bot.profile, "token": bot.token}

    async def _replace_token(self, *, bot: int, token: str | None) -> object:
        changed = self._find_bot(bot)
        try:
            self._bots.replace_token(changed, token or make_token(changed.id))
        except ValueError as error:
            raise InvalidInput(str(error)) from None
        return {"bot": changed.profile, "token": changed.token}


def _doing(
    form: type[Struct], act: _Action
) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def handle(request: web.Request) -> web.Response:
        try:
            given = msgspec.json.decode(await request.read() or b"{}", type=form)
            return json_response(await act(**structs.asdict(given)))
        except (InvalidInput, msgspec.DecodeError) as error:
            return json_error(str(error))

    return handle


async def _switch_fault(
    bot: SimulatedBot,
    *,
    name: str,
    on: bool,
    **settings: Any,  # noqa: ANN401 - checked before
) -> object:
    chosen = FaultSettings(**settings) if on else None
    return {"faults": await bot.user_actions.fault(name, chosen)}
