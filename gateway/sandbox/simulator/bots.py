"""Keeps the bots of the simulator, and finds them by id, username or token.

Concurrency: one event loop. Adding a bot and replacing its token never wait. Updates
are delivered within `Bots.running`, also those of a bot that is added there.
"""

import asyncio
import re
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial

import aiohttp

from gateway.sandbox.simulator.delivery.deliveries import open_session
from gateway.sandbox.simulator.simulated_bot import (
    ExecuteReply,
    Management,
    SharedState,
    SimulatedBot,
)
from gateway.sandbox.simulator.state.users import sender
from gateway.sandbox.simulator.validation.rules import (
    Parameters,
    bad_request,
    number,
)

_TOKEN = re.compile(r"([0-9]{1,19}):[!-.0-~]+")
_USERNAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,31}")


class Bots:
    """All bots of the simulator, in the order in which they were added."""

    def __init__(self, shared: SharedState, execute_reply: ExecuteReply) -> None:
        self._shared = shared
        self._execute_reply = execute_reply
        self._by_id: dict[int, SimulatedBot] = {}
        self._by_token: dict[str, SimulatedBot] = {}
        self._session: aiohttp.ClientSession | None = None

    def __iter__(self) -> Iterator[SimulatedBot]:
        return iter(self._by_id.values())

    @property
    def first(self) -> SimulatedBot:
        """The bot that was added first."""
        return next(iter(self))

    def with_id(self, bot_id: int | None) -> SimulatedBot | None:
        """Return the bot with an id.

        Args:
            bot_id: the id; None for the first bot.

        Returns:
            The bot; None if there is no such bot.
        """
        return self.first if bot_id is None else self._by_id.get(bot_id)

    def with_username(self, username: str) -> SimulatedBot:
        """Return the bot with a username.

        Raises:
            ValueError: there is no such bot.
        """
        for bot in self:
            if bot.profile["username"] == username:
                return bot
        raise ValueError(f"there is no bot @{username}")

    def with_token(self, token: str) -> SimulatedBot | None:
        """Return the bot whose current token this is; None if there is no such bot."""
        return self._by_token.get(token)

    def add(self, token: str, name: str, username: str) -> SimulatedBot:
        """Create a bot, and deliver its updates if this is within `running`.

        Args:
            token: the token of the bot, which contains its id.
            name: the name that users see.
            username: the username without the at sign.

        Raises:
            ValueError: the token or the username is malformed or taken, or the name is
                empty or too long.
        """
        bot_id = parse_bot_id(token)
        if bot_id in self._by_id:
            raise ValueError(f"there is a bot {bot_id}")
        if not 1 <= len(name.strip()) <= 64:
            raise ValueError("name: 1 to 64 characters")
        if not _USERNAME.fullmatch(username):
            raise ValueError("username: 1 to 32 letters, digits and underscores")
        taken = {bot.profile["username"].lower() for bot in self}
        if username.lower() in taken:
            raise ValueError(f"there is a bot @{username}")
        bot = SimulatedBot(
            token, name.strip(), username, self._shared, self._execute_reply
        )
        bot.methods.add(
            {
                "getManagedBotToken": lambda call: self._find_managed(bot, call).token,
                "replaceManagedBotToken": partial(self._replace_managed_token, bot),
            }
        )
        self._by_id[bot_id] = self._by_token[token] = bot
        if self._session:
            bot.deliveries.start(self._session)
        return bot

    def manage(self, bot: SimulatedBot, manager: SimulatedBot, owner_id: int) -> None:
        """Let one bot manage another one, and create the update about it.

        Args:
            bot: the managed bot.
            manager: the bot that manages it, and gets the update.
            owner_id: the id of the user who created the managed bot.

        Raises:
            ValueError: there is no such user, or the bot would manage itself.
        """
        owner = manager.users.find(owner_id)
        if not owner:
            raise ValueError(f"there is no user {owner_id}")
        if manager is bot:
            raise ValueError("manager: a bot cannot manage itself")
        bot.management = Management(manager, owner)
        _tell_manager(bot)

    def replace_token(self, bot: SimulatedBot, token: str) -> None:
        """Give a bot another token; calls with the old one get 401, also waiting ones.

        Its webhook is removed, as at Telegram; its unconfirmed updates are kept. The
        bot that manages it gets an update.

        Args:
            bot: the bot.
            token: the new token.

        Raises:
            ValueError: the token is malformed, in use, or that of another bot.
        """
        if parse_bot_id(token) != bot.id:
            raise ValueError(f"token: begins with {bot.id}, the id of the bot")
        if token == bot.token:
            raise ValueError("token: is the current one")
        self._change_token(bot, token)
        _tell_manager(bot)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Deliver the updates of all bots to their webhooks within the block.

        Updates that were not accepted by then stay queued.
        """
        async with open_session() as session:
            self._session = session
            for bot in self:
                bot.deliveries.start(session)
            try:
                yield
            finally:
                self._session = None
                await asyncio.gather(*(bot.deliveries.stop() for bot in self))

    def _change_token(self, bot: SimulatedBot, token: str) -> None:
        del self._by_token[bot.token]
        bot.token = token
        self._by_token[token] = bot
        bot.deliveries.revoke_token()

    def _replace_managed_token(self, manager: SimulatedBot, call: Parameters) -> str:
        bot = self._find_managed(manager, call)
        # Whether Telegram also sends an update to the manager that did it is unknown.
        self._change_token(bot, make_token(bot.id))
        return bot.token

    def _find_managed(self, manager: SimulatedBot, call: Parameters) -> SimulatedBot:
        """Return the managed bot that a call names (telegram-bot-api: Client.cpp).

        Raises:
            ApiError: there is no such bot, or another one manages it.
        """
        bot_id = number(call.get("user_id"))
        if bot_id <= 0:
            raise bad_request("Invalid user_id specified")
        bot = self._by_id.get(bot_id)
        if not bot and not manager.users.find(bot_id):
            raise bad_request("User not found")
        if not bot or not bot.management or bot.management.manager is not manager:
            raise bad_request("BOT_INVALID")
        return bot


def _tell_manager(bot: SimulatedBot) -> None:
    """Create the update about a managed bot that is new or has another token."""
    if bot.management:
        content = {"user": sender(bot.management.owner), "bot": bot.profile}
        bot.management.manager.deliveries.add("managed_bot", content)


def make_token(bot_id: int) -> str:
    """Return a random token for a bot."""
    return f"{bot_id}:{secrets.token_urlsafe(26)}"


def parse_bot_id(token: str) -> int:
    """Return the bot's id, which is the part of a token before the colon.

    Raises:
        ValueError: the token is malformed.
    """
    found = _TOKEN.fullmatch(token)
    if not found or not int(found[1]):
        raise ValueError("token: should be ID:SECRET")
    return int(found[1])
