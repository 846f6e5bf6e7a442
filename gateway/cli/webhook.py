"""`telegram-gateway webhook`: set, show or delete the webhook at Telegram."""

from datetime import UTC, datetime
from functools import partial

import click

from gateway.bots.offered_updates import list_offered_updates
from gateway.cli.bot_api import run_with_api
from gateway.cli.bot_choice import choose_bots
from gateway.cli.routes import load_route_table
from gateway.config.bots import BotConfig
from gateway.config.settings import load_settings
from gateway.domain.errors import ConfigurationError
from gateway.telegram.bot_api import bot_settings
from gateway.telegram.bot_api.client import BotApiClient
from gateway.telegram.bot_api.webhook_change import WebhookChange
from gateway.telegram.webhook import WEBHOOK_PATH


def set_webhook(name: str | None, *, force: bool, drop_pending_updates: bool) -> None:
    """Make Telegram send the updates of bots to WEBHOOK_URL: all types with a route.

    Args:
        name: the name of a bot in BOTS_FILE; None for all bots that are not polled.
        force: whether to replace a webhook of another address.
        drop_pending_updates: whether Telegram discards the updates that wait there.

    Raises:
        ConfigurationError: a setting is invalid, WEBHOOK_URL is not set, or the bot is
            polled.
        BotApiError: Telegram rejects the webhook or does not answer.
    """
    settings = load_settings()
    table = load_route_table()
    if settings.webhook_url is None:
        raise ConfigurationError(["WEBHOOK_URL: is not set"])
    if not (settings.webhook_url.path or "").endswith(WEBHOOK_PATH):
        click.echo(
            f"telegram-gateway: warning: WEBHOOK_URL does not end with {WEBHOOK_PATH},"
            " where the gateway listens: something in between has to change the path",
            err=True,
        )
    bots = choose_bots(settings, name)
    if name is not None or settings.bots_file is None:
        _refuse_polled(bots[0])
    for bot in bots:
        if bot.updates == "webhook":
            change = WebhookChange(
                bot.build_webhook_url(str(settings.webhook_url)),
                bot.webhook_secrets[0],
                list_offered_updates(bot, table),
                report=click.echo,
                prefix=f"{bot.name}: " if bot.name else "",
            )
            run_with_api(
                settings,
                bot,
                partial(
                    change.make,
                    force=force,
                    drop_pending_updates=drop_pending_updates,
                ),
            )


def _refuse_polled(bot: BotConfig) -> None:
    if bot.updates == "poll":
        problem = "UPDATES: is poll; a webhook would end the polling"
        raise ConfigurationError([f"{bot.name}: {problem}" if bot.name else problem])


def print_webhook(name: str | None) -> None:
    """Print the webhooks of bots, and how Telegram delivers their updates.

    Args:
        name: the name of a bot in BOTS_FILE; None for all bots.

    Raises:
        ConfigurationError: a setting is invalid, or there is no such bot.
        BotApiError: Telegram rejects the token or does not answer.
    """

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

    settings = load_settings()
    for bot in choose_bots(settings, name):
        if bot.name:
            click.echo(f"bot:                  {bot.name}")
        run_with_api(settings, bot, show)


def delete_webhook(name: str | None, *, drop_pending_updates: bool) -> None:
    """Delete the webhooks of bots. Telegram then keeps their updates for 24 hours.

    Args:
        name: the name of a bot in BOTS_FILE; None for all bots.
        drop_pending_updates: whether Telegram discards the updates that wait there.

    Raises:
        ConfigurationError: a setting is invalid, or there is no such bot.
        BotApiError: Telegram rejects the token or does not answer.
    """
    settings = load_settings()
    for bot in choose_bots(settings, name):

        async def change(api: BotApiClient, bot: BotConfig = bot) -> None:
            await bot_settings.delete_webhook(
                api, drop_pending_updates=drop_pending_updates
            )
            prefix = f"{bot.name}: " if bot.name else ""
            click.echo(f"{prefix}webhook deleted")

        run_with_api(settings, bot, change)
