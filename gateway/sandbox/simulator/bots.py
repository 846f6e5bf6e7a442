"""The bots of the simulator: each has its own chats, updates, webhook and files.

Concurrency: one event loop. Adding a bot and replacing its token never wait. Updates
are delivered within `Bots.running`, also those of a bot that is added there.
"""

import asyncio
import re
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager

import aiohttp
from msgspec import Struct

from gateway.sandbox.simulator.actions.manual_updates import ManualUpdates
from gateway.sandbox.simulator.actions.user_actions import UserActions
from gateway.sandbox.simulator.delivery.deliveries import UpdateDelivery, open_session
from gateway.sandbox.simulator.delivery.webhook_sender import DeliveryTiming
from gateway.sandbox.simulator.faults.persistent import PersistentFaults
from gateway.sandbox.simulator.methods import BotApiMethods
from gateway.sandbox.simulator.state.callback_queries import CallbackQueries
from gateway.sandbox.simulator.state.chats import Chats
from gateway.sandbox.simulator.state.event_stream import EventStream
from gateway.sandbox.simulator.state.files import FileStore
from gateway.sandbox.simulator.state.queries import OpenQueries
from gateway.sandbox.simulator.state.update_log import UpdateLog
from gateway.sandbox.simulator.state.users import Accounts, Users
from gateway.sandbox.simulator.state.webhook import Webhook
from gateway.sandbox.simulator.validation.rules import Parameters, number

_TOKEN = re.compile(r"([0-9]{1,19}):[!-.0-~]+")
_USERNAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,31}")


class SharedState(Struct, frozen=True, kw_only=True):
    """What all bots share.

    Attributes:
        accounts: the users.
        update_log: the updates of all bots.
        events: the events of all bots.
        faults: the faults that are enabled.
        delivery_timing: the timing of webhook deliveries.
        strict: see `Simulator`.
    """

    accounts: Accounts
    update_log: UpdateLog
    events: EventStream
    faults: PersistentFaults
    delivery_timing: DeliveryTiming
    strict: bool


ExecuteReply = Callable[["SimulatedBot", str, bytes], None]
"""Executes the method call in a response of a bot's webhook, given its content type and
body."""


class SimulatedBot:
    """One bot.

    Attributes:
        token: the bot's token; calls with another one get 401.
        profile: Telegram's User object of the bot.
        users: the users, and which of them blocked the bot.
        chats: the messages.
        callback_queries: the pressed buttons, and the bot's answers.
        queries: the other open queries, and the bot's answers.
        webhook: the settings of the webhook.
        deliveries: creates and delivers the updates.
        methods: the methods of the Bot API.
        files: the bot's files on Telegram's servers.
        user_actions: acts as the bot's users.
        manual_updates: creates updates of all other types.
    """

    def __init__(
        self,
        token: str,
        name: str,
        username: str,
        shared: SharedState,
        execute_reply: ExecuteReply,
    ) -> None:
        self.token = token
        bot_id = number(token.partition(":")[0])
        self.profile: Parameters = {
            "id": bot_id,
            "is_bot": True,
            "first_name": name,
            "username": username,
        }
        events, strict = shared.events.of_bot(bot_id), shared.strict
        self.users = Users(events, shared.accounts)
        self.chats = Chats(self.users, events)
        self.callback_queries = CallbackQueries(events, strict=strict)
        self.queries = OpenQueries(strict=strict)
        self.webhook = Webhook()
        self.deliveries = UpdateDelivery(
            self.webhook,
            shared.update_log,
            events,
            shared.delivery_timing,
            lambda content_type, body: execute_reply(self, content_type, body),
            bot_id,
        )
        self.methods = BotApiMethods(
            self.profile,
            users=self.users,
            chats=self.chats,
            callback_queries=self.callback_queries,
            webhook=self.webhook,
            deliveries=self.deliveries,
            events=events,
            strict=strict,
        )
        self.files = FileStore(self.chats)
        self.methods.add({**self.queries.methods, "getFile": self.files.get_file})
        self.user_actions = UserActions(
            self.profile,
            users=self.users,
            chats=self.chats,
            callback_queries=self.callback_queries,
            deliveries=self.deliveries,
            faults=shared.faults,
            events=events,
        )
        self.manual_updates = ManualUpdates(self.users, self.deliveries, self.queries)

    @property
    def id(self) -> int:
        """The id of the bot, which is the part of its token before the colon."""
        return int(self.profile["id"])

    def view(self, limit: int) -> Parameters:
        """Return the state of the bot for a page.

        Args:
            limit: the maximum number of messages of each chat.
        """
        return {
            "bot": self.profile,
            "blocked": sorted(self.users.blocked),
            "messages": self.chats.newest(limit),
            "asked": self.chats.asked,
            "commands": self.methods.menu,
            "webhook": self.webhook.info,
        }


class Bots:
    """The bots, in the order in which they were added."""

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
        """Return a bot, the first one if its id is None, or None if it is unknown."""
        return self.first if bot_id is None else self._by_id.get(bot_id)

    def with_username(self, username: str) -> SimulatedBot:
        """Return the bot with a username.

        Raises:
            ValueError: there is none.
        """
        for bot in self:
            if bot.profile["username"] == username:
                return bot
        raise ValueError(f"there is no bot @{username}")

    def with_token(self, token: str) -> SimulatedBot | None:
        """Return the bot with a token, or None if no bot has it."""
        return self._by_token.get(token)

    def add(self, token: str, name: str, username: str) -> SimulatedBot:
        """Add a bot.

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
        self._by_id[bot_id] = self._by_token[token] = bot
        if self._session:
            bot.deliveries.start(self._session)
        return bot

    def replace_token(self, bot: SimulatedBot, token: str) -> None:
        """Revoke a bot's token; calls with it get 401 at once, also open ones.

        Its webhook is gone, as at Telegram, and its unconfirmed updates are kept.

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
        del self._by_token[bot.token]
        bot.token = token
        self._by_token[token] = bot
        bot.deliveries.revoke_token()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Deliver updates within the block. Unconfirmed ones stay queued after it."""
        async with open_session() as session:
            self._session = session
            for bot in self:
                bot.deliveries.start(session)
            try:
                yield
            finally:
                self._session = None
                await asyncio.gather(*(bot.deliveries.stop() for bot in self))


def make_token(bot_id: int) -> str:
    """Return a random token for a bot."""
    return f"{bot_id}:{secrets.token_urlsafe(26)}"


def parse_bot_id(token: str) -> int:
    """Return the id of a token's bot.

    Raises:
        ValueError: the token is malformed.
    """
    found = _TOKEN.fullmatch(token)
    if not found or not int(found[1]):
        raise ValueError("token: should be ID:SECRET")
    return int(found[1])
