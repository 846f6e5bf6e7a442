"""Runs the gateway as one process, or as a supervisor and several workers.

Workers are processes that share a port. `workers/supervisor.py` restarts them;
`workers/aggregation.py` merges their health, readiness and metrics.
"""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from pydantic import SecretStr

from gateway import server
from gateway.background import BackgroundTasks
from gateway.bootstrap import add_process_counters
from gateway.config.services import ServiceSettings
from gateway.config.settings import Settings
from gateway.domain.errors import ConfigurationError
from gateway.domain.instrumentation import NO_INSTRUMENTATION, Instrumentation
from gateway.http.connections import ConnectionCounts
from gateway.http.server import reserve_port, serve_http, serve_unix_socket
from gateway.observability.metrics import ProcessMetrics
from gateway.services.routing.route_table import RouteTable
from gateway.telegram.bot_api.client import BotApiClient
from gateway.workers.aggregation import (
    AggregatedEndpoints,
    get_supervisor_socket,
    get_worker_socket,
)
from gateway.workers.descriptors import divide_descriptors, raise_descriptor_limit
from gateway.workers.supervisor import (
    PROBE_INTERVAL_SECONDS,
    SHUTDOWN_GRACE_SECONDS,
    WorkerSupervisor,
)

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

SERVE_PROGRAM = ("gateway", "serve")
"""The module that runs a gateway, and its arguments."""


def run_processes(
    settings: Settings,
    services: Mapping[str, ServiceSettings],
    table: RouteTable,
    worker: Path | None = None,
    instrumentation: Instrumentation = NO_INSTRUMENTATION,
    program: Sequence[str] = SERVE_PROGRAM,
) -> int:
    """Run the gateway with the configured number of processes until a signal.

    Args:
        settings: the gateway's settings.
        services: the settings of the services, by name.
        table: the routes.
        worker: the socket for the internal endpoints of a worker; `None` in a single
            process and in the supervisor.
        instrumentation: wraps the components of a single process or worker.
        program: the module that becomes a worker by `--worker`, and its arguments.

    Returns:
        The exit code.

    Raises:
        ConfigurationError: the gateway cannot start.
    """
    if worker is None and settings.workers > 1:
        return asyncio.run(_supervise(settings, services, program))
    asyncio.run(server.serve(settings, services, table, worker, instrumentation))
    return 0


async def _supervise(
    settings: Settings,
    services: Mapping[str, ServiceSettings],
    program: Sequence[str],
) -> int:
    with _private_directory() as directory:
        numbers = range(settings.workers)
        sockets = [get_worker_socket(directory, number) for number in numbers]
        workers = WorkerSupervisor(
            [
                # Without -P, Python would import modules from the working directory
                # first, and anybody who can write there could read the token.
                (sys.executable, "-P", "-m", *program, "--worker", path)
                for path in sockets
            ],
            build_worker_environment(settings, services),
            shutdown_timeout=settings.drain_timeout + SHUTDOWN_GRACE_SECONDS,
        )
        metrics = ProcessMetrics()
        counts = ConnectionCounts()
        background = BackgroundTasks()
        add_process_counters(metrics, counts, background)
        limits = divide_descriptors(raise_descriptor_limit())
        aggregated = AggregatedEndpoints(
            sockets,
            lambda: workers.restarts,
            metrics.render,
            lambda: background.failing_tasks,
        )
        with _stop_on_signals(workers):
            async with (
                reserve_port(settings.host, settings.port),
                BotApiClient(
                    settings.telegram_bot_token.get_secret_value(), settings.api_url
                ) as api,
                server.open_file_endpoints(settings, api) as files,
                serve_http(
                    {**aggregated.internal, **files},
                    settings.operations_host,
                    settings.ops_port,
                    max_connections=limits.operations,
                    counts=counts,
                ),
                serve_unix_socket(
                    aggregated.health,
                    get_supervisor_socket(directory),
                    max_connections=limits.local,
                    counts=counts,
                ),
            ):
                watchdog = background.start(
                    "watch workers",
                    partial(workers.kill_unresponsive, aggregated.find_unresponsive),
                    max_delay=PROBE_INTERVAL_SECONDS,
                )
                try:
                    return await workers.run()
                finally:
                    watchdog.cancel()


def build_worker_environment(
    settings: Settings, services: Mapping[str, ServiceSettings]
) -> dict[str, str]:
    """Return the environment in which a worker loads exactly these settings.

    A worker that is started later must not read a changed `.env` file.
    """
    settings_by_name: dict[str, object] = {"ENV_FILE": ""}
    settings_by_name |= {name.upper(): value for name, value in settings}
    for service, own in services.items():
        settings_by_name |= {f"{service}_{name}".upper(): value for name, value in own}
    kept = {
        name: it
        for name, it in os.environ.items()
        if name.upper() not in settings_by_name
    }
    return kept | {
        name: _format_value(it)
        for name, it in settings_by_name.items()
        if it is not None
    }


def _format_value(value: object) -> str:
    return value.get_secret_value() if isinstance(value, SecretStr) else str(value)


@contextlib.contextmanager
def _private_directory() -> Iterator[Path]:
    """Create a temporary directory that only this user can access."""
    try:
        directory = TemporaryDirectory(prefix="telegram-gateway-")
    except OSError as error:
        problem = f"workers need a temporary directory (TMPDIR): {error.strerror}"
        raise ConfigurationError([problem]) from None
    with directory as path:
        yield Path(path)


@contextlib.contextmanager
def _stop_on_signals(workers: WorkerSupervisor) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    for number in _SIGNALS:
        loop.add_signal_handler(number, workers.stop, number)
    try:
        yield
    finally:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)
