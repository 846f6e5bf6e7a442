"""`telegram-gateway serve`: the gateway itself."""

from pathlib import Path

from gateway import config
from gateway.domain.errors import Faults
from gateway.logs import start_logging
from gateway.sandbox.recorder import Recorder
from gateway.services.routes import build_routes, discover
from gateway.workers import run


def run_gateway(
    workers: int | None, worker: Path | None, turns_url: str | None, turns_key: str
) -> int:
    """Run the gateway; gives the exit code."""
    overrides = {} if workers is None else {"workers": workers}
    faults: list[str] = []
    table = None
    names: tuple[str, ...] = ()
    try:
        table = build_routes(discover())
        names = table.services
    except Faults as error:
        faults += error.faults
    try:
        settings, services = config.load_with_services(names, overrides)
    except Faults as error:
        raise Faults([*faults, *error.faults]) from None
    if table is None:
        raise Faults(faults)
    start_logging(settings.log_level, worker.name if worker else "")
    recorder = None
    if turns_url is not None:
        recorder = Recorder(turns_url, turns_key, settings.api_url)
    return run(settings, services, table, worker, recorder)
