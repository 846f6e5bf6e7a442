"""`telegram-gateway webhook`: set, show or delete the webhook at Telegram."""

from datetime import UTC, datetime

import click

from gateway.cli.bot_api import run_with_api
from gateway.cli.routes import load_route_table
from gateway.config.settings import load_settings
from gateway.domain.errors import ConfigurationError
from gateway.telegram.bot_api import bot_settings
from gateway.telegram.bot_api.client import BotApiClient
from gateway.telegram.inbound.update_types import list_allowed_updates


def set_webhook(*, force: bool, drop_pending_updates: bool) -> None:
    """Send updates of all types that have a route to WEBHOOK_URL."""
    settings = load_settings()
    update_types = list_allowed_updates(load_route_table().update_types)
    if settings.updates == "poll" or settings.telegram_webhook_secret is None:
        problem = "UPDATES: is poll; a webhook would end the polling"
        raise ConfigurationError([problem])
    secret = settings.telegram_webhook_secret.get_secret_value()
    if settings.webhook_url is None:
        raise ConfigurationError(["WEBHOOK_URL: is not set"])
    url = str(settings.webhook_url)

    async def change(api: BotApiClient) -> None:
        current = (await bot_settings.get_webhook_info(api)).url
        if current not in {"", url} and not force:
            raise ConfigurationError(
                [f"the webhook is {current} now; --force replaces it"]
            )
        await bot_settings.set_webhook(
            api,
            url,
            secret,
            allowed_updates=update_types,
            drop_pending_updates=drop_pending_updates,
        )
        click.echo(f"webhook set to {url}")
        if update_types:
            click.echo(f"update types: {', '.join(update_types)}")

    run_with_api(settings, change)


def print_webhook() -> None:
    """Print the address to which updates are sent, and the state of the delivery."""

    async def show(api: BotApiClient) -> None:
        info = await bot_settings.get_webhook_info(api)
        click.echo(f"url:                  {info.url or '(none)'}")
        click.echo(f"pending updates:      {info.pending_update_count}")
        click.echo(f"max connections:      {info.max_connections}")
        click.echo(f"allowed updates:      {info.allowed_updates or '(default)'}")
        if info.last_error_date:
            # Telegram keeps the last error after a recovery: only a new time means a
            # new error.
            at = datetime.fromtimestamp(info.last_error_date, UTC)
            click.echo(f"last error:           {at:%Y-%m-%d %H:%M:%S} UTC")
            click.echo(f"                      {info.last_error_message}")

    run_with_api(load_settings(), show)


def delete_webhook(*, drop_pending_updates: bool) -> None:
    """Stop sending updates; Telegram keeps them for 24 hours."""

    async def change(api: BotApiClient) -> None:
        await bot_settings.delete_webhook(
            api, drop_pending_updates=drop_pending_updates
        )
        click.echo("webhook deleted")

    run_with_api(load_settings(), change)
