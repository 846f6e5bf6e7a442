"""Builds the settings with which the sandbox's gateway serves the simulator's bots."""

import json
import re
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

from gateway.sandbox.server import Simulator
from gateway.sandbox.simulator.bots import make_token

NAME = re.compile(r"[a-z][a-z0-9_]{0,31}")
"""The names of bots: Telegram's usernames that are also names in BOTS_FILE."""
NAME_RULE = "a bot's name has 1 to 32 characters from a-z 0-9 _"
_SECRET_VARIABLE = "SANDBOX_WEBHOOK_SECRET"  # noqa: S105 - the name of a variable


def add_bots(simulator: Simulator, usernames: Sequence[str]) -> None:
    """Add bots with random tokens to the simulator, unless their names exist."""
    known = {bot.profile["username"] for bot in simulator.bots}
    for username in usernames:
        if username not in known:
            newest = max(bot.id for bot in simulator.bots)
            simulator.bots.add(make_token(newest + 1), username.title(), username)


def build_bot_settings(
    simulator: Simulator, webhook_secret: str, directory: Path
) -> dict[str, str]:
    """Return the settings that make the gateway serve the simulator's bots.

    A single bot is set by environment variables. For several, this writes the file that
    the setting BOTS_FILE names.

    Args:
        simulator: the simulator with the bots.
        webhook_secret: the secret of all webhooks.
        directory: where the file is written; it contains no token.

    Returns:
        Environment variables of the gateway, by name.
    """
    bots = list(simulator.bots)
    if len(bots) == 1:
        return {
            "TELEGRAM_BOT_TOKEN": bots[0].token,
            "TELEGRAM_WEBHOOK_SECRET": webhook_secret,
        }
    entries = {
        bot.profile["username"]: {
            "token_env": _token_variable(bot.id),
            "webhook_secret_env": _SECRET_VARIABLE,
        }
        for bot in bots
    }
    path = directory / "bots.yaml"
    path.write_text(json.dumps({"bots": entries}))  # JSON is YAML
    return {
        "BOTS_FILE": str(path),
        # The same for the same chats: it signs the buttons in them.
        "STORE_SECRET": sha256(webhook_secret.encode()).hexdigest(),
        _SECRET_VARIABLE: webhook_secret,
        **{_token_variable(bot.id): bot.token for bot in bots},
    }


def set_webhooks(simulator: Simulator, url: str, webhook_secret: str) -> None:
    """Make the simulator send the updates of all bots to the gateway.

    Args:
        simulator: the simulator with the bots.
        url: the gateway's base URL.
        webhook_secret: the secret of all webhooks.
    """
    usernames = [bot.profile["username"] for bot in simulator.bots]
    for index, bot in enumerate(simulator.bots):
        path = get_webhook_path(usernames, index)
        bot.deliveries.set_webhook({"url": url + path, "secret_token": webhook_secret})


def get_webhook_path(usernames: Sequence[str], index: int = 0) -> str:
    """Return the path of a bot's webhook, which has the bot's name if there are others.

    Args:
        usernames: the usernames of all bots.
        index: the index of the bot in `usernames`.
    """
    path = "/webhook/telegram"
    return f"{path}/{usernames[index]}" if len(usernames) > 1 else path


def find_name_problems(usernames: Sequence[str]) -> list[str]:
    """Return what is wrong with the values of the option `--bot`, one text each."""
    problems = [
        f"--bot {name}: {NAME_RULE}" for name in usernames if not NAME.fullmatch(name)
    ]
    if len(set(usernames)) < len(usernames):
        problems.append("--bot: each bot needs a name of its own")
    return problems


def _token_variable(bot_id: int) -> str:
    return f"SANDBOX_TOKEN_{bot_id}"
