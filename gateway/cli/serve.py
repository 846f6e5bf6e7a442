"""`telegram-gateway serve`: runs the gateway."""

from collections.abc import Callable, Sequence
from pathlib import Path

from gateway.config.settings import Settings, load_settings_with_services
from gateway.domain.errors import ConfigurationError
from gateway.domain.instrumentation import NO_INSTRUMENTATION, Instrumentation
from gateway.launcher import SERVE_PROGRAM, run_processes
from gateway.observability.logging import configure_logging
from gateway.services.routing.route_table import build_route_table, discover_services


def _use_no_instrumentation(_: Settings) -> Instrumentation:
    return NO_INSTRUMENTATION


def run_gateway(
    workers: int | None,
    worker: Path | None,
    instrument: Callable[[Settings], Instrumentation] = _use_no_instrumentation,
    program: Sequence[str] = SERVE_PROGRAM,
) -> int:
    """Load the settings, run the gateway and return the exit code.

    Args:
        workers: the number of processes; `None` to use the setting.
        worker: the socket for the internal endpoints of a worker; `None` otherwise.
        instrument: returns the instrumentation that wraps the components.
        program: as in `run_processes`.

    Raises:
        ConfigurationError: the settings or the routes are invalid, or the gateway
            cannot start.
    """
    overrides = {} if workers is None else {"workers": workers}
    problems: list[str] = []
    table = None
    names: tuple[str, ...] = ()
    try:
        table = build_route_table(discover_services())
        names = table.service_names
    except ConfigurationError as error:
        problems += error.problems
    try:
        settings, services = load_settings_with_services(names, overrides)
    except ConfigurationError as error:
        raise ConfigurationError([*problems, *error.problems]) from None
    if table is None:
        raise ConfigurationError(problems)
    configure_logging(settings.log_level, worker.name if worker else "")
    instrumentation = instrument(settings)
    return run_processes(settings, services, table, worker, instrumentation, program)
