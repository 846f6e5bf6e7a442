"""The command line: commands, options and exit codes.

The other modules of `gateway.cli` implement the commands. A command imports them when
it runs, because each component of the gateway takes as long to import as Python takes
to start.

Each error is printed as one line; invalid settings end with exit code 2.
"""

import errno
import logging
import os
import signal
import sys
from pathlib import Path
from types import FrameType

import click
from click.core import ParameterSource

from gateway.cli.bot_commands import bots
from gateway.cli.broadcast_commands import broadcasts
from gateway.cli.conformance_command import conformance
from gateway.cli.contract_commands import contracts
from gateway.cli.diagnosis_commands import check, doctor
from gateway.domain.errors import BotApiError, ConfigurationError, StoreError

_UNWRITABLE = frozenset({errno.EBADF, errno.EDQUOT, errno.EIO, errno.ENOSPC})
"""The errors of an output that cannot be written, such as a file on a full disk."""


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="telegram-gateway")
def cli() -> None:
    """A gateway between Telegram and a company's internal gRPC services."""


@cli.command()
@click.option("--workers", type=int, help="Number of processes. [env: WORKERS]")
@click.option(
    "--worker", type=Path, hidden=True, help="Run one of them, at this socket."
)
@click.option(
    "--take-over", is_flag=True, help="With UPDATES=poll, delete the bot's webhook."
)
def serve(workers: int | None, worker: Path | None, take_over: bool) -> None:
    """Run the gateway."""
    _end_on_signals()
    from gateway.cli.serve import run_gateway

    sys.exit(run_gateway(workers, worker, take_over=take_over))


@cli.command()
@click.option("--lock", is_flag=True, help="Print the contents for routes.lock.")
def routes(lock: bool) -> None:
    """Print the route table of CONTRACTS."""
    from gateway.cli.routes import print_routes

    print_routes(lock=lock)


_own = click.option(
    "--service",
    "own",
    multiple=True,
    metavar="NAME=HOST:PORT",
    help="Your own service instead of a sample; may be repeated.",
)


_commands = click.option(
    "--run",
    "commands",
    multiple=True,
    metavar="NAME[@FOLDER]=COMMAND",
    help="Start your own service in a folder, to listen on the port PORT; may be"
    " repeated.",
)


_keep = click.option(
    "--keep",
    type=Path,
    metavar="FILE",
    help="Keep the chats of the simulated Telegram in a file, over a restart.",
)


@cli.command()
@_own
@_keep
@click.option(
    "--samples-port", default=50051, show_default=True, help="Port of the samples."
)
@click.option("--page-port", default=8081, show_default=True, help="Port of the page.")
@click.option("--take-over", is_flag=True, help="Delete the bot's webhook.")
@_commands
@click.option(
    "--watch",
    is_flag=True,
    help="Start a service again when a file in its folder changes, and the gateway"
    " when a contract does.",
)
def dev(
    own: tuple[str, ...],
    samples_port: int,
    page_port: int,
    commands: tuple[str, ...],
    *,
    take_over: bool,
    watch: bool,
    keep: Path | None,
) -> None:
    """Answer a real bot from this machine, without a public address.

    The bot's token is TELEGRAM_BOT_TOKEN, in the environment or a file .env; without
    one Telegram is simulated. Services without an address are replaced by samples. A
    page shows what happens to each update; it can only be reached from this machine.
    """
    _end_on_signals()
    from gateway.cli.dev import run

    sys.exit(
        run(
            own,
            commands,
            page_port=page_port,
            samples_port=samples_port,
            take_over=take_over,
            watch=watch,
            keep=keep,
        )
    )


@cli.group(invoke_without_command=True)
@click.option("--port", default=8000, show_default=True, help="Port of the gateway.")
@click.option("--ops-port", default=9000, show_default=True, help="Port of metrics.")
@click.option(
    "--simulator-port", default=8081, show_default=True, help="Port of the Bot API."
)
@click.option(
    "--samples-port", default=50051, show_default=True, help="Port of the services."
)
@click.option(
    "--host", default="127.0.0.1", show_default=True, help="Loopback address."
)
@_own
@click.option("--token", help="Bot token, for your own calls.  [default: random]")
@click.option("--secret", help="Webhook secret.  [default: random]")
@click.option("--limits", is_flag=True, help="Enforce Telegram's limits of messages.")
@click.option(
    "--bot",
    "bots",
    multiple=True,
    metavar="NAME",
    help="Username of a bot; several bots if it is repeated.",
)
@_keep
@click.pass_context
def sandbox(  # noqa: PLR0913 - one parameter per option
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
    limits: bool,
    bots: tuple[str, ...],
    keep: Path | None,
) -> None:
    """Run the gateway in a sandbox.

    The sandbox has sample services and a simulated Telegram, all on loopback.
    """
    if context.invoked_subcommand:
        _refuse_options(context)
        return
    _end_on_signals()
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
            limits=limits,
            bots=bots,
            keep=keep,
        )
    )


@sandbox.command("run")
@click.argument("files", nargs=-1, required=True, type=Path, metavar="FILE...")
@_own
@_commands
@click.option("--json", type=Path, metavar="FILE", help="Write a report as JSON.")
@click.option("--junit", type=Path, metavar="FILE", help="Write a report as JUnit XML.")
def sandbox_run(
    files: tuple[Path, ...],
    own: tuple[str, ...],
    commands: tuple[str, ...],
    json: Path | None,
    junit: Path | None,
) -> None:
    """Play scenarios against services, without a browser.

    Starts a sandbox on free ports, plays the files one after the other and stops it.
    The exit code is 0 if all steps succeeded, 1 if one failed, 2 if a file is invalid.
    """
    from gateway.cli.sandbox import play_scenarios

    sys.exit(play_scenarios(files, own, commands, json, junit))


def _refuse_options(context: click.Context) -> None:
    """Reject options before a subcommand, which would ignore them."""
    for option in context.command.params:
        if (
            context.get_parameter_source(option.name or "")
            is ParameterSource.COMMANDLINE
        ):
            raise click.UsageError(
                f"{option.opts[0]} precedes {context.invoked_subcommand}, which takes "
                "only options that follow it"
            )


@cli.group()
def webhook() -> None:
    """Set, show or delete the webhook.

    The webhook is the address to which Telegram sends the updates.
    """


_drop_pending_updates = click.option(
    "--drop-pending-updates",
    is_flag=True,
    help="Discard the updates that were not delivered yet.",
)


_bot = click.option("--bot", "name", help="A bot of BOTS_FILE.  [default: all of them]")


@webhook.command("set")
@_bot
@click.option("--force", is_flag=True, help="Replace the webhook of another address.")
@_drop_pending_updates
def webhook_set(name: str | None, force: bool, drop_pending_updates: bool) -> None:
    """Send updates to WEBHOOK_URL.

    The address of a bot of BOTS_FILE is WEBHOOK_URL followed by a slash and its name.
    Telegram sends only the update types that have a route.
    """
    from gateway.cli.webhook import set_webhook

    set_webhook(name, force=force, drop_pending_updates=drop_pending_updates)


@webhook.command("info")
@_bot
def webhook_info(name: str | None) -> None:
    """Print the webhook and the state of its delivery."""
    from gateway.cli.webhook import print_webhook

    print_webhook(name)


@webhook.command("delete")
@_bot
@_drop_pending_updates
def webhook_delete(name: str | None, drop_pending_updates: bool) -> None:
    """Stop sending updates; Telegram keeps them for 24 hours."""
    from gateway.cli.webhook import delete_webhook

    delete_webhook(name, drop_pending_updates=drop_pending_updates)


@cli.group("dead-letters")
def dead_letters() -> None:
    """List, replay or delete dead letters.

    Dead letters are updates that could not be processed.
    """
    # A failure is printed as one line; the connection must not log it as well.
    logging.getLogger("gateway").addHandler(logging.NullHandler())


@dead_letters.command("list")
@click.option("--reason", help="Print only those with this reason, such as crashed.")
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    default=100,
    show_default=True,
    help="Maximum number of dead letters, oldest first.",
)
@_bot
def dead_letters_list(reason: str | None, limit: int, name: str | None) -> None:
    """Print the dead letters, oldest first, without their texts."""
    from gateway.cli.dead_letters import print_letters

    print_letters(reason, name, limit)


@dead_letters.command("replay")
@click.argument("ids", nargs=-1, metavar="[ID]...")
@click.option("--all", "every", is_flag=True, help="Replay all of them.")
@click.option("--reason", help="Replay all with this reason.")
def dead_letters_replay(ids: tuple[str, ...], every: bool, reason: str | None) -> None:
    """Put updates back into their mailboxes.

    A worker takes them within a second.

    A poison update crashes its worker again unless the cause was fixed.
    """
    from gateway.cli.dead_letters import replay_letters

    replay_letters(ids, every, reason)


@dead_letters.command("delete")
@click.argument("ids", nargs=-1, metavar="[ID]...")
@click.option("--all", "every", is_flag=True, help="Delete all of them.")
@click.option("--reason", help="Delete all with this reason.")
def dead_letters_delete(ids: tuple[str, ...], every: bool, reason: str | None) -> None:
    """Delete dead letters permanently.

    This also deletes the texts of users.

    Dead letters expire after DEAD_LETTER_RETENTION.
    """
    from gateway.cli.dead_letters import delete_letters

    delete_letters(ids, every, reason)


def _end_on_signals() -> None:
    """End with code 0 at a signal until the command has its own handlers.

    Importing the components takes about a second. SIGINT raises KeyboardInterrupt.
    """
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _exit)


def _exit(_: int, __: FrameType | None) -> None:
    sys.exit(0)


cli.add_command(bots)
cli.add_command(broadcasts)
cli.add_command(contracts)
cli.add_command(check)
cli.add_command(doctor)
cli.add_command(conformance)


@cli.group()
def deliveries() -> None:
    """List, show or cancel deliveries.

    Deliveries are messages that services send on their own initiative.
    """
    # A failure is printed as one line; the connection must not log it as well.
    logging.getLogger("gateway").addHandler(logging.NullHandler())


@deliveries.command("list")
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    default=100,
    show_default=True,
    help="Maximum number of deliveries.",
)
def deliveries_list(limit: int) -> None:
    """Print the deliveries that wait or are being sent, without their texts."""
    from gateway.cli.deliveries import print_deliveries

    print_deliveries(limit)


@deliveries.command("show")
@click.argument("delivery_id", metavar="ID")
def deliveries_show(delivery_id: str) -> None:
    """Print the state of a delivery, without its texts."""
    from gateway.cli.deliveries import print_delivery

    print_delivery(delivery_id)


@deliveries.command("cancel")
@click.argument("delivery_id", metavar="ID")
def deliveries_cancel(delivery_id: str) -> None:
    """Cancel a delivery of which nothing was sent yet."""
    from gateway.cli.deliveries import cancel_delivery

    cancel_delivery(delivery_id)


def main() -> None:
    """Run the command line of `telegram-gateway` with the arguments of this process."""
    run(cli)


def run(command: click.Command) -> None:
    """Run a command with the arguments of this process, and print an error as one line.

    The process exits with 2 after a ConfigurationError or wrong options, with 1 if the
    Bot API, the store or the output fails, and with 130 after an interrupt. Other
    exceptions are raised.
    """
    try:
        command.main(standalone_mode=False)
    except ConfigurationError as error:
        for problem in error.problems:
            click.echo(f"telegram-gateway: {problem}", err=True)
        sys.exit(2)
    except (BotApiError, StoreError) as error:
        click.echo(f"telegram-gateway: {error}", err=True)
        sys.exit(1)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)
    except OSError as error:
        if error.errno not in _UNWRITABLE:
            raise
        click.echo(f"telegram-gateway: cannot write: {error.strerror}", err=True)
        # Python writes what is left of the output at exit, and would fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.exit(1)
