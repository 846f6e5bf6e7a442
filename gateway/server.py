"""Starts the components in order and stops them in reverse order.

`bootstrap.py` wires them.

Concurrency: one event loop. On the first signal to stop, the gateway accepts nothing
new and finishes running work within `DRAIN_TIMEOUT`; a second signal ends the process
at once. A worker also stops if its supervisor has exited.
"""

import asyncio
import contextlib
import gc
import logging
import os
import signal
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from functools import partial
from pathlib import Path

from gateway.background import BackgroundTasks
from gateway.bootstrap import Gateway
from gateway.clock import SystemClock
from gateway.config.services import ServiceSettings
from gateway.config.settings import Settings
from gateway.domain.instrumentation import NO_INSTRUMENTATION, Instrumentation
from gateway.http.server import Endpoints, serve_http, serve_unix_socket
from gateway.mailboxes.factory import open_mailboxes
from gateway.mailboxes.signatures import StoreSignatures
from gateway.services.button_signatures import ButtonSigner
from gateway.services.channels import ServiceChannels, TlsFiles
from gateway.services.router import GrpcServiceRouter
from gateway.services.routing.route_table import RouteTable
from gateway.telegram.bot_api.client import BotApiClient
from gateway.telegram.bot_api.startup_sync import sync_bot_profile
from gateway.telegram.files.proxy import FileProxy
from gateway.telegram.files.signed_urls import SignedFileUrls
from gateway.workers.aggregation import (
    SupervisorHealthProxy,
    get_supervisor_socket,
    remove_sockets,
)
from gateway.workers.descriptors import (
    ConnectionLimits,
    divide_descriptors,
    raise_descriptor_limit,
)
from gateway.workers.supervisor import SHUTDOWN_GRACE_SECONDS, exit_with_parent

logger = logging.getLogger(__name__)

BOT_NAME_TIMEOUT_SECONDS = 2.0
"""How long start-up waits for the bot's name. Without it, commands in groups that name
another bot would be taken for this bot's."""


async def serve(
    settings: Settings,
    services: Mapping[str, ServiceSettings],
    table: RouteTable,
    worker: Path | None = None,
    instrumentation: Instrumentation = NO_INSTRUMENTATION,
) -> None:
    """Run the gateway until a signal stops it.

    Args:
        settings: the gateway's settings.
        services: the settings of the services, by name.
        table: the routes.
        worker: the socket for the internal endpoints of a worker, which is one of
            several processes that share the port; `None` in a single process.
        instrumentation: wraps the components.

    Raises:
        ConfigurationError: the gateway cannot start, for example because a port is in
            use.
    """
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    parent = os.getppid()
    signals = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

    def stop_once() -> None:
        stop.set()
        for number in signals:
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_DFL)

    for number in signals:
        loop.add_signal_handler(number, stop_once)
    if worker is not None:
        worker_socket = worker

        def orphaned() -> None:
            stop.set()
            remove_sockets(worker_socket)

        exit_with_parent(orphaned, settings.drain_timeout + SHUTDOWN_GRACE_SECONDS)
    async with run_gateway(settings, services, table, worker, instrumentation):
        # Exclude the 60,000 start-up objects from garbage collection: scanning them
        # would add 37 ms to each full collection.
        gc.collect()
        gc.freeze()
        await stop.wait()
        logger.info("stopping")
    if worker is not None and os.getppid() != parent:
        # A signal may have stopped this worker before `orphaned` was called.
        remove_sockets(worker)
    logger.info("stopped")


@contextlib.asynccontextmanager
async def run_gateway(
    settings: Settings,
    services: Mapping[str, ServiceSettings],
    table: RouteTable,
    worker: Path | None = None,
    instrumentation: Instrumentation = NO_INSTRUMENTATION,
) -> AsyncIterator[None]:
    """Run the gateway inside the block; drain it at the end.

    The arguments are those of `serve`.

    Raises:
        ConfigurationError: the gateway cannot start.
    """
    targets = {name: service.target for name, service in services.items()}
    timeouts = {name: service.timeout for name, service in services.items()}
    stream_timeouts = {name: it.stream_timeout for name, it in services.items()}
    table = table.with_streaming(
        [name for name, it in services.items() if it.streaming]
    )
    token = settings.telegram_bot_token.get_secret_value()
    background = BackgroundTasks()
    if settings.sends_token_unencrypted:
        logger.warning(
            "bot_token_sent_unencrypted", extra={"setting": "TELEGRAM_API_URL"}
        )
    limits = divide_descriptors(raise_descriptor_limit())
    signatures = StoreSignatures(settings.store_secrets)
    async with (
        ServiceChannels(
            targets, _get_tls_files(settings), instrumentation.interceptors()
        ) as channels,
        BotApiClient(
            token,
            settings.api_url,
            max_connections=limits.bot_api,
            observe_request=instrumentation.request_observer(),
        ) as api,
        open_mailboxes(
            settings.store_url,
            SystemClock(),
            signatures,
            limit=settings.mailbox_limit,
            max_sessions=settings.session_limit,
            put_timeout=settings.store_patience,
            dead_letter_seconds=settings.dead_letter_retention,
            background=background,
        ) as store,
        AsyncExitStack() as stack,
    ):
        # The supervisor, which serves the files for workers, has no store clock.
        now = store.clock.now if worker is None else time.time
        file_urls = create_file_urls(settings, now)
        fill = file_urls.add_urls if file_urls else None
        router = GrpcServiceRouter(
            table,
            channels,
            timeouts,
            stream_timeouts,
            fill,
            now=store.clock.now,
            signer=ButtonSigner(token),
        )
        gateway = Gateway(settings, router, api, store, background, instrumentation)
        gateway.add_forged_counter(signatures.forged_counts)
        for name, work in instrumentation.tasks().items():
            stack.push_async_callback(_cancel_and_wait, background.start(name, work))
        files: Endpoints = {}
        if worker is None:  # for workers, the supervisor serves them
            files = await stack.enter_async_context(
                open_file_endpoints(settings, api, now)
            )
        wrap_endpoints = instrumentation.around_pages
        await stack.enter_async_context(
            _serve_internal_endpoints(
                gateway, settings, worker, files, limits, wrap_endpoints
            )
        )
        gateway.scheduler.start()
        stack.push_async_callback(gateway.scheduler.drain, settings.drain_timeout)
        profile_sync = background.start(
            "sync bot profile",
            partial(
                sync_bot_profile, api, table.menu_commands, gateway.set_bot_username
            ),
        )
        stack.push_async_callback(_cancel_and_wait, profile_sync)
        await gateway.wait_for_bot_username(BOT_NAME_TIMEOUT_SECONDS)
        await stack.enter_async_context(
            _serve_public_endpoints(gateway, settings, worker, limits, wrap_endpoints)
        )
        stack.callback(gateway.begin_shutdown)
        gateway.not_ready_reason = ""
        logger.info("started", extra={"host": settings.host, "port": settings.port})
        yield


def create_file_urls(
    settings: Settings, now: Callable[[], float]
) -> SignedFileUrls | None:
    """Create the signer of file URLs, or return `None` if FILES_URL is not set.

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
async def open_file_endpoints(
    settings: Settings, api: BotApiClient, now: Callable[[], float] = time.time
) -> AsyncIterator[Endpoints]:
    """Open the endpoints that serve files to services; none unless FILES_URL is set."""
    file_urls = create_file_urls(settings, now)
    if file_urls is None:
        yield {}
        return
    token = settings.telegram_bot_token.get_secret_value()
    source = f"{settings.api_url}/file/bot{token}"
    async with FileProxy(api, source, file_urls) as proxy:
        yield proxy.endpoints


def _serve_internal_endpoints(
    gateway: Gateway,
    settings: Settings,
    worker: Path | None,
    files: Endpoints,
    limits: ConnectionLimits,
    wrap_endpoints: Callable[[Endpoints], Endpoints],
) -> AbstractAsyncContextManager[None]:
    counts = gateway.connection_counts
    if worker is None:
        return serve_http(
            wrap_endpoints({**gateway.health_endpoints.internal, **files}),
            settings.operations_host,
            settings.ops_port,
            max_connections=limits.operations,
            counts=counts,
        )
    return serve_unix_socket(
        gateway.health_endpoints.internal,
        worker,
        max_connections=limits.local,
        counts=counts,
    )


def _serve_public_endpoints(
    gateway: Gateway,
    settings: Settings,
    worker: Path | None,
    limits: ConnectionLimits,
    wrap_endpoints: Callable[[Endpoints], Endpoints],
) -> AbstractAsyncContextManager[None]:
    if worker is None:
        health: Endpoints = gateway.health_endpoints.public
    else:
        supervisor_socket = get_supervisor_socket(worker.parent)
        health = SupervisorHealthProxy(
            supervisor_socket, gateway.health_endpoints.handle_status
        ).endpoints
    return serve_http(
        wrap_endpoints({**gateway.webhook.endpoints, **health}),
        settings.host,
        settings.port,
        reuse_port=worker is not None,
        max_connections=limits.webhook,
        counts=gateway.connection_counts,
    )


def _get_tls_files(settings: Settings) -> TlsFiles | None:
    if not settings.services_tls:
        return None
    return TlsFiles(
        ca_file=settings.services_tls_ca_file,
        certificate_file=settings.services_tls_certificate_file,
        key_file=settings.services_tls_key_file,
    )


async def _cancel_and_wait(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait([task])
