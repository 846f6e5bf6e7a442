"""Chooses the bots that a command is about, without importing the Bot API client."""

from collections.abc import Sequence

from gateway.config.bots import BotConfig, load_bots
from gateway.config.settings import Settings
from gateway.domain.errors import ConfigurationError


def choose_bots(settings: Settings, name: str | None) -> Sequence[BotConfig]:
    """Return the bot with a name as the only one; without a name, return all bots.

    Args:
        settings: the gateway's settings.
        name: the name of a bot in BOTS_FILE; None for all bots.

    Raises:
        ConfigurationError: there is no bot with this name, or BOTS_FILE is invalid.
    """
    bots = load_bots(settings)
    if name is None:
        return list(bots.values())
    if not name or name not in bots:
        raise ConfigurationError([f"there is no bot {name!r} in BOTS_FILE"])
    return [bots[name]]
