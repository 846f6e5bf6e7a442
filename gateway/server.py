"""The life of a process: starts its components in order and stops them in reverse.

`bootstrap.py` builds the components.

Concurrency: one event loop, and one task group for all tasks that run as long as the
process. On the first signal to stop, the gateway accepts nothing new and finishes
running work within `DRAIN_TIMEOUT`; a second signal ends the process at once. A worker
also stops if its supervisor has exited. The first signal to a supervisor stops its
workers; the second one kills them. A background task that fails is restarted, and stops
nothing; an error while something starts or stops ends the process.
"""

import asyncio
import contextlib
import gc
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack

import anyio

from gateway.background import BackgroundTasks
from gateway.bootstrap import open_gateway, open_supervisor
from gateway.config.run_mode import GatewayMode, RunMode, Supervisor, Worker
from gateway.config.services import ServiceSettings
from gateway.config.settings import Settings
from gateway.delivery_setup import reserve_delivery_port
from gateway.domain.instrumentation import NO_INSTRUMENTATION, Instrumentation
from gateway.http.server import reserve_port
from gateway.services.routing.route_table import RouteTable
from gateway.stop_signals import receive_stop_signals
from gateway.workers.aggregation import remove_sockets
from gateway.workers.supervisor import (
    SHUTDOWN_GRACE_SECONDS,
    exit_with_parent,
)

logger = logging.getLogger(__name__)

BOT_NAME_TIMEOUT_SECONDS = 2.0
"""How long start-up waits for the usernames of the bots. In a group, a bot that does
not know its username would also process commands for others, such as /help@other."""


def run(
    settings: Settings,
    services: Mapping[str, ServiceSettings],
    table: RouteTable,
    mode: RunMode,
    instrumentation: Instrumentation = NO_INSTRUMENTATION,
) -> int:
    """Run this process until a signal stops it.

    Args:
        settings: the gateway's settings.
        services: the settings of the services, by name.
        table: the routes.
        mode: whether this process is the whole gateway, a worker or the supervisor.
        instrumentation: wraps components, for example to trace their calls. A
            supervisor does not use it.

    Returns:
        The exit code: for a supervisor that of `WorkerSupervisor.run`, otherwise 0.

    Raises:
        ConfigurationError: the gateway cannot start, for example because a port is in
            use.
    """
    if isinstance(mode, Supervisor):
        return asyncio.run(supervise(settings, services, mode))
    asyncio.run(serve(settings, services, table, mode, instrumentation))
    return 0


async def serve(
    settings: Settings,
    services: Mapping[str, ServiceSettings],
    table: RouteTable,
    mode: GatewayMode,
    instrumentation: Instrumentation = NO_INSTRUMENTATION,
) -> None:
    """Run a single process or a worker until a signal stops it, and drain it.

    The arguments are those of `run`. A worker also stops when its supervisor has ended.

    Raises:
        ConfigurationError: the gateway cannot start.
    """
    stop = asyncio.Event()
    parent = os.getppid()
    async with (
        BackgroundTasks() as background,
        receive_stop_signals(background, lambda _: stop.set(), once=True),
    ):
        if isinstance(mode, Worker):
            worker_socket = mode.socket

            def orphaned() -> None:
                stop.set()
                remove_sockets(worker_socket)

            exit_with_parent(orphaned, settings.drain_timeout + SHUTDOWN_GRACE_SECONDS)
        async with run_gateway(
            settings, services, table, mode, background, instrumentation
        ):
            # Exclude the 60,000 start-up objects from garbage collection: scanning
            # them would add 37 ms to each full collection.
            gc.collect()
            gc.freeze()
            await stop.wait()
            logger.info("stopping")
    if isinstance(mode, Worker) and os.getppid() != parent:
        # A signal may have stopped this worker before `orphaned` was called.
        remove_sockets(mode.socket)
    logger.info("stopped")


@contextlib.asynccontextmanager
async def run_gateway(
    settings: Settings,
    services: Mapping[str, ServiceSettings],
    table: RouteTable,
    mode: GatewayMode,
    background: BackgroundTasks,
    instrumentation: Instrumentation = NO_INSTRUMENTATION,
) -> AsyncIterator[None]:
    """Run the gateway inside the block. The end of the block drains it.

    Draining means that nothing new is accepted, and that running work is finished
    within DRAIN_TIMEOUT. The arguments are those of `run`; `background` runs the
    background tasks.

    Raises:
        ConfigurationError: the gateway cannot start.
    """
    if settings.sends_token_unencrypted:
        logger.warning(
            "bot_token_sent_unencrypted", extra={"setting": "TELEGRAM_API_URL"}
        )
    async with (
        open_gateway(
            settings, services, table, mode, background, instrumentation
        ) as gateway,
        AsyncExitStack() as stack,
    ):
        for name, work in gateway.tasks.items():
            await stack.enter_async_context(background.running(name, work))
        await stack.enter_async_context(gateway.internal_server)
        gateway.scheduler.start()
        stack.push_async_callback(gateway.bots.pollers.close)
        stack.push_async_callback(gateway.scheduler.drain, settings.drain_timeout)
        for name, work in gateway.bots.tasks.items():
            await stack.enter_async_context(background.running(name, work))
        with anyio.move_on_after(BOT_NAME_TIMEOUT_SECONDS):
            await gateway.bots.usernames_known.wait()
        await stack.enter_async_context(gateway.public_server)
        await stack.enter_async_context(gateway.delivery_server)
        gateway.bots.pollers.start()
        stack.push_async_callback(gateway.bots.pollers.stop)
        stack.callback(gateway.status.report_stopping)
        _look_at_contracts_on_hangup(gateway.contracts.look_now)
        gateway.status.report_started()
        logger.info("started", extra={"host": settings.host, "port": settings.port})
        yield


def _look_at_contracts_on_hangup(look: Callable[[], None]) -> None:
    """Call a function at SIGHUP, which else stops the process.

    A terminal that is closed sends it too: a process that was started in one stops.
    """
    if sys.stdin is None or not sys.stdin.isatty():
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, look)


async def supervise(
    settings: Settings, services: Mapping[str, ServiceSettings], mode: Supervisor
) -> int:
    """Run the workers of a gateway until a signal stops them.

    The arguments are those of `run`.

    Returns:
        The exit code: see `WorkerSupervisor.run`.

    Raises:
        ConfigurationError: the gateway cannot start.
    """
    async with (
        BackgroundTasks() as background,
        open_supervisor(settings, services, mode, background) as supervisor,
        receive_stop_signals(background, supervisor.workers.stop),
        reserve_port(settings.host, settings.port),
        reserve_delivery_port(settings),
        supervisor.internal_server,
        supervisor.health_server,
    ):
        _look_at_contracts_on_hangup(supervisor.workers.pass_on_hangup)
        return await supervisor.workers.run(background, supervisor.find_unresponsive)
