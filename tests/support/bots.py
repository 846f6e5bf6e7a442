"""Files of bots for tests."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.support.bot_api import make_token

STORE_SECRET = "canary-secret-of-the-store"


class BotsDirectory:
    """A directory with BOTS_FILE and the tokens and secrets that it refers to."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.path = directory / "bots.yaml"
        self.entries: dict[str, dict[str, Any]] = {}

    def add(
        self,
        name: str,
        bot_id: int,
        key: str = "AAkey-of-the-bot",
        *,
        secret: str | None = None,
        **fields: Any,  # noqa: ANN401 - any field
    ) -> None:
        """Add a bot, and write the files."""
        self.write_token(name, make_token(bot_id, key))
        self.write_secret(name, secret or make_secret(name))
        entry = {
            "token_file": f"{name}.token",
            "webhook_secret_file": f"{name}.secret",
        }
        self.entries[name] = entry | fields
        self.write()

    def write_token(self, name: str, token: str) -> None:
        """Write the token of a bot."""
        replace(self._directory / f"{name}.token", token)

    def write_secret(self, name: str, secret: str) -> None:
        """Write the webhook secret of a bot."""
        replace(self._directory / f"{name}.secret", secret)

    def write_previous_secret(self, name: str, secret: str) -> None:
        """Write the previous webhook secret of a bot."""
        replace(self._directory / f"{name}.secret.previous", secret)

    def write(self) -> None:
        """Write BOTS_FILE."""
        self.write_text(yaml.safe_dump({"bots": self.entries}, sort_keys=False))

    def write_text(self, text: str) -> None:
        """Write any text to BOTS_FILE."""
        replace(self.path, text)


def make_secret(name: str) -> str:
    """Return the webhook secret that a bot has at first."""
    return f"canary-webhook-secret-of-{name}"


def replace(path: Path, text: str) -> None:
    """Write a file at once, so that no reader sees a part of it."""
    beside = path.with_name(f"{path.name}.next")
    beside.write_text(text)
    beside.replace(path)


def settings_of_bots(directory: BotsDirectory) -> Mapping[str, Any]:
    """Return the settings of a gateway with these bots, for `running_gateway`."""
    return {
        "bots_file": directory.path,
        "telegram_bot_token": None,
        "telegram_webhook_secret": None,
        "store_secret": STORE_SECRET,
    }
