"""Starts the parts in order and stops them in reverse. `parts.py` connects them.

Concurrency: one event loop. On the first signal to end nothing new is accepted and
what runs is finished within `DRAIN_TIMEOUT`; a second signal ends the process at once.
A worker does the same when the process above it is gone.
"""

import asyncio
import contextlib
import gc
import logging
import signal
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from functools import partial
from pathlib import Path

from gateway.background import BackgroundTasks
from gateway.bootstrap import Parts
from gateway.clock import SystemClock
from gateway.config.services import ServiceSettings
from gateway.config.settings import Settings
from gateway.domain.instrumentation import NO_INSTRUMENTATION, Instrumentation
from gateway.http.server import Pages, listening, listening_on_socket
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
from gateway.workers.aggregation import WholeHealth, remove_sockets, socket_of_whole
from gateway.workers.descriptors import (
    DescriptorShares,
    raise_descriptor_limit,
    share_descriptors,
)
from gateway.workers.supervisor import SPARE_SECONDS, end_with_parent

logger = logging.getLogger(__name__)

NAME_SECONDS = 2.0
"""How long the start waits for the bot's name. Without it, commands in groups that
name another bot would be taken as ours."""


async def serve(
    settings: Settings,
    services: Mapping[str, ServiceSettings],
    table: RouteTable,
    worker: Path | None = None,
    instrumentation: Instrumentation = NO_INSTRUMENTATION,
) -> None:
    """Run the gateway until a signal ends it.

    Args:
        settings: of the gateway.
        services: where the services are, by name.
        table: the routes.
        worker: set in a worker, one of several that share the port: the socket for
            its own pages.
        instrumentation: stands around the parts.

    Raises:
        ConfigurationError: it cannot start, for example because a port is in use.
    """
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    signals = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

    def stop_once() -> None:
        stop.set()
        for number in signals:
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_DFL)

    for number in signals:
        loop.add_signal_handler(number, stop_once)
    if worker is not None:
        own = worker

        def orphaned() -> None:
            stop.set()
            remove_sockets(own)

        end_with_parent(orphaned, settings.drain_timeout + SPARE_SECONDS)
    async with running(settings, services, table, worker, instrumentation):
        # Else each full collection looks at the 60,000 objects of the start: 37 ms.
        gc.collect()
        gc.freeze()
        await stop.wait()
        logger.info("stopping")
    logger.info("stopped")


@contextlib.asynccontextmanager
async def running(
    settings: Settings,
    services: Mapping[str, ServiceSettings],
    table: RouteTable,
    worker: Path | None = None,
    instrumentation: Instrumentation = NO_INSTRUMENTATION,
) -> AsyncIterator[None]:
    """Run the gateway inside of the block; drain it at the end.

    The arguments are those of `serve`.

    Raises:
        ConfigurationError: it cannot start.
    """
    targets = {name: service.target for name, service in services.items()}
    timeouts = {name: service.timeout for name, service in services.items()}
    stream_timeouts = {name: it.stream_timeout for name, it in services.items()}
    table = table.with_streaming(
        [name for name, it in services.items() if it.streaming]
    )
    token = settings.telegram_bot_token.get_secret_value()
    background = BackgroundTasks()
    if settings.sends_token_in_clear:
        logger.warning("TELEGRAM_API_URL is http: others can read the token on its way")
    shares = share_descriptors(raise_descriptor_limit())
    signatures = StoreSignatures(settings.store_secrets)
    async with (
        ServiceChannels(
            targets, _tls(settings), instrumentation.interceptors()
        ) as channels,
        BotApiClient(
            token,
            settings.api_url,
            max_connections=shares.bot_api,
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
        # The process above the workers, which serves the files, knows no store.
        now = store.clock.now if worker is None else time.time
        addresses = file_addresses(settings, now)
        fill = addresses.add_urls if addresses else None
        dispatch = GrpcServiceRouter(
            table,
            channels,
            timeouts,
            stream_timeouts,
            fill,
            now=store.clock.now,
            signer=ButtonSigner(token),
        )
        parts = Parts(settings, dispatch, api, store, background, instrumentation)
        parts.show_forged(signatures.forged_counts)
        for name, work in instrumentation.tasks().items():
            stack.push_async_callback(_cancel, background.start(name, work))
        files: Pages = {}
        if worker is None:  # else the process above serves them
            files = await stack.enter_async_context(file_pages(settings, api, now))
        around = instrumentation.around_pages
        await stack.enter_async_context(
            _own_pages(parts, settings, worker, files, shares, around)
        )
        parts.system.start()
        stack.push_async_callback(parts.system.drain, settings.drain_timeout)
        introduction = background.start(
            "introduce bot",
            partial(sync_bot_profile, api, table.menu_commands, parts.learn_name),
        )
        stack.push_async_callback(_cancel, introduction)
        await parts.name_known(NAME_SECONDS)
        await stack.enter_async_context(
            _public_pages(parts, settings, worker, shares, around)
        )
        stack.callback(parts.stop)
        parts.phase = ""
        logger.info("started", extra={"host": settings.host, "port": settings.port})
        yield


def file_addresses(
    settings: Settings, now: Callable[[], float]
) -> SignedFileUrls | None:
    """Make the signer of the files' addresses. None: FILES_URL is not set.

    Args:
        settings: of the gateway.
        now: seconds since the epoch, by the clock of whoever serves the files.
    """
    if not settings.files_address:
        return None
    token = settings.telegram_bot_token.get_secret_value()
    return SignedFileUrls(token, settings.files_address, now)


@contextlib.asynccontextmanager
async def file_pages(
    settings: Settings, api: BotApiClient, now: Callable[[], float] = time.time
) -> AsyncIterator[Pages]:
    """Serve files to services; no page unless FILES_URL is set."""
    addresses = file_addresses(settings, now)
    if addresses is None:
        yield {}
        return
    token = settings.telegram_bot_token.get_secret_value()
    source = f"{settings.api_url}/file/bot{token}"
    async with FileProxy(api, source, addresses) as downloads:
        yield downloads.endpoints


def _own_pages(
    parts: Parts,
    settings: Settings,
    worker: Path | None,
    files: Pages,
    shares: DescriptorShares,
    around: Callable[[Pages], Pages],
) -> AbstractAsyncContextManager[None]:
    counts = parts.connection_counts
    if worker is None:
        return listening(
            around({**parts.ops.internal, **files}),
            settings.operations_host,
            settings.ops_port,
            most_connections=shares.operations,
            counts=counts,
        )
    return listening_on_socket(
        parts.ops.internal,
        worker,
        most_connections=shares.local,
        counts=counts,
    )


def _public_pages(
    parts: Parts,
    settings: Settings,
    worker: Path | None,
    shares: DescriptorShares,
    around: Callable[[Pages], Pages],
) -> AbstractAsyncContextManager[None]:
    if worker is None:
        health: Pages = parts.ops.public
    else:
        whole = socket_of_whole(worker.parent)
        health = WholeHealth(whole, parts.ops.answer_status).pages
    return listening(
        around({**parts.webhook.endpoints, **health}),
        settings.host,
        settings.port,
        shared=worker is not None,
        most_connections=shares.webhook,
        counts=parts.connection_counts,
    )


def _tls(settings: Settings) -> TlsFiles | None:
    if not settings.services_tls:
        return None
    return TlsFiles(
        ca_file=settings.services_tls_ca_file,
        certificate_file=settings.services_tls_certificate_file,
        key_file=settings.services_tls_key_file,
    )


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait([task])
