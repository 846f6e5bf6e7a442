"""The composition root: builds a gateway, or the supervisor of its workers.

It is the only module that knows every component. It opens what the components use,
which is closed in reverse order. `server.py` starts and stops the components.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from functools import partial

from msgspec import Struct

from gateway.actors.rate_limit import RateLimiter
from gateway.actors.replies.full_mailbox_notices import FullMailboxNotifier
from gateway.actors.replies.reply_sender import ReplySender
from gateway.actors.replies.service_call import ServiceCaller
from gateway.actors.replies.streaming import StreamRunner
from gateway.actors.replies.typing_indicator import TypingIndicator
from gateway.actors.scheduler import ActorScheduler
from gateway.actors.update_processor import UpdateProcessor
from gateway.actors.user_actor import UserActor
from gateway.background import BackgroundTasks
from gateway.clock import SystemClock
from gateway.config.run_mode import GatewayMode, SingleProcess, Supervisor, Worker
from gateway.config.services import ServiceSettings
from gateway.config.settings import Settings
from gateway.domain.instrumentation import Instrumentation
from gateway.domain.processing_record import Outcome, ProcessingRecord
from gateway.http.connections import ConnectionCounts
from gateway.http.routing import Endpoints
from gateway.http.server import (
    HealthEndpoints,
    serve_http,
    serve_unix_socket,
)
from gateway.mailboxes.factory import OpenedMailboxes, open_mailboxes
from gateway.mailboxes.signatures import StoreSignatures
from gateway.observability.logging import log_update
from gateway.observability.metrics import Metrics, ProcessMetrics
from gateway.services.button_signatures import ButtonSigner
from gateway.services.channels import ServiceChannels, TlsFiles
from gateway.services.diagnosis.monitor import ServiceMonitor, list_rpc_services
from gateway.services.router import GrpcServiceRouter
from gateway.services.routing.route_table import RouteTable
from gateway.status import GatewayStatus, add_gauges, add_process_counters
from gateway.telegram.bot_api.client import BotApiClient, open_bot_api
from gateway.telegram.bot_api.connections import BotApiConnections
from gateway.telegram.bot_api.startup_sync import sync_bot_profile
from gateway.telegram.bot_api.updates import get_updates
from gateway.telegram.files.proxy import FileProxy
from gateway.telegram.files.signed_urls import SignedFileUrls
from gateway.telegram.inbound.parser import UpdateParser
from gateway.telegram.inbound.update_types import list_allowed_updates
from gateway.telegram.messenger import TelegramMessenger
from gateway.telegram.polling import UpdatePoller
from gateway.telegram.update_receiver import UpdateReceiver
from gateway.telegram.webhook import Webhook
from gateway.workers.aggregation import (
    AggregatedEndpoints,
    SupervisorHealthProxy,
    get_supervisor_socket,
    get_worker_socket,
)
from gateway.workers.file_descriptors import (
    ConnectionLimits,
    divide_descriptors,
    raise_descriptor_limit,
)
from gateway.workers.launcher import (
    build_worker_command,
    build_worker_environment,
    create_socket_directory,
)
from gateway.workers.supervisor import SHUTDOWN_GRACE_SECONDS, WorkerSupervisor

_LOGGED_BY_WEBHOOK = {Outcome.FORBIDDEN, Outcome.MALFORMED}
"""Outcomes that strangers can cause in any number: the webhook logs them at a limited
rate. They are not updates."""

HttpServer = AbstractAsyncContextManager[None]
"""Serves endpoints while it is entered."""

BackgroundFunction = Callable[[], Awaitable[None]]


class Gateway(Struct, frozen=True, kw_only=True):
    """The components of a gateway that `server.py` starts and stops.

    Attributes:
        status: the readiness and the health.
        scheduler: runs the actors.
        poller: fetches the updates; None if Telegram sends them to the webhook.
        internal_server: serves operators, and files to services; in a worker, it
            serves the supervisor.
        public_server: serves Telegram's updates and the public health.
        sync_bot_profile: sets the bot's menu and learns its name.
        bot_username_known: set once the bot's name is known.
        tasks: further background tasks, by name.
    """

    status: GatewayStatus
    scheduler: ActorScheduler
    poller: UpdatePoller | None
    internal_server: HttpServer
    public_server: HttpServer
    sync_bot_profile: BackgroundFunction
    bot_username_known: asyncio.Event
    tasks: Mapping[str, BackgroundFunction]


@contextlib.asynccontextmanager
async def open_gateway(
    settings: Settings,
    services: Mapping[str, ServiceSettings],
    table: RouteTable,
    mode: GatewayMode,
    background: BackgroundTasks,
    instrumentation: Instrumentation,
) -> AsyncIterator[Gateway]:
    """Open a gateway that does not serve anything yet.

    Args:
        settings: the gateway's settings.
        services: the settings of the services, by name.
        table: the routes.
        mode: whether other processes share the port.
        background: runs the background tasks.
        instrumentation: wraps the components.

    Raises:
        ConfigurationError: the gateway cannot start.
    """
    token = settings.telegram_bot_token.get_secret_value()
    limits = divide_descriptors(raise_descriptor_limit())
    signatures = StoreSignatures(settings.store_secrets)
    targets = {name: service.target for name, service in services.items()}
    async with (
        ServiceChannels(
            targets, _get_tls_files(settings), instrumentation.interceptors()
        ) as channels,
        BotApiConnections(
            settings.api_url, max_connections=limits.bot_api
        ) as connections,
        open_mailboxes(
            settings.store_url,
            SystemClock(),
            signatures,
            key_prefix=settings.redis_key_prefix,
            limit=settings.mailbox_limit,
            max_sessions=settings.session_limit,
            put_timeout=settings.store_patience,
            dead_letter_seconds=settings.dead_letter_retention,
            background=background,
        ) as store,
        AsyncExitStack() as stack,
    ):
        api = BotApiClient(
            token, connections, observe_request=instrumentation.request_observer()
        )
        files: Endpoints = {}
        # The supervisor, which serves the files for workers, has no store clock.
        file_clock = time.time
        if isinstance(mode, SingleProcess):
            file_clock = store.clock.now
            files = await stack.enter_async_context(
                _open_file_endpoints(settings, api, file_clock)
            )
        file_urls = _create_file_urls(settings, file_clock)
        monitor = ServiceMonitor(channels, list_rpc_services(table), time.monotonic)
        router = GrpcServiceRouter(
            table.with_streaming(
                [name for name, it in services.items() if it.streaming]
            ),
            channels,
            {name: it.timeout for name, it in services.items()},
            {name: it.stream_timeout for name, it in services.items()},
            file_urls.add_urls if file_urls else None,
            now=store.clock.now,
            signer=ButtonSigner(token),
            record_failure=monitor.record_failure,
        )
        pipeline = UpdatePipeline(
            settings, router, api, store, background, instrumentation
        )
        poller, webhook_endpoints = None, {}
        if settings.updates == "poll":
            poller = _create_poller(settings, table, api, store, pipeline)
        else:
            webhook_endpoints = _create_webhook(settings, store, pipeline).endpoints
        add_gauges(
            pipeline.metrics,
            api,
            store.mailboxes,
            pipeline.scheduler,
            signatures.forged_counts,
            monitor,
        )
        counts = ConnectionCounts()
        add_process_counters(pipeline.metrics, counts, background)
        status = GatewayStatus(
            api, store.mailboxes, pipeline.scheduler, background, poller, monitor
        )
        health = HealthEndpoints(
            health=status.get_health,
            ready=status.get_readiness,
            metrics=pipeline.metrics.render,
        )
        internal: Endpoints = {**health.internal, **files}
        if isinstance(mode, SingleProcess):  # operators do not connect to a worker
            internal = instrumentation.around_pages(internal)
        public = {**webhook_endpoints, **_choose_public_health(mode, health)}
        yield Gateway(
            status=status,
            scheduler=pipeline.scheduler,
            poller=poller,
            internal_server=_create_internal_server(
                settings, mode, internal, limits, counts
            ),
            public_server=serve_http(
                instrumentation.around_pages(public),
                settings.host,
                settings.port,
                reuse_port=isinstance(mode, Worker),
                max_connections=limits.webhook,
                counts=counts,
            ),
            sync_bot_profile=partial(
                sync_bot_profile, api, table.menu_commands, pipeline.set_bot_username
            ),
            bot_username_known=pipeline.bot_username_known,
            tasks={"watch services": monitor.run, **instrumentation.tasks()},
        )


class UpdatePipeline:
    """The components that an update passes, from its receipt to the Bot API calls."""

    def __init__(
        self,
        settings: Settings,
        router: GrpcServiceRouter,
        api: BotApiClient,
        store: OpenedMailboxes,
        background: BackgroundTasks,
        instrumentation: Instrumentation,
    ) -> None:
        self.metrics = metrics = Metrics()
        self.bot_username_known = asyncio.Event()
        """Set once the bot's name is known."""
        self._parser = parser = UpdateParser(
            settings.bot_id, allow_bots=settings.allow_bots
        )
        mailboxes, clock = store.mailboxes, store.clock
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
        self.observe_update = observe_update = instrumentation.around_observe(
            partial(_observe_update, metrics)
        )
        reply_sender = ReplySender(
            messenger, services, clock, patience=settings.reply_patience
        )
        typing_indicator = TypingIndicator(messenger)
        service_caller = ServiceCaller(
            services,
            typing_indicator,
            StreamRunner(messenger, typing_indicator, store.cancellation_bus),
            clock,
            session_seconds=settings.session_ttl,
        )
        actor = UserActor(
            mailboxes,
            UpdateProcessor(
                services,
                service_caller,
                reply_sender,
                RateLimiter(settings.rate_limit_requests, settings.rate_limit_window),
                clock=clock,
                parse_update=parser.parse,
            ),
            clock=clock,
            observe_update=observe_update,
        )
        self.scheduler = ActorScheduler(
            mailboxes,
            actor,
            FullMailboxNotifier(
                reply_sender, clock=clock, observe_update=observe_update
            ),
            publish_cancellation=store.cancellation_bus.publish,
            clock=clock,
            max_active=settings.max_active_actors,
            background=background,
        )
        self.receiver = UpdateReceiver(
            parse=parser.parse,
            accept=instrumentation.around_accept(self.scheduler.enqueue),
            add_dead_letter=mailboxes.add_dead_letter,
            record_update=observe_update,
            clock=clock,
        )

    def set_bot_username(self, username: str) -> None:
        """Set the bot's @name."""
        self._parser.bot_username = username
        self.bot_username_known.set()


def _observe_update(metrics: Metrics, record: ProcessingRecord) -> None:
    metrics.observe_update(record)
    if record.outcome not in _LOGGED_BY_WEBHOOK:
        log_update(record)


def _create_webhook(
    settings: Settings, store: OpenedMailboxes, pipeline: UpdatePipeline
) -> Webhook:
    return Webhook(
        secrets=settings.webhook_secrets,
        receiver=pipeline.receiver,
        record_update=pipeline.observe_update,
        clock=store.clock,
    )


def _create_poller(
    settings: Settings,
    table: RouteTable,
    api: BotApiClient,
    store: OpenedMailboxes,
    pipeline: UpdatePipeline,
) -> UpdatePoller:
    allowed_updates = list_allowed_updates(table.update_types)
    return UpdatePoller(
        partial(get_updates, api, allowed_updates=allowed_updates),
        receive=pipeline.receiver.receive,
        find_oldest_unfinished=lambda: store.mailboxes.oldest_update_id,
        lease=store.make_polling_lease(settings.bot_id),
    )


def _create_internal_server(
    settings: Settings,
    mode: GatewayMode,
    endpoints: Endpoints,
    limits: ConnectionLimits,
    counts: ConnectionCounts,
) -> HttpServer:
    """Create the server for operators, or in a worker the one for the supervisor."""
    if isinstance(mode, Worker):
        return serve_unix_socket(
            endpoints, mode.socket, max_connections=limits.local, counts=counts
        )
    return serve_http(
        endpoints,
        settings.operations_host,
        settings.ops_port,
        max_connections=limits.operations,
        counts=counts,
    )


def _choose_public_health(mode: GatewayMode, health: HealthEndpoints) -> Endpoints:
    """Return the public `/health`, which is about all workers if there are several."""
    if isinstance(mode, SingleProcess):
        return health.public
    supervisor_socket = get_supervisor_socket(mode.socket.parent)
    return SupervisorHealthProxy(supervisor_socket, health.handle_status).endpoints


class SupervisedWorkers(Struct, frozen=True, kw_only=True):
    """The components of a supervisor that `server.py` starts and stops.

    Attributes:
        workers: starts the workers and restarts them.
        find_unresponsive: returns the numbers of the workers that do not respond.
        internal_server: serves operators, and files to services.
        health_server: serves the health of all workers to each of them.
    """

    workers: WorkerSupervisor
    find_unresponsive: Callable[[], Awaitable[set[int]]]
    internal_server: HttpServer
    health_server: HttpServer


@contextlib.asynccontextmanager
async def open_supervisor(
    settings: Settings,
    services: Mapping[str, ServiceSettings],
    mode: Supervisor,
    background: BackgroundTasks,
) -> AsyncIterator[SupervisedWorkers]:
    """Open the supervisor of a gateway that has not started any worker yet.

    The arguments are those of `open_gateway`.

    Raises:
        ConfigurationError: the gateway cannot start.
    """
    token = settings.telegram_bot_token.get_secret_value()
    limits = divide_descriptors(raise_descriptor_limit())
    with create_socket_directory() as directory:
        async with (
            open_bot_api(token, settings.api_url) as api,
            _open_file_endpoints(settings, api, time.time) as files,
        ):
            sockets = [get_worker_socket(directory, it) for it in range(mode.workers)]
            workers = WorkerSupervisor(
                [build_worker_command(mode.program, socket) for socket in sockets],
                build_worker_environment(settings, services),
                shutdown_timeout=settings.drain_timeout + SHUTDOWN_GRACE_SECONDS,
            )
            metrics = ProcessMetrics()
            counts = ConnectionCounts()
            add_process_counters(metrics, counts, background)
            aggregated = AggregatedEndpoints(
                sockets,
                lambda: workers.restarts,
                metrics.render,
                lambda: background.failing_tasks,
            )
            yield SupervisedWorkers(
                workers=workers,
                find_unresponsive=aggregated.find_unresponsive,
                internal_server=serve_http(
                    {**aggregated.internal, **files},
                    settings.operations_host,
                    settings.ops_port,
                    max_connections=limits.operations,
                    counts=counts,
                ),
                health_server=serve_unix_socket(
                    aggregated.health,
                    get_supervisor_socket(directory),
                    max_connections=limits.local,
                    counts=counts,
                ),
            )


def _create_file_urls(
    settings: Settings, now: Callable[[], float]
) -> SignedFileUrls | None:
    """Create the signer of file URLs, or return None if FILES_URL is not set.

    Args:
        settings: the gateway's settings.
        now: returns the seconds since the epoch, by the clock of the process that
            serves the files.
    """
    if not settings.files_base_url:
        return None
    token = settings.telegram_bot_token.get_secret_value()
    return SignedFileUrls(token, settings.files_base_url, now)


@contextlib.asynccontextmanager
async def _open_file_endpoints(
    settings: Settings, api: BotApiClient, now: Callable[[], float]
) -> AsyncIterator[Endpoints]:
    """Open the endpoints that serve files to services; none unless FILES_URL is set."""
    file_urls = _create_file_urls(settings, now)
    if file_urls is None:
        yield {}
        return
    token = settings.telegram_bot_token.get_secret_value()
    source = f"{settings.api_url}/file/bot{token}"
    async with FileProxy(api, source, file_urls) as proxy:
        yield proxy.endpoints


def _get_tls_files(settings: Settings) -> TlsFiles | None:
    if not settings.services_tls:
        return None
    return TlsFiles(
        ca_file=settings.services_tls_ca_file,
        certificate_file=settings.services_tls_certificate_file,
        key_file=settings.services_tls_key_file,
    )
