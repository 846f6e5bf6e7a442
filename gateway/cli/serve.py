"""`telegram-gateway serve`: runs the gateway."""

import logging
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path

from gateway import server
from gateway.cli.bot_api import run_with_api
from gateway.cli.configuration import load_configuration_to_serve
from gateway.config.bots import load_bots
from gateway.config.run_mode import SERVE_PROGRAM, Worker, choose_run_mode
from gateway.config.settings import Settings
from gateway.config.unknown_settings import find_misspelled_settings
from gateway.domain.errors import ConfigurationError
from gateway.domain.instrumentation import NO_INSTRUMENTATION, Instrumentation
from gateway.observability.logging import configure_logging
from gateway.telegram.polling import free_from_webhook

logger = logging.getLogger(__name__)


def _use_no_instrumentation(_: Settings) -> Instrumentation:
    return NO_INSTRUMENTATION


def run_gateway(
    workers: int | None,
    worker_socket: Path | None,
    instrument: Callable[[Settings], Instrumentation] = _use_no_instrumentation,
    program: Sequence[str] = SERVE_PROGRAM,
    *,
    take_over: bool = False,
) -> int:
    """Load the settings, run the gateway until a signal stops it; return the exit code.

    Args:
        workers: the number of processes; None to use the setting WORKERS.
        worker_socket: the value of `--worker`, with which the supervisor starts this
            process as a worker; None without that option.
        instrument: returns what wraps the components, for example to trace them.
        program: the module that runs as a worker if it is called with `--worker`, and
            its further arguments.
        take_over: True to delete the webhooks of bots that are polled; False to fail if
            such a bot has a webhook.

    Raises:
        ConfigurationError: the settings or the routes are invalid, or the gateway
            cannot start.
    """
    settings, services, contracts = load_configuration_to_serve(
        {} if workers is None else {"workers": workers}
    )
    mode = choose_run_mode(settings.workers, worker_socket, program)
    table = contracts.table
    bots = load_bots(settings, table.service_names, table.route_names)
    polled = [bot for bot in bots.values() if bot.updates == "poll"]
    if take_over and not polled:
        raise ConfigurationError(["--take-over: UPDATES is not poll"])
    configure_logging(
        settings.log_level,
        mode.socket.name if isinstance(mode, Worker) else "",
        settings.log_format,
    )
    if not isinstance(mode, Worker):
        _log_warnings(contracts.warnings, find_misspelled_settings(services))
        for bot in polled:
            run_with_api(settings, bot, partial(free_from_webhook, take_over=take_over))
    return server.run(settings, services, table, mode, instrument(settings))


def _log_warnings(
    contract_warnings: Iterable[str], misspelled_settings: Iterable[str]
) -> None:
    for problem in contract_warnings:
        logger.warning("contract_suspicious", extra={"problem": problem})
    for problem in misspelled_settings:
        logger.warning("setting_unknown", extra={"problem": problem})
