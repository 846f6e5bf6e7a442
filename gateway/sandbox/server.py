"""A simulator of Telegram's Bot API, over real HTTP, for the sandbox and for tests.

It validates calls as the real server does, returns the same error messages, records
all calls, and can inject faults. All state is in memory.

Concurrency: one event loop. A call is executed and recorded without an `await` in
between, so calls take effect one at a time, in the order in which they were read. A
delayed response waits after its call took effect; the wait ends early when the client
disconnects or the server stops.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from gateway.sandbox.origin_guard import reject_foreign_requests
from gateway.sandbox.simulator.bots import Bots
from gateway.sandbox.simulator.delivery.webhook_sender import DeliveryTiming
from gateway.sandbox.simulator.dispatcher import ApiCall, ApiDispatcher
from gateway.sandbox.simulator.downloads import Downloads
from gateway.sandbox.simulator.faults.one_shot import Fault, OneShotFaults
from gateway.sandbox.simulator.faults.persistent import PersistentFaults
from gateway.sandbox.simulator.limits.flood_limits import FloodLimits, LimitSettings
from gateway.sandbox.simulator.simulated_bot import SharedState, SimulatedBot
from gateway.sandbox.simulator.state.event_stream import EventStream
from gateway.sandbox.simulator.state.update_log import UpdateLog
from gateway.sandbox.simulator.state.users import MAX_USERS, Accounts
from gateway.sandbox.simulator.validation.rules import Parameters
from gateway.sandbox.ui.endpoints import Endpoints
from gateway.sandbox.ui.pages import Pages

USERNAME = "sandbox_bot"
"""The default username of the first bot."""
_SHOWN = 200
"""Number of messages of each chat, and of updates, in the snapshot for a new page."""
_LARGEST_BODY = 50 * 2**20
"""Maximum bytes of a call: the largest file that a bot may send."""


class Simulator:
    """A simulated Bot API with one or more bots.

    Attributes and methods that are about one bot concern the first one.

    Args:
        token: the token of the first bot.
        username: the username of the first bot.
        turns_key: the key with which a gateway may post its traces; empty to reject all
            traces.
        delivery_timing: the timing of webhook deliveries; None for Telegram's.
        max_users: the maximum number of users.
        strict: True to also reject calls to a chat without a known user, answers to
            unknown queries, and a second setWebhook within a second; False to let tests
            use any ids.
        limits: Telegram's limits of how often a bot may send; None to enforce none.

    Attributes:
        bots: the bots.
        limits: enforces and counts Telegram's limits.
        user_actions: performs actions of users in the chats of the first bot.
        manual_updates: creates updates of all other types for the first bot.
        queries: the queries that the first bot has to answer, and its answers.
        events: the stream of all events.
        update_log: the updates of all bots, with their delivery and processing state.
        files: the files of the first bot on Telegram's servers.
    """

    def __init__(
        self,
        token: str,
        *,
        username: str = USERNAME,
        turns_key: str = "",
        delivery_timing: DeliveryTiming | None = None,
        max_users: int = MAX_USERS,
        strict: bool = False,
        limits: LimitSettings | None = None,
    ) -> None:
        self.events = EventStream()
        self.update_log = UpdateLog(self.events)
        self._one_shot_faults = OneShotFaults()
        self._persistent_faults = PersistentFaults()
        self.bots = Bots(
            SharedState(
                accounts=Accounts(max_users),
                update_log=self.update_log,
                events=self.events,
                faults=self._persistent_faults,
                delivery_timing=delivery_timing or DeliveryTiming(),
                strict=strict,
            ),
            self._answer_webhook,
        )
        self._first = self.bots.add(token, "Sandbox", username)
        self.user_actions = self._first.user_actions
        self.manual_updates = self._first.manual_updates
        self.queries = self._first.queries
        self.files = self._first.files
        self.limits = FloodLimits(limits)
        self._dispatcher = ApiDispatcher(
            self.bots, self._one_shot_faults, self._persistent_faults, self.limits
        )
        self._turns_key = turns_key

    @property
    def sent(self) -> list[ApiCall]:
        """The newest 10,000 calls, oldest first, including rejected ones."""
        return self._dispatcher.sent

    @property
    def blocked(self) -> set[int]:
        """The ids of users who blocked the first bot; tests may change the set."""
        return self._first.users.blocked

    @property
    def answers(self) -> list[Parameters]:
        """The newest answers to pressed buttons, as calls' parameters, oldest first."""
        return self._first.callback_queries.answers

    @property
    def webhook(self) -> Parameters:
        """What getWebhookInfo returns; tests may change it to simulate a delivery."""
        return self._first.webhook.info

    @property
    def secret_token(self) -> str:
        """The secret token that setWebhook set, or an empty string if there is none."""
        return self._first.webhook.secret_token

    def set_webhook(self, url: str, secret_token: str = "") -> None:
        """Deliver the first bot's updates to a URL, as if it had called setWebhook.

        Raises:
            ApiError: the URL or the secret is invalid.
        """
        self._first.deliveries.set_webhook({"url": url, "secret_token": secret_token})

    def messages(self, chat_id: int) -> list[Parameters]:
        """Return the messages of a chat as Telegram's Message objects, oldest first.

        Edited messages keep their place. Only the newest 10,000 messages of all chats
        are kept.
        """
        return self._first.chats.messages(chat_id)

    def snapshot(self) -> Parameters:
        """Return all that a page shows at first: bots, messages, users and updates."""
        first, *others = self.bots
        return {
            **first.view(_SHOWN),
            "other_bots": [bot.view(_SHOWN) for bot in others],
            "users": first.users.views(),
            "updates": self.update_log.rows(_SHOWN),
            "total_updates": self.update_log.total,
            "faults": self._persistent_faults.views(),
        }

    def fail(  # noqa: PLR0913 - one keyword for each thing that can go wrong
        self,
        method: str = "*",
        status: int = 429,
        *,
        description: str | None = None,
        retry_after: int | None = None,
        migrate_to_chat_id: int | None = None,
        chat_id: int | None = None,
        times: int = 1,
        delay: float = 0.0,
        drop: bool = False,
        body: str | None = None,
    ) -> None:
        """Make the next calls that match fail, or respond in another way.

        Such faults are queued; a call uses up the first one that matches it.

        Args:
            method: the method that fails, case-insensitive; "*" matches every method.
            status: the HTTP status of the response. With 200 the call takes effect, and
                only its response is delayed, dropped or replaced.
            description: the description of the error; Telegram's text if None.
            retry_after: seconds to wait, for 429; 1 if None.
            migrate_to_chat_id: the new id of a group that became a supergroup, which
                sets the status to 400; None for other errors.
            chat_id: only calls to this chat fail; None for calls to any chat.
            times: the number of calls that fail.
            delay: seconds to wait before the response.
            drop: True to close the connection instead of responding.
            body: respond with this text, which need not be JSON; None for the usual
                body.
        """
        self._one_shot_faults.add(
            Fault(
                method=method.lower(),
                chat_id=chat_id,
                times=times,
                status=status,
                description=description,
                retry_after=retry_after,
                migrate_to_chat_id=migrate_to_chat_id,
                delay=delay,
                drop=drop,
                body=body,
            )
        )

    def stop_failing(self) -> None:
        """Remove the faults of `fail` that no call has used up yet."""
        self._one_shot_faults.clear()

    def _answer_webhook(
        self, bot: SimulatedBot, content_type: str, body: bytes
    ) -> None:
        self._dispatcher.answer_webhook(bot, content_type, body)

    @property
    def app(self) -> web.Application:
        """A new aiohttp application with the Bot API, the page and its endpoints."""
        app = web.Application(
            client_max_size=_LARGEST_BODY, middlewares=[reject_foreign_requests]
        )
        Pages(lambda: self.sent, self.bots).add_to(app)
        Endpoints(
            self.bots,
            self.limits,
            self.update_log,
            self.events,
            snapshot=self.snapshot,
            turns_key=self._turns_key,
        ).add_to(app)
        Downloads(self.bots).add_to(app)
        self._dispatcher.add_to(app)
        return app

    @asynccontextmanager
    async def serve(self, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[str]:
        """Serve over HTTP and deliver updates within the block; yield the base URL.

        May be entered again after it ended, to simulate an outage.

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
            async with self.bots.running():
                yield f"http://{host}:{runner.addresses[0][1]}"
        finally:
            await runner.cleanup()
