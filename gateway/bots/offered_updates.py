"""The types of updates that a bot asks Telegram for."""

from collections.abc import Sequence

from gateway.config.bots import BotConfig
from gateway.services.routing.route_table import RouteTable
from gateway.telegram.inbound.update_types import list_allowed_updates

MANAGED_BOT = "managed_bot"
"""The type of updates about the bots that a bot manages (Bot API 9.6)."""


def list_offered_updates(bot: BotConfig, table: RouteTable) -> Sequence[str]:
    """Return the types of updates that the routes offered by a bot need.

    They are the value of `allowed_updates` for Telegram. A bot that manages bots also
    needs the updates about those.

    Args:
        bot: the configuration of the bot.
        table: all routes.
    """
    types = {*table.restrict(bot.services, bot.routes).update_types}
    if bot.manages_bots_of:
        types.add(MANAGED_BOT)
    return list_allowed_updates(sorted(types))
