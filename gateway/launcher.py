"""Runs the gateway as workers: processes that share a port, kept running from here.

What keeps them running stands in `supervisor.py`; what they show together stands in
`whole.py`.
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
from gateway.http.server import listening, listening_on_socket, reserved
from gateway.observability.metrics import ProcessMetrics
from gateway.services.routing.route_table import RouteTable
from gateway.telegram.bot_api.client import BotApiClient
from gateway.workers.aggregation import Whole, socket_of_whole, socket_of_worker
from gateway.workers.descriptors import raise_descriptor_limit, share_descriptors
from gateway.workers.supervisor import SPARE_SECONDS, WATCH_SECONDS, Workers

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

SERVE = ("gateway", "serve")
"""The module, and its arguments, that runs a gateway."""


def run(
    settings: Settings,
    services: Mapping[str, ServiceSettings],
    table: RouteTable,
    worker: Path | None = None,
    instrumentation: Instrumentation = NO_INSTRUMENTATION,
    program: Sequence[str] = SERVE,
) -> int:
    """Run the gateway with as many processes as the settings say, until a signal.

    Args:
        settings: of the gateway.
        services: where the services are, by name.
        table: the routes.
        worker: set in a worker: the socket for its own pages.
        instrumentation: stands around the parts of a single process or worker.
        program: the module, and its arguments, that becomes a worker by `--worker`.

    Returns:
        The exit code.

    Raises:
        ConfigurationError: it cannot start.
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
        sockets = [socket_of_worker(directory, number) for number in numbers]
        workers = Workers(
            [
                # -P: Python would look for modules in the working directory first, and
                # whoever can write there would get the token.
                (sys.executable, "-P", "-m", *program, "--worker", path)
                for path in sockets
            ],
            environment_of(settings, services),
            patience=settings.drain_timeout + SPARE_SECONDS,
        )
        metrics = ProcessMetrics()
        counts = ConnectionCounts()
        background = BackgroundTasks()
        add_process_counters(metrics, counts, background)
        shares = share_descriptors(raise_descriptor_limit())
        whole = Whole(
            sockets,
            lambda: workers.restarts,
            metrics.page,
            lambda: background.failing,
        )
        with _on_signals(workers):
            async with (
                reserved(settings.host, settings.port),
                BotApiClient(
                    settings.telegram_bot_token.get_secret_value(), settings.api_url
                ) as api,
                server.file_pages(settings, api) as files,
                listening(
                    {**whole.internal, **files},
                    settings.operations_host,
                    settings.ops_port,
                    most_connections=shares.operations,
                    counts=counts,
                ),
                listening_on_socket(
                    whole.health,
                    socket_of_whole(directory),
                    most_connections=shares.local,
                    counts=counts,
                ),
            ):
                watching = background.start(
                    "watch workers",
                    partial(workers.end_hanging, whole.silent),
                    longest_pause=WATCH_SECONDS,
                )
                try:
                    return await workers.run()
                finally:
                    watching.cancel()


def environment_of(
    settings: Settings, services: Mapping[str, ServiceSettings]
) -> dict[str, str]:
    """Give the environment in which these very settings are found again.

    A worker that is started later must not read a file `.env` that has changed since.
    """
    told: dict[str, object] = {"ENV_FILE": ""}
    told |= {name.upper(): value for name, value in settings}
    for service, own in services.items():
        told |= {f"{service}_{name}".upper(): value for name, value in own}
    kept = {name: it for name, it in os.environ.items() if name.upper() not in told}
    return kept | {name: _text(it) for name, it in told.items() if it is not None}


def _text(value: object) -> str:
    return value.get_secret_value() if isinstance(value, SecretStr) else str(value)


@contextlib.contextmanager
def _private_directory() -> Iterator[Path]:
    """Make a directory that only this user can look into, and remove it again."""
    try:
        directory = TemporaryDirectory(prefix="telegram-gateway-")
    except OSError as error:
        fault = f"workers need a temporary directory (TMPDIR): {error.strerror}"
        raise ConfigurationError([fault]) from None
    with directory as path:
        yield Path(path)


@contextlib.contextmanager
def _on_signals(workers: Workers) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    for number in _SIGNALS:
        loop.add_signal_handler(number, workers.stop, number)
    try:
        yield
    finally:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)
