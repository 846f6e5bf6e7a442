"""`telegram-gateway serve`: the gateway itself."""

from collections.abc import Callable, Sequence
from pathlib import Path

from gateway.config.settings import Settings, load_settings_with_services
from gateway.domain.errors import ConfigurationError
from gateway.domain.instrumentation import NO_INSTRUMENTATION, Instrumentation
from gateway.launcher import SERVE_PROGRAM, run_processes
from gateway.observability.logging import configure_logging
from gateway.services.routing.route_table import build_route_table, discover_services


def _leave_alone(_: Settings) -> Instrumentation:
    return NO_INSTRUMENTATION


def run_gateway(
    workers: int | None,
    worker: Path | None,
    instrument: Callable[[Settings], Instrumentation] = _leave_alone,
    program: Sequence[str] = SERVE_PROGRAM,
) -> int:
    """Run the gateway with the settings that are found; gives the exit code.

    Args:
        workers: how many processes. None: as the settings say.
        worker: set in a worker: the socket for its own pages.
        instrument: gives what stands around the parts.
        program: as in `workers.run`.

    Raises:
        ConfigurationError: the settings or the routes are wrong, or it cannot start.
    """
    overrides = {} if workers is None else {"workers": workers}
    faults: list[str] = []
    table = None
    names: tuple[str, ...] = ()
    try:
        table = build_route_table(discover_services())
        names = table.service_names
    except ConfigurationError as error:
        faults += error.problems
    try:
        settings, services = load_settings_with_services(names, overrides)
    except ConfigurationError as error:
        raise ConfigurationError([*faults, *error.problems]) from None
    if table is None:
        raise ConfigurationError(faults)
    configure_logging(settings.log_level, worker.name if worker else "")
    instrumentation = instrument(settings)
    return run_processes(settings, services, table, worker, instrumentation, program)
