"""The only place that knows every part: builds, starts in order, stops in reverse.

Concurrency: one event loop. On the first SIGTERM or SIGINT nothing new is accepted and
what runs is finished within `DRAIN_TIMEOUT`; a second signal ends the process at once.
"""

import asyncio
import contextlib
import logging
import signal
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from importlib.metadata import version
from typing import Any

from aiohttp import web

from gateway.actors.actor import Actor
from gateway.actors.delivery import Delivery
from gateway.actors.rate_limit import RateLimit
from gateway.actors.refusal import Refusals
from gateway.actors.session import Sessions
from gateway.actors.system import ActorSystem
from gateway.config import ServiceSettings, Settings
from gateway.domain.turn import Turn
from gateway.logs import log_turn
from gateway.mailboxes.memory import MemoryMailboxes
from gateway.metrics import Metrics
from gateway.ops import Ops, listening
from gateway.services.channels import Channels, Tls
from gateway.services.dispatch import Dispatch
from gateway.services.routes import RouteTable
from gateway.telegram.api import BotApi
from gateway.telegram.introduction import introduce
from gateway.telegram.messenger import TelegramMessenger
from gateway.telegram.updates import UpdateReader
from gateway.telegram.webhook import Webhook

logger = logging.getLogger(__name__)


async def serve(
    settings: Settings, services: Mapping[str, ServiceSettings], table: RouteTable
) -> None:
    """Run the gateway until a signal ends it.

    Raises:
        Faults: it cannot start, for example because a port is in use.
    """
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    signals = (signal.SIGTERM, signal.SIGINT)

    def stop_once() -> None:
        stop.set()
        for number in signals:
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_DFL)

    for number in signals:
        loop.add_signal_handler(number, stop_once)
    async with running(settings, services, table):
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
    clock = SystemClock()
    metrics = Metrics()

    def observe(turn: Turn) -> None:
        metrics.observe(turn)
        log_turn(turn)

    async with AsyncExitStack() as stack:
        targets = {name: service.target for name, service in services.items()}
        timeouts = {name: service.timeout for name, service in services.items()}
        channels = await stack.enter_async_context(Channels(targets, _tls(settings)))
        dispatch = Dispatch(table, channels, timeouts)
        token = settings.telegram_bot_token.get_secret_value()
        api = await stack.enter_async_context(BotApi(token, settings.api_url))
        messenger = TelegramMessenger(
            api,
            observe_call=metrics.observe_call,
            count_reply_fault=metrics.count_reply_fault,
        )
        reader = UpdateReader(settings.bot_id)
        mailboxes = MemoryMailboxes(
            clock, limit=settings.mailbox_limit, sessions=settings.session_limit
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
            observe=observe,
        )
        refusals = Refusals(delivery, clock=clock, observe=observe)
        system = ActorSystem(
            mailboxes,
            actor,
            refusals,
            clock=clock,
            max_active=settings.max_active_actors,
        )
        webhook = Webhook(
            secret=settings.telegram_webhook_secret.get_secret_value(),
            read=reader.read,
            accept=system.accept,
            bury=mailboxes.bury,
            observe=observe,
            clock=clock,
        )
        _add_gauges(metrics, mailboxes, system)
        phase = _Phase()
        ops = Ops(
            health=lambda: _health(mailboxes, system),
            unready=lambda: phase.reason or ("" if api.authorized else "bot token"),
            metrics=metrics.page,
        )
        public, internal = web.Application(), web.Application()
        webhook.add_to(public)
        ops.add_public(public)
        ops.add_internal(internal)

        await stack.enter_async_context(
            listening(internal, settings.host, settings.ops_port)
        )
        system.start()
        stack.push_async_callback(system.drain, settings.drain_timeout)

        def learn(username: str) -> None:
            reader.bot_username = username

        introduction = asyncio.create_task(introduce(api, table.commands, learn))
        stack.push_async_callback(_cancel, introduction)
        await stack.enter_async_context(listening(public, settings.host, settings.port))
        stack.callback(phase.stop)
        phase.reason = ""
        logger.warning("mailboxes are in memory: a crash loses what is not done")
        logger.info("started", extra={"host": settings.host, "port": settings.port})
        yield


class SystemClock:
    """The machine's own time."""

    _BOOTTIME = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)  # Linux only

    def now(self) -> float:
        """Give seconds since the epoch."""
        return time.time()

    def uptime(self) -> float:
        """Give seconds since the machine's start, suspension included."""
        return time.clock_gettime(self._BOOTTIME)


class _Phase:
    """Why the gateway as a whole is not ready. Empty: it is."""

    reason = "starting"

    def stop(self) -> None:
        self.reason = "stopping"


def _tls(settings: Settings) -> Tls | None:
    if not settings.services_tls:
        return None
    return Tls(
        ca=settings.services_tls_ca_file,
        certificate=settings.services_tls_certificate_file,
        key=settings.services_tls_key_file,
    )


def _health(mailboxes: MemoryMailboxes, system: ActorSystem) -> dict[str, Any]:
    return {
        "status": "ok",
        "version": version("telegram-gateway"),
        "mailboxes": "memory",
        "active_actors": system.active,
        "queued_updates": mailboxes.queued,
    }


def _add_gauges(
    metrics: Metrics, mailboxes: MemoryMailboxes, system: ActorSystem
) -> None:
    metrics.gauge("gateway_active_actors", "Lanes served.", lambda: system.active)
    metrics.gauge(
        "gateway_queued_updates",
        "Accepted updates that are not done.",
        lambda: mailboxes.queued,
    )
    metrics.gauge(
        "gateway_longest_wait_seconds",
        "For how long the oldest update has waited in a mailbox that nobody works on.",
        lambda: mailboxes.longest_wait,
    )
    metrics.gauge("gateway_sessions", "Users remembered.", lambda: mailboxes.sessions)
    metrics.gauge("gateway_dead_letters", "Updates given up.", lambda: mailboxes.buried)


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
