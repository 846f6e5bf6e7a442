"""The command line. Errors are one clear line each; bad settings end with code 2."""

import asyncio
import sys
from pathlib import Path

import click

from gateway import config
from gateway.cli_dead import dead
from gateway.cli_webhook import webhook
from gateway.domain.errors import BotApiError, Faults, MailboxesError
from gateway.logs import start_logging
from gateway.sandbox.launch import run_sandbox
from gateway.sandbox.places import read_targets
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
    start_logging(settings.log_level)
    recorder = None if turns_url is None else Recorder(turns_url, turns_key)
    sys.exit(run_workers(settings, services, table, worker, recorder))


@cli.command()
@click.option("--lock", is_flag=True, help="Print what routes.lock should hold.")
def routes(lock: bool) -> None:
    """Print the route table."""
    table = _routes()
    click.echo(table.lock_text() if lock else "\n".join(table.lines()), nl=not lock)


@cli.command()
@click.option("--port", default=8000, show_default=True, help="Of the gateway.")
@click.option("--ops-port", default=9000, show_default=True, help="Of its metrics.")
@click.option(
    "--simulator-port", default=8081, show_default=True, help="Of the Bot API."
)
@click.option(
    "--samples-port", default=50051, show_default=True, help="Of the services."
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Loopback only.")
@click.option(
    "--service",
    "own",
    multiple=True,
    metavar="NAME=HOST:PORT",
    help="A service of your own in place of a sample; may be repeated.",
)
def sandbox(
    port: int,
    ops_port: int,
    simulator_port: int,
    samples_port: int,
    host: str,
    own: tuple[str, ...],
) -> None:
    """Run the gateway with sample services and a Telegram on loopback."""
    services = _routes().services
    run = run_sandbox(
        services,
        port,
        ops_port=ops_port,
        simulator_port=simulator_port,
        samples_port=samples_port,
        host=host,
        targets=read_targets(own, services),
    )
    sys.exit(asyncio.run(run))


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
