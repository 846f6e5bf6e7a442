"""What a gateway process shows of itself: `/ready`, `/health` and its gauges."""

from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from gateway.actors.scheduler import ActorScheduler
from gateway.background import BackgroundTasks
from gateway.bots.composition import RunningBots
from gateway.contracts.live_services import LiveServices
from gateway.contracts.watcher import ContractWatcher
from gateway.http.connections import ConnectionCounts
from gateway.mailboxes.factory import WorkerMailboxes
from gateway.observability.logging import count_dropped_lines
from gateway.observability.metrics import Metrics, ProcessMetrics
from gateway.services.diagnosis.monitor import ServiceMonitor
from gateway.telegram.bot_api.health import BotApiHealth

_MAX_LISTED_PROBLEMS = 10


class GatewayStatus:
    """The readiness and the health of a gateway process.

    Args:
        bots: the bots.
        bot_api: the health of the Bot API.
        mailboxes: the mailbox store.
        scheduler: runs the actors.
        background: the background tasks of the process.
        services: checks regularly whether the services can be called.
        live_services: has the generation of the contracts that are served.
        contracts: loads changed contracts, and has the problems of refused ones.
    """

    def __init__(
        self,
        bots: RunningBots,
        bot_api: BotApiHealth,
        mailboxes: WorkerMailboxes,
        scheduler: ActorScheduler,
        background: BackgroundTasks,
        *,
        services: ServiceMonitor,
        live_services: LiveServices,
        contracts: ContractWatcher,
    ) -> None:
        self._services = services
        self._live_services = live_services
        self._contracts = contracts
        self._bots = bots
        self._bot_api = bot_api
        self._mailboxes = mailboxes
        self._scheduler = scheduler
        self._background = background
        self._version = version("telegram-gateway")
        self._not_ready_reason = "starting"

    def report_started(self) -> None:
        """Show this process as ready, unless Telegram rejects all bot tokens.

        Before this call it is shown as starting.
        """
        self._not_ready_reason = ""

    def report_stopping(self) -> None:
        """Show from now on that this process is not ready.

        A load balancer then sends no more updates to it.
        """
        self._not_ready_reason = "stopping"

    def get_readiness(self) -> dict[str, Any]:
        """Return the body of `/ready`: whether this process can handle updates.

        `reason` says why it cannot; it is empty if it can. `bot_api` is "failing" or
        "ok" and does not affect `ready`.
        """
        reason = self._not_ready_reason or (
            "" if self._bots.is_any_authorized else "bot token"
        )
        # A failing Bot API is reported but does not make the gateway unready: it fails
        # for all gateways at once, and if none were ready, Telegram would get no 200.
        return {
            "ready": not reason,
            "reason": reason,
            "bot_api": self._get_bot_api_status(),
        }

    def get_health(self) -> dict[str, Any]:
        """Return the body of `/health`: the state of all components.

        `status` is "degraded" if the store, the Bot API or a background task fails, or
        if `problems` lists something that an operator has to fix; otherwise "ok".
        """
        failing = self._background.failing_tasks
        problems = self._list_problems()
        is_degraded = (
            self._mailboxes.is_degraded
            or self._bot_api.is_failing
            or failing
            or problems
        )
        return {
            "status": "degraded" if is_degraded else "ok",
            "version": self._version,
            "contracts": self._describe_contracts(),
            "mailboxes": self._mailboxes.mode,
            "bot_api": self._get_bot_api_status(),
            "active_actors": self._scheduler.active_actors,
            "queued_updates": self._mailboxes.in_memory,
            "failing_tasks": failing,
            "problems": problems,
        }

    def _describe_contracts(self) -> str:
        generation = self._live_services.generation
        return f"generation {generation}" if generation else "no generation"

    def _get_bot_api_status(self) -> str:
        return "failing" if self._bot_api.is_failing else "ok"

    def _list_problems(self) -> list[str]:
        """Describe the problems that an operator has to fix."""
        store = [self._mailboxes.problem] if self._mailboxes.problem else []
        refused = [f"contracts refused: {it}" for it in self._contracts.problems]
        return [
            *store,
            *refused[:_MAX_LISTED_PROBLEMS],
            *self._bots.list_problems(),
            *self._services.problems,
        ]


def add_contract_gauges(
    metrics: Metrics, services: LiveServices, contracts: ContractWatcher
) -> None:
    """Add the gauges that show which contracts are served, and whether any are refused.

    Args:
        metrics: the metrics to add them to.
        services: has the digest and the generation of the contracts that are served.
        contracts: knows whether changed contracts were refused.
    """
    metrics.add_labelled_gauge(
        "gateway_contracts_info",
        "1 for the digest of the routes that are served, and their generation.",
        ("digest", "generation"),
        lambda: {(services.digest, str(services.generation)): 1},
    )
    metrics.add_gauge(
        "gateway_contracts_refused",
        "1 if contracts are refused, so that older ones are served: /health says why.",
        lambda: contracts.is_refused,
    )


def add_gauges(
    metrics: Metrics,
    bot_api: BotApiHealth,
    mailboxes: WorkerMailboxes,
    scheduler: ActorScheduler,
    forged: Mapping[str, int],
    services: ServiceMonitor,
) -> None:
    """Add the gauges of the Bot API, the mailboxes, the actors and the services.

    Args:
        metrics: the metrics to add them to.
        bot_api: the health of the Bot API.
        mailboxes: the mailbox store.
        scheduler: runs the actors.
        forged: how many forged entries were found in the store, by kind of entry. The
            mapping changes in place.
        services: checks regularly whether the services can be called.
    """
    for name, description, read in (
        (
            "active_actors",
            "Actors running in this process.",
            lambda: scheduler.active_actors,
        ),
        (
            "bot_api_failing",
            "1 if all recent requests to the Bot API failed.",
            lambda: bot_api.is_failing,
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
        metrics.add_gauge(f"gateway_{name}", description, read)
    metrics.add_labelled_counter(
        "gateway_forged_entries",
        "Entries in Redis that no gateway with our secrets wrote.",
        "entry",
        lambda: forged,
    )
    metrics.add_labelled_gauge(
        "gateway_service_up",
        "0 if the service cannot be called: /health says why.",
        "service",
        lambda: services.up,
    )


def add_process_counters(
    metrics: ProcessMetrics, counts: ConnectionCounts, background: BackgroundTasks
) -> None:
    """Add the counters that every process has, including the supervisor.

    Args:
        metrics: the metrics to add them to.
        counts: the counts of HTTP connections and malformed requests.
        background: the background tasks of the process, whose failures are counted.
    """
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
