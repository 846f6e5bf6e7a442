"""The command line. Errors are one clear line each; bad settings end with code 2."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import click

from gateway import app, config
from gateway.domain.errors import BotApiError, Faults
from gateway.logs import start_logging
from gateway.sandbox.launch import run_sandbox
from gateway.sandbox.places import read_targets
from gateway.services.routes import RouteTable, build_routes, discover
from gateway.telegram import account
from gateway.telegram.api import BotApi


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="telegram-gateway")
def cli() -> None:
    """A gateway between Telegram and a company's internal gRPC services."""


@cli.command()
@click.option("--workers", type=int, help="How many processes. [env: WORKERS]")
def serve(workers: int | None) -> None:
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
    asyncio.run(app.serve(settings, services, table))


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


@cli.group()
def webhook() -> None:
    """Tell Telegram where to send the updates."""


@webhook.command("set")
@click.option("--force", is_flag=True, help="Replace the webhook of another address.")
@click.option(
    "--drop-pending-updates",
    is_flag=True,
    help="Throw away what users sent and was not delivered yet.",
)
def webhook_set(force: bool, drop_pending_updates: bool) -> None:
    """Send updates to WEBHOOK_URL from now on."""
    settings = config.load()
    if settings.webhook_url is None:
        raise Faults(["WEBHOOK_URL: is not set"])
    url = str(settings.webhook_url)

    async def change(api: BotApi) -> None:
        current = (await account.get_webhook_info(api)).url
        if current not in {"", url} and not force:
            raise Faults([f"the webhook is {current} now; --force replaces it"])
        await account.set_webhook(
            api,
            url,
            settings.telegram_webhook_secret.get_secret_value(),
            drop_pending_updates=drop_pending_updates,
        )
        click.echo(f"webhook set to {url}")

    _with_api(settings, change)


@webhook.command("info")
def webhook_info() -> None:
    """Print where updates are sent now, and how that goes."""

    async def show(api: BotApi) -> None:
        info = await account.get_webhook_info(api)
        click.echo(f"url:                  {info.url or '(none)'}")
        click.echo(f"pending updates:      {info.pending_update_count}")
        click.echo(f"max connections:      {info.max_connections}")
        click.echo(f"allowed updates:      {info.allowed_updates or '(default)'}")
        if info.last_error_date:
            # It stays after the recovery: compare the times of two readings.
            at = datetime.fromtimestamp(info.last_error_date, UTC)
            click.echo(f"last error:           {at:%Y-%m-%d %H:%M:%S} UTC")
            click.echo(f"                      {info.last_error_message}")

    _with_api(config.load(), show)


@webhook.command("delete")
@click.option(
    "--drop-pending-updates",
    is_flag=True,
    help="Throw away what users sent and was not delivered yet.",
)
def webhook_delete(drop_pending_updates: bool) -> None:
    """Stop sending updates; Telegram keeps them for 24 hours."""

    async def change(api: BotApi) -> None:
        await account.delete_webhook(api, drop_pending_updates=drop_pending_updates)
        click.echo("webhook deleted")

    _with_api(config.load(), change)


def main() -> None:
    """Run the command line; faults are printed and end with code 2."""
    try:
        cli.main(standalone_mode=False)
    except Faults as error:
        for fault in error.faults:
            click.echo(f"telegram-gateway: {fault}", err=True)
        sys.exit(2)
    except BotApiError as error:
        click.echo(f"telegram-gateway: {error}", err=True)
        sys.exit(1)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)


def _routes() -> RouteTable:
    return build_routes(discover())


def _with_api(
    settings: config.Settings, act: Callable[[BotApi], Awaitable[None]]
) -> None:
    async def run() -> None:
        token = settings.telegram_bot_token.get_secret_value()
        async with BotApi(token, settings.api_url) as api:
            await act(api)

    asyncio.run(run())
