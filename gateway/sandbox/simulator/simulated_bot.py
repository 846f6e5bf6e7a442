"""One bot of the simulator, with its chats, updates, webhook and files."""

from collections.abc import Callable

from msgspec import Struct

from gateway.sandbox.simulator.actions.manual_updates import ManualUpdates
from gateway.sandbox.simulator.actions.user_actions import UserActions
from gateway.sandbox.simulator.delivery.deliveries import UpdateDelivery
from gateway.sandbox.simulator.delivery.webhook_sender import DeliveryTiming
from gateway.sandbox.simulator.faults.persistent import PersistentFaults
from gateway.sandbox.simulator.methods import BotApiMethods
from gateway.sandbox.simulator.state.callback_queries import CallbackQueries
from gateway.sandbox.simulator.state.chats import Chats
from gateway.sandbox.simulator.state.event_stream import EventStream
from gateway.sandbox.simulator.state.files import FileStore
from gateway.sandbox.simulator.state.queries import OpenQueries
from gateway.sandbox.simulator.state.update_log import UpdateLog
from gateway.sandbox.simulator.state.users import Accounts, User, Users
from gateway.sandbox.simulator.state.webhook import Webhook
from gateway.sandbox.simulator.validation.rules import Parameters, number


class SharedState(Struct, frozen=True, kw_only=True):
    """What all bots of a simulator share.

    Attributes:
        accounts: the users.
        update_log: the updates of all bots.
        events: the events of all bots.
        faults: the faults that are switched on and off.
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


class Management(Struct, frozen=True):
    """Which bot manages a bot, and for whom.

    Attributes:
        manager: the bot that can get and replace the token of the managed one.
        owner: the user who created the managed bot.
    """

    manager: "SimulatedBot"
    owner: User


class SimulatedBot:
    """One bot of the simulator, with all state that belongs to it.

    Attributes:
        token: the bot's token; calls with another one get 401.
        profile: Telegram's User object of the bot.
        users: the users, and which of them blocked the bot.
        chats: the messages.
        callback_queries: the pressed buttons, and the bot's answers.
        queries: the other queries that the bot has to answer, and its answers.
        webhook: the settings of the webhook.
        deliveries: creates and delivers the updates.
        methods: the methods of the Bot API.
        files: the bot's files on Telegram's servers.
        user_actions: performs actions of the bot's users.
        manual_updates: creates updates of all other types.
        management: who manages the bot; None if no bot does.
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
        self.management: Management | None = None
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
        """Return the state of the bot for a page, as a JSON object.

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
