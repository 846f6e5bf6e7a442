"""The composition root: builds a gateway, or the supervisor of its workers.

It is the only module that knows every component. It opens what the components use, such
as the store and the connections, and closes that in reverse order. `server.py` starts
and stops the components.
"""

import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack

from msgspec import Struct

from gateway.actors.scheduler import ActorScheduler
from gateway.background import BackgroundTasks
from gateway.bots.bot import BotFactory
from gateway.bots.composition import RunningBots, start_bots
from gateway.bots.configurations import BotConfigurations
from gateway.bots.registry import BotRegistry
from gateway.clock import SystemClock
from gateway.config.bots import BotConfig
from gateway.config.run_mode import GatewayMode, SingleProcess, Supervisor, Worker
from gateway.config.services import ServiceSettings
from gateway.config.settings import Settings
from gateway.contracts.generations import ContractGenerations
from gateway.contracts.live_services import LiveServices, choose_streaming
from gateway.contracts.local_history import choose_history
from gateway.contracts.watcher import ContractWatcher
from gateway.delivery_setup import open_delivery_server
from gateway.domain.instrumentation import Instrumentation
from gateway.http.connections import ConnectionCounts
from gateway.http.routing import Endpoints
from gateway.http.server import (
    HealthEndpoints,
    serve_http,
    serve_unix_socket,
)
from gateway.mailboxes.factory import open_mailboxes
from gateway.mailboxes.signatures import StoreSignatures
from gateway.observability.metrics import Metrics, ProcessMetrics
from gateway.service_setup import create_channels, get_call_limits
from gateway.services.diagnosis.monitor import ServiceMonitor, list_rpc_services
from gateway.services.router import GrpcServiceRouter
from gateway.services.routing.route_table import RouteTable
from gateway.status import (
    GatewayStatus,
    add_contract_gauges,
    add_gauges,
    add_process_counters,
)
from gateway.telegram.bot_api.connections import BotApiConnections
from gateway.telegram.files.bot_files import BotFiles
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

HttpServer = AbstractAsyncContextManager[None]
"""An HTTP server, which listens inside its `async with` block."""

BackgroundFunction = Callable[[], Awaitable[None]]


class Gateway(Struct, frozen=True, kw_only=True):
    """The components of a gateway that `server.py` starts and stops.

    Attributes:
        status: computes what `/ready` and `/health` show.
        scheduler: runs the actors, which process the updates and deliveries.
        bots: the bots and their background tasks.
        internal_server: serves health and metrics to operators, and files to services;
            in a worker, it serves health and metrics to the supervisor.
        public_server: serves Telegram's updates and the public health.
        delivery_server: serves services that send messages on their own initiative;
            does nothing unless DELIVERY_PORT is set.
        contracts: loads changed contracts and replaces the routes by them.
        tasks: the functions of further background tasks, by name.
    """

    status: GatewayStatus
    scheduler: ActorScheduler
    bots: RunningBots
    internal_server: HttpServer
    public_server: HttpServer
    delivery_server: HttpServer
    contracts: ContractWatcher
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
    """Build a gateway, whose servers, actors and pollers do not run yet.

    The store and the connections are open inside the block.

    Args:
        settings: the gateway's settings.
        services: the settings of the services, by name.
        table: the routes.
        mode: whether this is the only process of the gateway, or a worker, which shares
            the public port with others.
        background: runs the background tasks.
        instrumentation: wraps components, for example to trace their calls.

    Raises:
        ConfigurationError: a file that the settings name is invalid, or the store
            cannot be used with them.
    """
    limits = divide_descriptors(raise_descriptor_limit())
    signatures = StoreSignatures(settings.store_secrets)
    async with (
        create_channels(settings, services, instrumentation.interceptors()) as channels,
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
            data_dir=settings.data_dir,
            synchronous=settings.data_synchronous,
        ) as store,
        AsyncExitStack() as stack,
    ):
        registry = BotRegistry()
        is_alone = isinstance(mode, SingleProcess)
        # The supervisor, which serves the files for workers, has no store clock.
        files = _create_files(
            settings,
            registry.find_config,
            connections,
            store.clock.now if is_alone else time.time,
        )
        if files is not None:
            await stack.enter_async_context(files)
        full_table = choose_streaming(table, services)
        monitor = ServiceMonitor(channels, list_rpc_services(table), time.monotonic)

        def make_router(
            routes: RouteTable, services: Mapping[str, ServiceSettings]
        ) -> GrpcServiceRouter:
            return GrpcServiceRouter(
                routes,
                channels,
                get_call_limits(services),
                files.add_urls if files else None,
                now=store.clock.now,
                record_failure=monitor.record_failure,
            )

        router = make_router(full_table, services)
        has_names = settings.bots_file is not None
        metrics = Metrics(has_names=has_names)
        scheduler = ActorScheduler(
            store.mailboxes,
            store.deliveries,
            registry,
            registry,
            publish_cancellation=store.cancellation_bus.publish,
            clock=store.clock,
            max_active=settings.max_active_actors,
            background=background,
            is_served=registry.serves,
        )
        store.cancellation_bus.subscribe(registry.stop_stream)
        factory = BotFactory(
            settings,
            full_table,
            router,
            connections=connections,
            store=store,
            metrics=metrics,
            instrumentation=instrumentation,
            enqueue=scheduler.enqueue,
            find_name=registry.find_name,
        )
        bots = await start_bots(settings, registry, factory, background)
        live_services = LiveServices(
            table,
            services,
            channels,
            monitor,
            factory=factory,
            bots=bots,
            make_router=make_router,
        )
        contracts = ContractWatcher(
            settings.contract_sources,
            [settings.services_file] if settings.services_file else [],
            ContractGenerations(
                choose_history(store.contract_history, settings.contracts_history),
                live_services,
                store.clock.now,
            ),
        )
        await contracts.start()
        add_contract_gauges(metrics, live_services, contracts)
        add_gauges(
            metrics,
            connections.health,
            store.mailboxes,
            scheduler,
            signatures.forged_counts,
            monitor,
        )
        counts = ConnectionCounts()
        add_process_counters(metrics, counts, background)
        status = GatewayStatus(
            bots,
            connections.health,
            store.mailboxes,
            scheduler,
            background,
            services=monitor,
            live_services=live_services,
            contracts=contracts,
        )
        health = HealthEndpoints(
            health=status.get_health,
            ready=status.get_readiness,
            metrics=metrics.render,
        )
        internal: Endpoints = health.internal
        if is_alone:
            files_of_users = files.endpoints if files else {}
            # Operators do not connect to a worker.
            internal = instrumentation.around_pages({**internal, **files_of_users})
        webhook = Webhook(
            registry.webhook_targets,
            record_update=metrics.observe_update,
            clock=store.clock,
            update_targets=bots.update_from_file,
            has_names=has_names,
        )
        public = dict(_choose_public_health(mode, health))
        if has_names or settings.updates == "webhook":
            public |= webhook.endpoints
        yield Gateway(
            status=status,
            scheduler=scheduler,
            bots=bots,
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
            delivery_server=open_delivery_server(
                settings,
                mode,
                store,
                list_bots=lambda: [bot.config for bot in registry],
                get_calls=lambda: factory.delivery_calls,
                scheduler=scheduler,
                metrics=metrics,
                background=background,
            ),
            contracts=contracts,
            tasks={
                "watch services": monitor.run,
                **contracts.tasks,
                **instrumentation.tasks(),
            },
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
        find_unresponsive: asks each worker for its readiness, and returns the numbers,
            from 0, of those that do not respond.
        internal_server: serves the health and metrics of all workers to operators, and
            files to services.
        health_server: serves the health of all workers together, on a Unix socket, to
            each worker.
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
    """Build the supervisor of a gateway. Its workers and servers do not run yet.

    Args:
        settings: the gateway's settings, which the workers get too.
        services: the settings of the services, by name.
        mode: the number of workers, and their program.
        background: runs the background tasks.

    Raises:
        ConfigurationError: BOTS_FILE is invalid.
    """
    limits = divide_descriptors(raise_descriptor_limit())
    with create_socket_directory() as directory:
        async with (
            BotApiConnections(settings.api_url) as connections,
            AsyncExitStack() as stack,
        ):
            configs = BotConfigurations(settings, background)
            files = _create_files(settings, configs.find, connections, time.time)
            if files is not None:
                await stack.enter_async_context(files)
                await stack.enter_async_context(configs)
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
                    {**aggregated.internal, **(files.endpoints if files else {})},
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


def _create_files(
    settings: Settings,
    find_config: Callable[[int], BotConfig | None],
    connections: BotApiConnections,
    now: Callable[[], float],
) -> BotFiles | None:
    """Create what serves files to services; None unless FILES_URL is set."""
    if not settings.files_base_url:
        return None
    return BotFiles(
        find_config,
        connections,
        api_url=settings.api_url,
        url=settings.files_base_url,
        now=now,
    )
