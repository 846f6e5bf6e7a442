"""HTTP endpoints for tests and programs that control bots and Telegram's limits."""

from aiohttp import web
from msgspec import Struct

from gateway.sandbox.simulator.actions.message_builder import InvalidInput
from gateway.sandbox.simulator.bots import Bots, make_token, parse_bot_id
from gateway.sandbox.simulator.limits.flood_limits import FloodLimits, LimitSettings
from gateway.sandbox.simulator.simulated_bot import SimulatedBot
from gateway.sandbox.simulator.state.event_stream import EventStream
from gateway.sandbox.ui.responses import json_handler, json_response


class _Bot(Struct, forbid_unknown_fields=True):
    id: int | None = None
    name: str | None = None
    username: str | None = None
    token: str | None = None
    manager: int | None = None
    owner: int = 0


class _Token(Struct, forbid_unknown_fields=True):
    bot: int
    token: str | None = None


class _Limits(LimitSettings, forbid_unknown_fields=True, kw_only=True, frozen=True):
    on: bool


class _Hold(Struct, forbid_unknown_fields=True):
    chat: int
    seconds: int
    bot: int | None = None


class ControlEndpoints:
    """HTTP endpoints that add bots, replace tokens and set limits.

    Args:
        bots: the bots of the simulator.
        limits: the limits of how often they may send.
        events: where a new bot is published.
    """

    def __init__(self, bots: Bots, limits: FloodLimits, events: EventStream) -> None:
        self._bots = bots
        self._limits = limits
        self._events = events

    def add_to(self, app: web.Application) -> None:
        """Add the routes of these endpoints to an application."""
        app.router.add_post("/do/bot", json_handler(_Bot, self._add_bot))
        app.router.add_post("/do/token", json_handler(_Token, self._replace_token))
        app.router.add_post("/do/limits", json_handler(_Limits, self._enforce_limits))
        app.router.add_post("/do/hold", json_handler(_Hold, self._hold_chat))
        app.router.add_get("/limits", self._show_limits)

    async def _add_bot(
        self,
        *,
        id: int | None,  # noqa: A002 - the name in the JSON
        name: str | None,
        username: str | None,
        token: str | None,
        manager: int | None,
        owner: int,
    ) -> object:
        manager_bot = find_bot(self._bots, manager)
        if manager is not None and not manager_bot.users.find(owner):
            raise InvalidInput(f"owner: there is no user {owner}")
        bot_id = id or max(bot.id for bot in self._bots) + 1
        try:
            token = token or make_token(bot_id)
            bot_id = parse_bot_id(token)
            bot = self._bots.add(
                token, name or f"Bot {bot_id}", username or f"sandbox_{bot_id}_bot"
            )
        except ValueError as error:
            raise InvalidInput(str(error)) from None
        if manager is not None:
            self._bots.manage(bot, manager_bot, owner)
        self._events.publish("bot", **bot.view(1))
        return {"bot": bot.profile, "token": bot.token}

    async def _replace_token(self, *, bot: int, token: str | None) -> object:
        changed = find_bot(self._bots, bot)
        try:
            self._bots.replace_token(changed, token or make_token(changed.id))
        except ValueError as error:
            raise InvalidInput(str(error)) from None
        return {"bot": changed.profile, "token": changed.token}

    async def _enforce_limits(self, *, on: bool, **settings: float) -> object:
        self._limits.enforce(LimitSettings(**settings) if on else None)  # type: ignore[arg-type]  # decoded before
        return self._limits.view()

    async def _hold_chat(self, *, chat: int, seconds: int, bot: int | None) -> object:
        try:
            self._limits.hold_chat(find_bot(self._bots, bot).id, chat, seconds)
        except ValueError as error:
            raise InvalidInput(str(error)) from None
        return self._limits.view()

    async def _show_limits(self, _: web.Request) -> web.Response:
        return json_response(self._limits.view())


def find_bot(bots: Bots, bot_id: int | None) -> SimulatedBot:
    """Return the bot with an id.

    Args:
        bots: the bots of the simulator.
        bot_id: the id; None for the first bot.

    Raises:
        InvalidInput: there is no such bot.
    """
    bot = bots.with_id(bot_id)
    if not bot:
        raise InvalidInput(f"there is no bot {bot_id}")
    return bot
