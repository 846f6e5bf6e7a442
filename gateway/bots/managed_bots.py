"""Adds the bots that Telegram lets a bot manage, and stores their tokens.

Telegram sends the manager an update when one of its bots was made, or got another
token. The gateway then writes the token to a file beside BOTS_FILE and, for a new bot,
adds the entry, makes a webhook secret and sets the webhook. The update goes on to the
service that has a route for it, if there is one.

Concurrency: everything happens in the actor that processes the update. Files are
written in a thread.
"""

import logging
from collections.abc import Callable

from botgateway.chat.v1.reply_pb2 import CallbackTarget, Reply
from botgateway.route.v1.event_pb2 import Event

from gateway.bots.editor import BotEditor
from gateway.bots.offered_updates import MANAGED_BOT
from gateway.config.bots import BotConfig
from gateway.domain.errors import BotApiError, ConfigurationError
from gateway.domain.ports import BoundCall, ServiceRouter
from gateway.domain.update import Update
from gateway.telegram.bot_api.client import BotApiClient
from gateway.telegram.bot_api.managed_bots import (
    ManagedBot,
    get_managed_bot_token,
    read_update,
)

logger = logging.getLogger(__name__)


class BotAdoption:
    """Adds the bots that one bot manages to BOTS_FILE, and stores their new tokens.

    Args:
        api: the Bot API client of the managing bot.
        editor: changes BOTS_FILE.
        find_name: returns the name of the bot with a user id, or None if it does not
            run here.
        manager: the configuration of the managing bot.
    """

    def __init__(
        self,
        api: BotApiClient,
        editor: BotEditor,
        find_name: Callable[[int], str | None],
        manager: BotConfig,
    ) -> None:
        self._api = api
        self._editor = editor
        self._find_name = find_name
        self._manager = manager

    async def adopt(self, update: Update) -> None:
        """Add the bot that an update is about, or store its token if it runs here.

        A bot whose owner is not in the manager's `manages_bots_of` is not added. A
        failure is only logged: an operator can use `telegram-gateway bots add` later.

        Args:
            update: an update of the type "managed_bot"; any other one has no effect.
        """
        report = read_update(update.payload)
        if report is None or not report.bot.username:
            return
        bot = report.bot
        is_known = self._find_name(bot.id) is not None
        if not is_known and report.user.id not in self._manager.manages_bots_of:
            return  # anybody may make a bot that this one manages
        try:
            name = await self._take_up(bot)
        except (BotApiError, ConfigurationError) as error:
            logger.error(  # noqa: TRY400 - a traceback would not help
                "managed_bot_not_added",
                extra={
                    "bot": self._manager.name,
                    "managed_bot_id": bot.id,
                    "error": str(error),
                },
            )
        else:
            logger.info(
                "managed_bot_added",
                extra={
                    "bot": name,
                    "manager": self._manager.name,
                    "managed_bot_id": bot.id,
                },
            )

    async def _take_up(self, bot: ManagedBot) -> str:
        """Take up the token of a bot, and return the bot's name here."""
        token = await get_managed_bot_token(self._api, bot.id)
        name = self._find_name(bot.id)
        if name is not None:
            await self._editor.rotate_token(name, token)
            return name
        name = bot.username.lower()
        await self._editor.add_managed(name, token)
        return name


class AdoptingRouter:
    """A service router that adds managed bots before their updates are routed on.

    Args:
        services: the router of the managing bot, which routes all other updates.
        adoption: adds the bots.
    """

    def __init__(self, services: ServiceRouter, adoption: BotAdoption) -> None:
        self._services = services
        self._adoption = adoption

    def route(self, update: Update) -> BoundCall | None:
        """Return the call of the route that serves an update, or None.

        For an update about a managed bot it is a call that adds the bot first, and then
        calls the service of the route if there is one.
        """
        bound_call = self._services.route(update)
        if update.update_type == MANAGED_BOT:
            return _AdoptingCall(self._adoption, update, bound_call)
        return bound_call

    def route_event(self, update: Update, event: "Event.ValueType") -> BoundCall | None:
        """Return the call of the route that serves an event of the user, or None."""
        return self._services.route_event(update, event)

    def encode_callback_data(self, call: CallbackTarget) -> str | None:
        """Return the callback data for a button that makes this call.

        None if no callback route accepts the call.
        """
        return self._services.encode_callback_data(call)

    def sign_callback_data(
        self, data: str, scope: str, delivery_id: str | None = None
    ) -> str:
        """Return the data of a button, signed if its route requires that.

        The arguments are those of `ServiceRouter.sign_callback_data`.
        """
        return self._services.sign_callback_data(data, scope, delivery_id)

    async def resolve_user(self, update: Update) -> str | None:
        """Return the internal id of the update's human user; None if no id is known.

        Raises:
            ServiceError: the call of the session service failed.
        """
        return await self._services.resolve_user(update)


class _AdoptingCall:
    """The call for an update about a managed bot; the call of its route follows."""

    shows_typing = False

    def __init__(
        self, adoption: BotAdoption, update: Update, bound_call: BoundCall | None
    ) -> None:
        self._adoption = adoption
        self._update = update
        self._bound_call = bound_call
        self.route_name = MANAGED_BOT if bound_call is None else bound_call.route_name
        self.is_streaming = bound_call is not None and bound_call.is_streaming

    async def call(self, internal_user_id: str | None) -> Reply:
        await self._adoption.adopt(self._update)
        if self._bound_call is None:
            return Reply()
        return await self._bound_call.call(internal_user_id)

    async def stream(
        self, internal_user_id: str | None, write: Callable[[str], None]
    ) -> Reply | None:
        await self._adoption.adopt(self._update)
        if self._bound_call is None:
            return Reply()
        return await self._bound_call.stream(internal_user_id, write)
