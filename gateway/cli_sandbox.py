"""`telegram-gateway sandbox`: a Telegram on one's desk, and tests that use it."""

import asyncio
import sys
from importlib import import_module
from pathlib import Path

import click
from click.core import ParameterSource

from gateway.domain.errors import Faults
from gateway.sandbox.launch import run_sandbox
from gateway.sandbox.parts import Secrets
from gateway.sandbox.places import read_targets
from gateway.services.routes import build_routes, discover

_own = click.option(
    "--service",
    "own",
    multiple=True,
    metavar="NAME=HOST:PORT",
    help="A service of your own in place of a sample; may be repeated.",
)


@click.group(invoke_without_command=True)
@click.option("--port", default=8000, show_default=True, help="Of the gateway.")
@click.option("--ops-port", default=9000, show_default=True, help="Of its metrics.")
@click.option(
    "--simulator-port", default=8081, show_default=True, help="Of the Bot API."
)
@click.option(
    "--samples-port", default=50051, show_default=True, help="Of the services."
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Loopback only.")
@_own
@click.option("--token", help="Of the bot, for calls of your own.  [default: random]")
@click.option("--secret", help="Of the webhook.  [default: random]")
@click.pass_context
def sandbox(  # noqa: PLR0913 - one for each option
    context: click.Context,
    *,
    port: int,
    ops_port: int,
    simulator_port: int,
    samples_port: int,
    host: str,
    own: tuple[str, ...],
    token: str | None,
    secret: str | None,
) -> None:
    """Run the gateway with sample services and a Telegram on loopback."""
    if context.invoked_subcommand:
        _refuse_options(context)
        return
    services = build_routes(discover()).services
    run = run_sandbox(
        services,
        port,
        ops_port=ops_port,
        simulator_port=simulator_port,
        samples_port=samples_port,
        host=host,
        targets=read_targets(own, services),
        secrets=_secrets(token, secret),
    )
    sys.exit(asyncio.run(run))


@sandbox.command()
@click.argument("files", nargs=-1, required=True, type=Path, metavar="FILE...")
@_own
@click.option("--json", type=Path, metavar="FILE", help="Write a report as JSON.")
@click.option("--junit", type=Path, metavar="FILE", help="Write one as JUnit's XML.")
def run(
    files: tuple[Path, ...],
    own: tuple[str, ...],
    json: Path | None,
    junit: Path | None,
) -> None:
    """Play scenarios against services, without a browser.

    Starts a sandbox on free ports, plays the files one after the other and stops it.
    Ends with 0 if all went well, 1 if something failed, 2 if a file is wrong.
    """
    _require_yaml()
    from gateway.sandbox.scenarios.reading import read_scenarios  # noqa: PLC0415
    from gateway.sandbox.scenarios.run import run_scenarios  # noqa: PLC0415

    faults: list[str] = []
    scenarios = []
    targets: dict[str, str] = {}
    services = build_routes(discover()).services
    try:
        scenarios = read_scenarios(files)
    except Faults as error:
        faults += error.faults
    try:
        targets = read_targets(own, services)
    except Faults as error:
        faults += error.faults
    for option, path in (("--json", json), ("--junit", junit)):
        if path and not path.absolute().parent.is_dir():
            faults.append(f"{option} {path}: there is no such directory")
    if faults:
        raise Faults(faults)
    played = run_scenarios(scenarios, services, targets, json=json, junit=junit)
    sys.exit(asyncio.run(played))


def _require_yaml() -> None:
    """Check that PyYAML is installed: an extra that only scenarios need.

    Raises:
        Faults: it is not.
    """
    try:
        import_module("yaml")
    except ModuleNotFoundError:
        how = "pip install 'telegram-gateway[sandbox]'"
        fault = f"scenarios are YAML, and PyYAML is not installed: {how}"
        raise Faults([fault]) from None


def _secrets(token: str | None, secret: str | None) -> Secrets:
    """Take what was given, and make up the rest."""
    made_up = Secrets()
    return Secrets(token=token or made_up.token, webhook=secret or made_up.webhook)


def _refuse_options(context: click.Context) -> None:
    """Options that a subcommand would not hear of must not be lost."""
    for option in context.command.params:
        if (
            context.get_parameter_source(option.name or "")
            is ParameterSource.COMMANDLINE
        ):
            raise click.UsageError(
                f"{option.opts[0]} stands before {context.invoked_subcommand}, which "
                "takes only options that stand after it"
            )
