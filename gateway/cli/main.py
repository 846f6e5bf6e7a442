"""The command line: what there is to say, and what it means.

What a command does stands in `cli_*.py`. A command imports what it needs when it runs:
each part of the gateway takes as long to import as Python takes to start.

Errors are one clear line each; bad settings end with code 2.
"""

import logging
import sys
from pathlib import Path

import click
from click.core import ParameterSource

from gateway.domain.errors import BotApiError, ConfigurationError, StoreError


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="telegram-gateway")
def cli() -> None:
    """A gateway between Telegram and a company's internal gRPC services."""


@cli.command()
@click.option("--workers", type=int, help="How many processes. [env: WORKERS]")
@click.option(
    "--worker", type=Path, hidden=True, help="Be one of them, at this socket."
)
def serve(workers: int | None, worker: Path | None) -> None:
    """Run the gateway."""
    from gateway.cli.serve import run_gateway

    sys.exit(run_gateway(workers, worker))


@cli.command()
@click.option("--lock", is_flag=True, help="Print what routes.lock should hold.")
def routes(lock: bool) -> None:
    """Print the route table."""
    from gateway.services.routing.route_table import (
        build_route_table,
        discover_services,
    )

    table = build_route_table(discover_services())
    click.echo(
        table.format_lock_file() if lock else "\n".join(table.format_lines()),
        nl=not lock,
    )


_own = click.option(
    "--service",
    "own",
    multiple=True,
    metavar="NAME=HOST:PORT",
    help="A service of your own in place of a sample; may be repeated.",
)


@cli.group(invoke_without_command=True)
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
    from gateway.cli.sandbox import run_sandbox

    sys.exit(
        run_sandbox(
            port,
            ops_port=ops_port,
            simulator_port=simulator_port,
            samples_port=samples_port,
            host=host,
            own=own,
            token=token,
            secret=secret,
        )
    )


@sandbox.command("run")
@click.argument("files", nargs=-1, required=True, type=Path, metavar="FILE...")
@_own
@click.option("--json", type=Path, metavar="FILE", help="Write a report as JSON.")
@click.option("--junit", type=Path, metavar="FILE", help="Write one as JUnit's XML.")
def sandbox_run(
    files: tuple[Path, ...],
    own: tuple[str, ...],
    json: Path | None,
    junit: Path | None,
) -> None:
    """Play scenarios against services, without a browser.

    Starts a sandbox on free ports, plays the files one after the other and stops it.
    Ends with 0 if all went well, 1 if something failed, 2 if a file is wrong.
    """
    from gateway.cli.sandbox import play_scenarios

    sys.exit(play_scenarios(files, own, json, junit))


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


@cli.group()
def webhook() -> None:
    """Tell Telegram where to send the updates."""


_drop_pending_updates = click.option(
    "--drop-pending-updates",
    is_flag=True,
    help="Throw away what users sent and was not delivered yet.",
)


@webhook.command("set")
@click.option("--force", is_flag=True, help="Replace the webhook of another address.")
@_drop_pending_updates
def webhook_set(force: bool, drop_pending_updates: bool) -> None:
    """Send updates to WEBHOOK_URL from now on, of all kinds that have a route."""
    from gateway.cli.webhook import set_webhook

    set_webhook(force=force, drop_pending_updates=drop_pending_updates)


@webhook.command("info")
def webhook_info() -> None:
    """Print where updates are sent now, and how that goes."""
    from gateway.cli.webhook import print_webhook

    print_webhook()


@webhook.command("delete")
@_drop_pending_updates
def webhook_delete(drop_pending_updates: bool) -> None:
    """Stop sending updates; Telegram keeps them for 24 hours."""
    from gateway.cli.webhook import delete_webhook

    delete_webhook(drop_pending_updates=drop_pending_updates)


@cli.group()
def dead() -> None:
    """Look at the updates that were given up, try them again, or delete them."""
    # What fails is told in one line, and not by the logs of the connection as well.
    logging.getLogger("gateway").addHandler(logging.NullHandler())


@dead.command("list")
@click.option("--reason", help="Only those with this reason, such as crashed.")
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    default=100,
    show_default=True,
    help="How many at most, the oldest ones.",
)
def dead_list(reason: str | None, limit: int) -> None:
    """Print the dead letters, oldest first, without their texts."""
    from gateway.cli.dead_letters import print_letters

    print_letters(reason, limit)


@dead.command("replay")
@click.argument("ids", nargs=-1, metavar="[ID]...")
@click.option("--all", "every", is_flag=True, help="Replay all of them.")
@click.option("--reason", help="Replay all with this reason.")
def dead_replay(ids: tuple[str, ...], every: bool, reason: str | None) -> None:
    """Put updates back into their mailboxes; a worker takes them within a second.

    What ended its workers (poison) will do so again, unless that was mended.
    """
    from gateway.cli.dead_letters import replay_letters

    replay_letters(ids, every, reason)


@dead.command("delete")
@click.argument("ids", nargs=-1, metavar="[ID]...")
@click.option("--all", "every", is_flag=True, help="Delete all of them.")
@click.option("--reason", help="Delete all with this reason.")
def dead_delete(ids: tuple[str, ...], every: bool, reason: str | None) -> None:
    """Delete dead letters for good, with what users wrote.

    They go by themselves after DEAD_LETTER_RETENTION.
    """
    from gateway.cli.dead_letters import delete_letters

    delete_letters(ids, every, reason)


def main() -> None:
    """Run the command line."""
    run(cli)


def run(command: click.Command) -> None:
    """Run a command; faults are printed and end with code 2."""
    try:
        command.main(standalone_mode=False)
    except ConfigurationError as error:
        for fault in error.problems:
            click.echo(f"telegram-gateway: {fault}", err=True)
        sys.exit(2)
    except (BotApiError, StoreError) as error:
        click.echo(f"telegram-gateway: {error}", err=True)
        sys.exit(1)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)
