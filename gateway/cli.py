"""The command line. Errors are one clear line each; bad settings end with code 2."""

import sys
from pathlib import Path

import click

from gateway import config
from gateway.cli_dead import dead
from gateway.cli_sandbox import sandbox
from gateway.cli_webhook import webhook
from gateway.domain.errors import BotApiError, Faults, MailboxesError
from gateway.logs import start_logging
from gateway.sandbox.recorder import Recorder
from gateway.services.routes import RouteTable, build_routes, discover
from gateway.workers import run as run_workers


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="telegram-gateway")
def cli() -> None:
    """A gateway between Telegram and a company's internal gRPC services."""


@cli.command()
@click.option("--workers", type=int, help="How many processes. [env: WORKERS]")
@click.option(
    "--worker", type=Path, hidden=True, help="Be one of them, at this socket."
)
@click.option("--turns-url", envvar="SANDBOX_TURNS_URL", hidden=True)
@click.option("--turns-key", envvar="SANDBOX_TURNS_KEY", default="", hidden=True)
def serve(
    workers: int | None, worker: Path | None, turns_url: str | None, turns_key: str
) -> None:
    """Run the gateway."""
    overrides = {} if workers is None else {"workers": workers}
    faults: list[str] = []
    table = None
    names: tuple[str, ...] = ()
    try:
        table = _routes()
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
    sys.exit(run_workers(settings, services, table, worker, recorder))


@cli.command()
@click.option("--lock", is_flag=True, help="Print what routes.lock should hold.")
def routes(lock: bool) -> None:
    """Print the route table."""
    table = _routes()
    click.echo(table.lock_text() if lock else "\n".join(table.lines()), nl=not lock)


cli.add_command(sandbox)
cli.add_command(webhook)
cli.add_command(dead)


def main() -> None:
    """Run the command line; faults are printed and end with code 2."""
    try:
        cli.main(standalone_mode=False)
    except Faults as error:
        for fault in error.faults:
            click.echo(f"telegram-gateway: {fault}", err=True)
        sys.exit(2)
    except (BotApiError, MailboxesError) as error:
        click.echo(f"telegram-gateway: {error}", err=True)
        sys.exit(1)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)


def _routes() -> RouteTable:
    return build_routes(discover())
