"""Builds the server of the Delivery service, for `bootstrap.py`.

Nothing of the service is imported unless DELIVERY_PORT is set.
"""

import contextlib
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from typing import TYPE_CHECKING

from gateway.actors.scheduler import ActorScheduler
from gateway.background import BackgroundTasks
from gateway.config.addresses import is_loopback
from gateway.config.bots import BotConfig
from gateway.config.delivery_callers import Callers, load_callers
from gateway.config.run_mode import GatewayMode, Worker
from gateway.config.settings import Settings
from gateway.domain.errors import ConfigurationError
from gateway.domain.message_handles import MessageHandles
from gateway.http.server import reserve_port
from gateway.mailboxes.factory import OpenedMailboxes
from gateway.observability.metrics import Metrics
from gateway.services.delivery_calls import DeliveryCalls

if TYPE_CHECKING:
    from botgateway.delivery.v1.delivery_pb2 import DeliveryStatus

    from gateway.delivery.handlers import ObserveRpc
    from gateway.delivery.tls import ServerTls

logger = logging.getLogger(__name__)

MIN_READ_AHEAD = 20
"""The minimum number of recipients of a broadcast that one request to the store lists,
before they are sent their message."""


@contextlib.asynccontextmanager
async def open_delivery_server(
    settings: Settings,
    mode: GatewayMode,
    store: OpenedMailboxes,
    *,
    list_bots: Callable[[], Sequence[BotConfig]],
    get_calls: Callable[[], DeliveryCalls],
    scheduler: ActorScheduler,
    metrics: Metrics,
    background: BackgroundTasks,
) -> AsyncIterator[None]:
    """Serve the Delivery service inside the block, if DELIVERY_PORT is set.

    The block also runs the tasks that report how deliveries ended, and that put bulk
    deliveries into mailboxes. Without DELIVERY_PORT nothing runs.

    Args:
        settings: the gateway's settings.
        mode: whether this process shares the port with other workers.
        store: stores the deliveries.
        list_bots: returns the bots of the gateway.
        get_calls: returns the object that, by the present routes, calls the service
            that receives reports, and the one that finds the Telegram user of an
            internal user id.
        scheduler: puts deliveries into mailboxes and runs the actors that send them.
        metrics: counts and times the rpcs.
        background: runs the background tasks.

    Raises:
        ConfigurationError: the callers' file or a TLS file is invalid, or the port is
            not available.
    """
    if settings.delivery_port is None:
        yield
        return
    from gateway.delivery.authentication import (
        Access,
        AnonymousAccess,
        CertificateAccess,
        ListedAccess,
    )
    from gateway.delivery.bots import DeliveryBot
    from gateway.delivery.broadcasts.bulk_source import BulkSource
    from gateway.delivery.broadcasts.rpcs import BroadcastRpcs
    from gateway.delivery.bulk_pacer import PACER_LEASE_ID, BulkPacer
    from gateway.delivery.handlers import DeliveryHandlers
    from gateway.delivery.quotas import CallerQuotas
    from gateway.delivery.recipients import RecipientFinder
    from gateway.delivery.reporter import REPORT_LEASE_ID, DeliveryReporter
    from gateway.delivery.rpcs import DeliveryRpcs
    from gateway.delivery.server import ServerAddress, serve_deliveries

    async def find_recipient(bot_id: int, internal_user_id: str) -> int | None:
        return await get_calls().find_recipient(bot_id, internal_user_id)

    async def report(statuses: "Sequence[DeliveryStatus]") -> None:
        await get_calls().report(statuses)

    def list_delivery_bots() -> Sequence[DeliveryBot]:
        return [
            DeliveryBot(bot_id=bot.id, name=bot.name or None) for bot in list_bots()
        ]

    handles = MessageHandles(settings.store_secrets)
    quotas = CallerQuotas(settings.workers, time.monotonic)
    broadcasts = BroadcastRpcs(
        store.broadcasts,
        list_bots=list_delivery_bots,
        quotas=quotas,
        now=store.clock.now,
    )
    rpcs = DeliveryRpcs(
        enqueue=scheduler.enqueue_delivery,
        records=store.deliveries,
        find_recipient=RecipientFinder(store.recipients, find_recipient).find,
        list_bots=list_delivery_bots,
        quotas=quotas,
        handles=handles,
        call_methods=settings.allowed_call_methods,
        now=store.clock.now,
    )
    async with contextlib.AsyncExitStack() as stack:
        access: Access = AnonymousAccess()
        if settings.delivery_callers_file is not None:
            access = listed = ListedAccess(lambda: _load_callers(settings))
            await stack.enter_async_context(
                background.running("reload delivery callers", listed.watch)
            )
        elif settings.knows_delivery_callers:
            access = CertificateAccess()
        handlers = DeliveryHandlers(rpcs, broadcasts, access, _make_observer(metrics))
        address = ServerAddress(
            host=settings.delivery_address,
            port=settings.delivery_port,
            shares_port=isinstance(mode, Worker),
            tls=_build_tls(settings),
        )
        await stack.enter_async_context(
            serve_deliveries(address, handlers, drain_seconds=settings.drain_timeout)
        )
        reporter = DeliveryReporter(
            store.deliveries,
            report,
            handles,
            store.make_polling_lease(REPORT_LEASE_ID),
            has_receiver=lambda: get_calls().has_reports,
        )
        await stack.enter_async_context(
            background.running("report deliveries", reporter.run)
        )
        source = BulkSource(
            store.deliveries,
            store.broadcasts,
            lambda it: scheduler.enter_recipient(it, store.broadcasts.enter_recipient),
            read_ahead=max(MIN_READ_AHEAD, int(settings.delivery_bulk_rate)),
            now=store.clock.now,
        )
        pacer = BulkPacer(
            source,
            store.make_polling_lease(PACER_LEASE_ID),
            rate=settings.delivery_bulk_rate,
            uptime=store.clock.uptime,
        )
        metrics.add_labelled_gauge(
            "gateway_open_broadcasts",
            "Broadcasts that are not finished, by state, as the pacer sees them.",
            "state",
            lambda: source.open_counts,
        )
        metrics.add_counter(
            "gateway_bulk_deliveries_entered",
            "Bulk deliveries that this worker let into mailboxes.",
            lambda: pacer.entered,
        )
        await stack.enter_async_context(
            background.running("pace bulk deliveries", pacer.run)
        )
        _log_start(settings)
        yield


@contextlib.asynccontextmanager
async def reserve_delivery_port(settings: Settings) -> AsyncIterator[None]:
    """Reserve DELIVERY_PORT, if it is set, for the workers that share it.

    Raises:
        ConfigurationError: the port is not available.
    """
    if settings.delivery_port is None:
        yield
        return
    async with reserve_port(settings.delivery_address, settings.delivery_port):
        yield


def find_delivery_problems(settings: Settings) -> list[str]:
    """Return what is wrong with the TLS files and the callers' file, a line for each.

    The list is empty without DELIVERY_PORT.
    """
    if settings.delivery_port is None:
        return []
    from gateway.delivery.tls import find_tls_problems

    tls = _build_tls(settings)
    problems = [] if tls is None else find_tls_problems(tls)
    if settings.delivery_callers_file is not None:
        try:
            _load_callers(settings)
        except ConfigurationError as error:
            problems += error.problems
    return problems


def _load_callers(settings: Settings) -> Callers:
    path = settings.delivery_callers_file
    if path is None:
        raise AssertionError
    return load_callers(
        path, accepts_certificates=settings.delivery_tls_client_ca_file is not None
    )


def _build_tls(settings: Settings) -> "ServerTls | None":
    certificate_file = settings.delivery_tls_certificate_file
    key_file = settings.delivery_tls_key_file
    if certificate_file is None or key_file is None:
        return None
    from gateway.delivery.tls import ServerTls

    return ServerTls(
        certificate_file=certificate_file,
        key_file=key_file,
        client_ca_file=settings.delivery_tls_client_ca_file,
    )


def _make_observer(metrics: Metrics) -> "ObserveRpc":
    counts: Counter[str] = Counter()
    metrics.add_labelled_counter(
        "gateway_delivery_rpcs",
        "Rpcs of the Delivery service by status.",
        "status",
        lambda: counts,
    )
    observe_seconds = metrics.add_histogram(
        "gateway_delivery_rpc_seconds",
        "One rpc of the Delivery service.",
        "method",
    )

    def observe(method: str, status: str, seconds: float) -> None:
        counts[status] += 1
        observe_seconds(method, seconds)

    return observe


def _log_start(settings: Settings) -> None:
    if not settings.knows_delivery_callers:
        logger.warning(
            "delivery_on_loopback_only",
            extra={
                "reason": "callers do not identify themselves: set"
                " DELIVERY_CALLERS_FILE or DELIVERY_TLS_CLIENT_CA_FILE"
            },
        )
    elif settings.delivery_tls_certificate_file is None and not is_loopback(
        settings.delivery_address
    ):
        logger.warning(
            "delivery_tokens_unencrypted",
            extra={"setting": "DELIVERY_TLS_CERTIFICATE_FILE"},
        )
    logger.info("delivery_started", extra={"port": settings.delivery_port})
