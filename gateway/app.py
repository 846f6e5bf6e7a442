"""The only place that knows every part: builds, starts in order, stops in reverse.

Concurrency: one event loop. On the first signal to end nothing new is accepted and
what runs is finished within `DRAIN_TIMEOUT`; a second signal ends the process at once.
"""

import asyncio
import contextlib
import gc
import logging
import signal
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from importlib.metadata import version
from typing import Any

from gateway.actors.actor import Actor
from gateway.actors.delivery import Delivery
from gateway.actors.rate_limit import RateLimit
from gateway.actors.refusal import Refusals
from gateway.actors.session import Sessions
from gateway.actors.system import ActorSystem
from gateway.config import ServiceSettings, Settings
from gateway.domain.turn import Turn
from gateway.logs import describe, log_turn
from gateway.mailboxes.memory import MemoryMailboxes
from gateway.metrics import Metrics
from gateway.ops import Ops, listening, raise_file_limit
from gateway.services.channels import Channels, Tls
from gateway.services.dispatch import Dispatch
from gateway.services.routes import RouteTable
from gateway.telegram.api import BotApi
from gateway.telegram.introduction import introduce
from gateway.telegram.messenger import TelegramMessenger
from gateway.telegram.updates import UpdateReader
from gateway.telegram.webhook import Webhook

logger = logging.getLogger(__name__)

NAME_SECONDS = 2.0
"""How long the start waits for the bot's name. Without it, commands in groups that
name another bot would be taken as ours."""


async def serve(
    settings: Settings, services: Mapping[str, ServiceSettings], table: RouteTable
) -> None:
    """Run the gateway until a signal ends it.

    Raises:
        Faults: it cannot start, for example because a port is in use.
    """
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    signals = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    raise_file_limit()

    def stop_once() -> None:
        stop.set()
        for number in signals:
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_DFL)

    for number in signals:
        loop.add_signal_handler(number, stop_once)
    async with running(settings, services, table):
        # Else each full collection looks at the 60,000 objects of the start: 37 ms.
        gc.collect()
        gc.freeze()
        await stop.wait()
        logger.info("stopping")
    logger.info("stopped")


@contextlib.asynccontextmanager
async def running(
    settings: Settings, services: Mapping[str, ServiceSettings], table: RouteTable
) -> AsyncIterator[None]:
    """Run the gateway inside of the block; drain it at the end.

    Raises:
        Faults: it cannot start.
    """
    targets = {name: service.target for name, service in services.items()}
    timeouts = {name: service.timeout for name, service in services.items()}
    token = settings.telegram_bot_token.get_secret_value()
    async with (
        Channels(targets, _tls(settings)) as channels,
        BotApi(token, settings.api_url) as api,
        AsyncExitStack() as stack,
    ):
        dispatch = Dispatch(table, channels, timeouts)
        parts = _Parts(settings, dispatch, api)
        host = settings.host
        await stack.enter_async_context(
            listening([parts.ops.add_internal], host, settings.ops_port)
        )
        parts.system.start()
        stack.push_async_callback(parts.drain, settings.drain_timeout)
        introduction = asyncio.create_task(
            introduce(api, table.commands, parts.learn_name), name="introduce"
        )
        stack.push_async_callback(_cancel, introduction)
        await parts.name_known(NAME_SECONDS)
        await stack.enter_async_context(
            listening([parts.webhook.add_to, parts.ops.add_public], host, settings.port)
        )
        stack.callback(parts.stop)
        parts.phase = ""
        logger.warning("mailboxes are in memory: a crash loses what is not done")
        logger.info("started", extra={"host": host, "port": settings.port})
        yield


class _Parts:
    """Everything between the webhook and the calls, put together."""

    def __init__(self, settings: Settings, dispatch: Dispatch, api: BotApi) -> None:
        clock = SystemClock()
        self._metrics = metrics = Metrics()
        self._api = api
        self._version = version("telegram-gateway")
        self._named = asyncio.Event()
        self.phase = "starting"
        """Why the gateway as a whole is not ready. Empty: it is."""
        self._reader = reader = UpdateReader(settings.bot_id)
        self._mailboxes = mailboxes = MemoryMailboxes(
            clock, limit=settings.mailbox_limit, sessions=settings.session_limit
        )
        messenger = TelegramMessenger(
            api,
            observe_call=metrics.observe_call,
            count_reply_fault=metrics.count_reply_fault,
        )
        delivery = Delivery(messenger, dispatch, clock)
        actor = Actor(
            mailboxes,
            dispatch,
            delivery,
            Sessions(dispatch, clock, settings.session_ttl),
            RateLimit(settings.rate_limit_requests, settings.rate_limit_window),
            clock=clock,
            read=reader.read,
            observe=self._observe,
        )
        self.system = ActorSystem(
            mailboxes,
            actor,
            Refusals(delivery, clock=clock, observe=self._observe),
            clock=clock,
            max_active=settings.max_active_actors,
        )
        self.webhook = Webhook(
            secret=settings.telegram_webhook_secret.get_secret_value(),
            read=reader.read,
            accept=self.system.accept,
            bury=mailboxes.bury,
            observe=self._observe,
            clock=clock,
        )
        self.ops = Ops(health=self._health, unready=self._unready, metrics=metrics.page)
        self._add_gauges()

    async def drain(self, within: float) -> None:
        """Finish what was accepted, as far as the time allows."""
        await self.system.drain(within)
        if left := self._mailboxes.queued:
            logger.error("stopped before all was done", extra={"updates": left})

    def stop(self) -> None:
        """Ask for no more updates."""
        self.phase = "stopping"

    def learn_name(self, username: str) -> None:
        """Take note of the bot's @name."""
        self._reader.bot_username = username
        self._named.set()

    async def name_known(self, within: float) -> None:
        """Wait until the bot's name is known, or this many seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within):
                await self._named.wait()

    def _observe(self, turn: Turn) -> None:
        self._metrics.observe(turn)
        log_turn(turn)

    def _unready(self) -> str:
        return self.phase or ("" if self._api.authorized else "bot token")

    def _health(self) -> dict[str, Any]:
        return {
            "status": "ok",
            "version": self._version,
            "mailboxes": "memory",
            "active_actors": self.system.active,
            "queued_updates": self._mailboxes.queued,
        }

    def _add_gauges(self) -> None:
        system, mailboxes = self.system, self._mailboxes
        for name, meaning, read in (
            ("active_actors", "Lanes served.", lambda: system.active),
            (
                "queued_updates",
                "Accepted updates that are not done.",
                lambda: mailboxes.queued,
            ),
            (
                "longest_wait_seconds",
                "How long the oldest mailbox that nobody works on has waited.",
                lambda: mailboxes.longest_wait,
            ),
            ("sessions", "Users remembered.", lambda: mailboxes.sessions),
            ("dead_letters", "Updates given up.", lambda: mailboxes.buried),
        ):
            self._metrics.gauge(f"gateway_{name}", meaning, read)


class SystemClock:
    """The machine's own time."""

    _BOOTTIME = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)  # Linux only

    def now(self) -> float:
        """Give seconds since the epoch."""
        return time.time()

    def uptime(self) -> float:
        """Give seconds since the machine's start, suspension included."""
        return time.clock_gettime(self._BOOTTIME)


def _tls(settings: Settings) -> Tls | None:
    if not settings.services_tls:
        return None
    return Tls(
        ca=settings.services_tls_ca_file,
        certificate=settings.services_tls_certificate_file,
        key=settings.services_tls_key_file,
    )


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait([task])
    if not task.cancelled() and (error := task.exception()):
        logger.error("a task failed", extra={"error": describe(error)})
