"""Wires the components together. Start-up and shutdown order is in `server.py`."""

import asyncio
import contextlib
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from gateway.actors.rate_limit import RateLimiter
from gateway.actors.replies.overflow import OverflowNotifier
from gateway.actors.replies.reply_sender import ReplySender
from gateway.actors.replies.service_call import ServiceCaller
from gateway.actors.replies.streaming import StreamRunner
from gateway.actors.replies.typing_indicator import TypingIndicator
from gateway.actors.scheduler import ActorScheduler
from gateway.actors.session import SessionResolver
from gateway.actors.user_actor import UserActor
from gateway.background import BackgroundTasks
from gateway.config.settings import Settings
from gateway.domain.instrumentation import NO_INSTRUMENTATION, Instrumentation
from gateway.domain.processing_record import Outcome, ProcessingRecord
from gateway.http.connections import ConnectionCounts
from gateway.http.server import HealthEndpoints
from gateway.mailboxes.factory import OpenedMailboxes
from gateway.observability.logging import count_dropped_lines, log_update
from gateway.observability.metrics import Metrics, ProcessMetrics
from gateway.services.router import GrpcServiceRouter
from gateway.telegram.bot_api.client import BotApiClient
from gateway.telegram.inbound.parser import UpdateParser
from gateway.telegram.messenger import TelegramMessenger
from gateway.telegram.update_receiver import UpdateReceiver
from gateway.telegram.webhook import Webhook

_LOGGED_BY_WEBHOOK = {Outcome.FORBIDDEN, Outcome.MALFORMED}
"""Outcomes that strangers can cause in any number: the webhook logs them at a limited
rate. They are not updates."""


def add_process_counters(
    metrics: ProcessMetrics, counts: ConnectionCounts, background: BackgroundTasks
) -> None:
    """Add the counters that every process has, the supervisor included."""
    metrics.add_labelled_counter(
        "gateway_background_task_failures",
        "Failures of background tasks.",
        "task",
        lambda: background.failure_counts,
    )
    for name, description, read in (
        (
            "log_lines_dropped",
            "Log lines that were dropped because the log could not be written in time.",
            count_dropped_lines,
        ),
        (
            "malformed_requests",
            "Requests that were not valid HTTP.",
            lambda: counts.malformed,
        ),
        (
            "connections_evicted",
            "Idle connections that were closed because too many were open.",
            lambda: counts.evicted,
        ),
        (
            "failed_accepts",
            "Connections not accepted, for example without a free file descriptor.",
            lambda: counts.failed_accepts,
        ),
    ):
        metrics.add_counter(f"gateway_{name}", description, read)


_UNAUTHORIZED_PROBLEM = (
    "Telegram rejects the bot token: set TELEGRAM_BOT_TOKEN to the token from BotFather"
)


class Gateway:
    """The components of a gateway, from the webhook to the Bot API calls."""

    def __init__(
        self,
        settings: Settings,
        router: GrpcServiceRouter,
        api: BotApiClient,
        store: OpenedMailboxes,
        background: BackgroundTasks,
        instrumentation: Instrumentation = NO_INSTRUMENTATION,
    ) -> None:
        self._metrics = metrics = Metrics()
        self.connection_counts = ConnectionCounts()
        self._background = background
        self._api = api
        self._version = version("telegram-gateway")
        self._username_known = asyncio.Event()
        self.not_ready_reason = "starting"
        """Why the gateway is not ready, or an empty string if it is."""
        self._reader = reader = UpdateParser(
            settings.bot_id, allow_bots=settings.allow_bots
        )
        self._mailboxes = mailboxes = store.mailboxes
        clock = store.clock
        services = instrumentation.around_services(router)
        messenger = instrumentation.around_messenger(
            TelegramMessenger(
                api,
                observe_call=metrics.observe_call,
                count_dropped_part=instrumentation.around_count_rejected_part(
                    metrics.count_rejected_part
                ),
                local_server=settings.uses_local_server,
            )
        )
        observe_update = instrumentation.around_observe(self._observe_update)
        reply_sender = ReplySender(
            messenger, services, clock, patience=settings.reply_patience
        )
        typing_indicator = TypingIndicator(messenger)
        service_caller = ServiceCaller(
            SessionResolver(services, clock, settings.session_ttl),
            typing_indicator,
            StreamRunner(messenger, typing_indicator, store.cancellation_bus),
            clock,
        )
        actor = UserActor(
            mailboxes,
            services,
            service_caller,
            reply_sender,
            RateLimiter(settings.rate_limit_requests, settings.rate_limit_window),
            clock=clock,
            parse_update=reader.parse,
            observe_update=observe_update,
        )
        self.scheduler = ActorScheduler(
            mailboxes,
            actor,
            OverflowNotifier(reply_sender, clock=clock, observe_update=observe_update),
            publish_cancellation=store.cancellation_bus.publish,
            clock=clock,
            max_active=settings.max_active_actors,
            background=background,
        )
        receiver = UpdateReceiver(
            parse=reader.parse,
            accept=instrumentation.around_accept(self.scheduler.enqueue),
            add_dead_letter=mailboxes.add_dead_letter,
            record_update=observe_update,
            clock=clock,
        )
        self.webhook = Webhook(
            secrets=settings.webhook_secrets,
            receiver=receiver,
            record_update=observe_update,
            clock=clock,
        )
        self.health_endpoints = HealthEndpoints(
            health=self._get_health, ready=self._get_readiness, metrics=metrics.render
        )
        self._add_gauges()

    def begin_shutdown(self) -> None:
        """Report as not ready, so that no more updates are sent here."""
        self.not_ready_reason = "stopping"

    def add_forged_counter(self, forged: Mapping[str, int]) -> None:
        """Add a counter for the forged entries of the store, by kind of entry."""
        self._metrics.add_labelled_counter(
            "gateway_forged_entries",
            "Entries in Redis that no gateway with our secrets wrote.",
            "entry",
            lambda: forged,
        )

    def set_bot_username(self, username: str) -> None:
        """Set the bot's @name."""
        self._reader.bot_username = username
        self._username_known.set()

    async def wait_for_bot_username(self, max_seconds: float) -> None:
        """Wait until the bot's name is known, for at most `max_seconds`."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max_seconds):
                await self._username_known.wait()

    def _observe_update(self, record: ProcessingRecord) -> None:
        self._metrics.observe_update(record)
        if record.outcome not in _LOGGED_BY_WEBHOOK:
            log_update(record)

    def _get_readiness(self) -> dict[str, Any]:
        reason = self.not_ready_reason or (
            "" if self._api.is_authorized else "bot token"
        )
        # A failing Bot API is reported but does not make the gateway unready: it fails
        # for all gateways at once, and if none were ready, Telegram would get no 200.
        return {
            "ready": not reason,
            "reason": reason,
            "bot_api": self._get_bot_api_status(),
        }

    def _get_bot_api_status(self) -> str:
        return "failing" if self._api.is_failing else "ok"

    def _get_health(self) -> dict[str, Any]:
        failing = self._background.failing_tasks
        problems = self._list_problems()
        is_degraded = (
            self._mailboxes.is_degraded or self._api.is_failing or failing or problems
        )
        return {
            "status": "degraded" if is_degraded else "ok",
            "version": self._version,
            "mailboxes": self._mailboxes.mode,
            "bot_api": self._get_bot_api_status(),
            "active_actors": self.scheduler.active_actors,
            "queued_updates": self._mailboxes.in_memory,
            "failing_tasks": failing,
            "problems": problems,
        }

    def _list_problems(self) -> list[str]:
        """Describe the problems that an operator has to fix."""
        token = "" if self._api.is_authorized else _UNAUTHORIZED_PROBLEM
        return [it for it in (token, self._mailboxes.problem) if it]

    def _add_gauges(self) -> None:
        add_process_counters(self._metrics, self.connection_counts, self._background)
        scheduler, mailboxes = self.scheduler, self._mailboxes
        for name, description, read in (
            (
                "active_actors",
                "Actors running in this process.",
                lambda: scheduler.active_actors,
            ),
            (
                "bot_api_failing",
                "1 if all recent requests to the Bot API failed.",
                lambda: self._api.is_failing,
            ),
            (
                "paused_replies",
                "Replies waiting for a retry at the Bot API.",
                lambda: scheduler.waiting_replies,
            ),
            (
                "queued_updates",
                "Accepted, unprocessed updates in this process's memory.",
                lambda: mailboxes.in_memory,
            ),
            (
                "pending_mailboxes",
                "Mailboxes with unprocessed updates; in Redis, those of all workers.",
                lambda: mailboxes.mailbox_count,
            ),
            (
                "degraded",
                "1 if Redis fails, or updates from an outage are still in memory.",
                lambda: mailboxes.is_degraded,
            ),
            (
                "oldest_unclaimed_seconds",
                "Age of the oldest mailbox without a lease.",
                lambda: mailboxes.longest_wait,
            ),
            (
                "sessions",
                "User sessions cached in this process's memory.",
                lambda: mailboxes.session_count,
            ),
            (
                "dead_letters",
                "Updates moved to the dead letters.",
                lambda: mailboxes.dead_letter_count,
            ),
            (
                "rejected_bodies",
                "Kept bodies that are not updates: malformed, or forged in Redis.",
                lambda: mailboxes.rejected_count,
            ),
        ):
            self._metrics.add_gauge(f"gateway_{name}", description, read)
