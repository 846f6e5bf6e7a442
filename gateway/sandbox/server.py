"""A stand-in for Telegram's Bot API, over real HTTP, for the sandbox and for tests.

It checks what the real one checks, answers in its words, keeps what was sent, and can
be told to fail. It lives in memory and forgets everything with its end.

Concurrency: one event loop. A call is carried out and noted without an `await` in
between, so calls take effect one at a time, in the order in which they were read. An
answer that was asked to be late waits after its call took effect; it ends with its
client or with the server, whichever goes first.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from gateway.sandbox.origin_guard import reject_foreign_requests
from gateway.sandbox.simulator.actions.manual_updates import ManualUpdates
from gateway.sandbox.simulator.actions.user_actions import UserActions
from gateway.sandbox.simulator.delivery.deliveries import UpdateDelivery
from gateway.sandbox.simulator.delivery.webhook_sender import DeliveryTiming
from gateway.sandbox.simulator.dispatcher import ApiCall, ApiDispatcher
from gateway.sandbox.simulator.faults.one_shot import Fault, OneShotFaults
from gateway.sandbox.simulator.faults.persistent import PersistentFaults
from gateway.sandbox.simulator.methods import BotApiMethods
from gateway.sandbox.simulator.state import users
from gateway.sandbox.simulator.state.callback_queries import CallbackQueries
from gateway.sandbox.simulator.state.chats import Chats
from gateway.sandbox.simulator.state.event_stream import EventStream
from gateway.sandbox.simulator.state.files import FileStore
from gateway.sandbox.simulator.state.queries import OpenQueries
from gateway.sandbox.simulator.state.update_log import UpdateLog
from gateway.sandbox.simulator.state.users import Users
from gateway.sandbox.simulator.state.webhook import Webhook
from gateway.sandbox.simulator.validation.rules import Parameters, number
from gateway.sandbox.ui.endpoints import Endpoints
from gateway.sandbox.ui.pages import Pages

_SHOWN = 200
"""Messages of each chat, and updates, that a page gets when it is opened."""
_LARGEST_BODY = 50 * 2**20
"""Bytes of a call: as large as a file that a bot sends, and what is around it."""


class Simulator:
    """One bot on a Bot API of its own.

    Args:
        strict: also refuse calls to a chat that no user here is in, answers to presses
            that never were, and a second setWebhook within a second. Without it tests
            may use any ids.

    Attributes:
        token: the bot's token; calls with another one get 401.
        user_actions: what its users do.
        manual_updates: makes updates that are neither messages nor pressed buttons.
        queries: what Telegram asks for them, and the bot's answers.
        events: what happens, as it happens.
        update_log: the updates, and what became of them.
        files: what lies on its servers.
    """

    def __init__(
        self,
        token: str,
        *,
        username: str = "sandbox_bot",
        turns_key: str = "",
        delivery_timing: DeliveryTiming | None = None,
        most_users: int = users.MAX_USERS,
        strict: bool = False,
    ) -> None:
        self.token = token
        self.events = EventStream()
        self.update_log = UpdateLog(self.events)
        self._bot: Parameters = {
            "id": number(token.partition(":")[0]),
            "is_bot": True,
            "first_name": "Sandbox",
            "username": username,
        }
        self._users = Users(self.events, most_users)
        self._chats = Chats(self._users, self.events)
        self._callback_queries = CallbackQueries(self.events, strict=strict)
        self.queries = OpenQueries(strict=strict)
        self._webhook = Webhook()
        self._deliveries = UpdateDelivery(
            self._webhook,
            self.update_log,
            self.events,
            delivery_timing or DeliveryTiming(),
            self._answer_webhook,
        )
        self._methods = BotApiMethods(
            self._bot,
            people=self._users,
            chats=self._chats,
            callback_queries=self._callback_queries,
            webhook=self._webhook,
            deliveries=self._deliveries,
            events=self.events,
            strict=strict,
        )
        self.files = FileStore(token, self._chats)
        self._methods.add({**self.queries.methods, "getFile": self.files.get_file})
        self._one_shot_faults = OneShotFaults()
        self._persistent_faults = PersistentFaults()
        self._dispatcher = ApiDispatcher(
            token,
            self._methods,
            self._one_shot_faults,
            self._persistent_faults,
            self.files,
        )
        self.user_actions = UserActions(
            self._bot,
            people=self._users,
            chats=self._chats,
            callback_queries=self._callback_queries,
            deliveries=self._deliveries,
            faults=self._persistent_faults,
            events=self.events,
        )
        self.manual_updates = ManualUpdates(self._users, self._deliveries, self.queries)
        self._turns_key = turns_key

    @property
    def sent(self) -> list[ApiCall]:
        """The newest 10,000 calls, oldest first, refused ones included."""
        return self._dispatcher.sent

    @property
    def blocked(self) -> set[int]:
        """Users who blocked the bot: add and discard them as a test needs it."""
        return self._users.blocked

    @property
    def answers(self) -> list[Parameters]:
        """The newest answers to pressed buttons, oldest first."""
        return self._callback_queries.answers

    @property
    def webhook(self) -> Parameters:
        """What getWebhookInfo gives back. May be changed, to play a delivery."""
        return self._webhook.info

    @property
    def secret_token(self) -> str:
        """The secret that setWebhook was called with. Empty: none."""
        return self._webhook.secret_token

    def set_webhook(self, url: str, secret_token: str = "") -> None:
        """Deliver updates to an address, as if the bot had called setWebhook."""
        self._deliveries.set_webhook({"url": url, "secret_token": secret_token})

    def messages(self, chat_id: int) -> list[Parameters]:
        """List what a chat shows, as Telegram's Message objects, oldest first.

        Edits show in place. Only the newest 10,000 messages of all chats are kept.
        """
        return self._chats.messages(chat_id)

    def snapshot(self) -> Parameters:
        """Give all that a page shows when it is opened."""
        return {
            "bot": self._bot,
            "users": self._users.views(),
            "messages": self._chats.newest(_SHOWN),
            "asked": self._chats.asked,
            "updates": self.update_log.rows(_SHOWN),
            "total_updates": self.update_log.total,
            "commands": self._methods.menu,
            "faults": self._persistent_faults.views(),
            "webhook": self._webhook.info,
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
        """Queue a fault. A call meets the first queued fault that fits it.

        Args:
            method: the method that fails, in any case; "*": every one.
            status: the status of the answer. With 200 the call takes effect all the
                same, and only its answer comes late, not at all, or garbled.
            description: the description of the error; Telegram's words if None.
            retry_after: seconds to wait, for 429; 1 if None.
            migrate_to_chat_id: the new id of an upgraded group; makes the status 400.
            chat_id: only calls to this chat fail.
            times: how many calls meet the fault.
            delay: seconds after which the answer comes.
            drop: close the connection instead of answering.
            body: answer with this text, which need not be JSON.
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
        """Drop the faults that `fail` queued and no call has met yet."""
        self._one_shot_faults.clear()

    def _answer_webhook(self, content_type: str, body: bytes) -> None:
        self._dispatcher.answer_webhook(content_type, body)

    @property
    def app(self) -> web.Application:
        """A new aiohttp application over this simulator."""
        app = web.Application(
            client_max_size=_LARGEST_BODY, middlewares=[reject_foreign_requests]
        )
        Pages(lambda: self.sent, self.messages).add_to(app)
        Endpoints(
            self.user_actions,
            self.manual_updates,
            self.update_log,
            self.events,
            snapshot=self.snapshot,
            turns_key=self._turns_key,
        ).add_to(app)
        self.files.add_to(app)
        self._dispatcher.add_to(app)
        return app

    @asynccontextmanager
    async def serve(self, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[str]:
        """Serve over HTTP, on a free port if it is 0; gives the address.

        May be entered again after it ended: that plays an outage.

        Raises:
            OSError: the port is in use.
        """
        runner = web.AppRunner(
            self.app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1
        )
        await runner.setup()
        try:
            await web.TCPSite(runner, host, port).start()
            async with self._deliveries.running():
                yield f"http://{host}:{runner.addresses[0][1]}"
        finally:
            await runner.cleanup()
