"""A gateway with several bots, for tests."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.factories import build_message_json
from tests.support.bot_api import FakeBotApi, make_token
from tests.support.bots import BotsDirectory, make_secret, settings_of_bots
from tests.support.gateway_harness import GatewayHarness, running_gateway

BOTS = {"shop": 101, "news": 102, "help": 103}


class Place:
    """A gateway with several bots, and Telegram."""

    def __init__(
        self, gateway: GatewayHarness, telegram: FakeBotApi, files: BotsDirectory
    ) -> None:
        self.gateway = gateway
        self.telegram = telegram
        self.files = files
        self._next_id = 0

    async def say(
        self,
        bot: str,
        text: str,
        *,
        user: int = 7,
        secret: str | None = None,
        path: str | None = None,
        update_id: int = 0,
    ) -> None:
        """Post a message to a bot as Telegram does."""
        self._next_id += 1
        message = build_message_json(text, user=user)
        update = {"update_id": update_id or self._next_id, "message": message}
        await self.gateway.post(
            json.dumps(update).encode(),
            secret=secret or make_secret(bot),
            path=path or f"/webhook/telegram/{bot}",
        )

    def texts(self, bot: str, user: int = 7) -> list[str]:
        """Return what a bot sent to a user."""
        return self.telegram.bots[BOTS[bot]].texts(user)

    def has_sent(self, bot: str, texts: list[str]) -> bool:
        """Return whether a bot sent exactly these texts to user 7."""
        return self.texts(bot) == texts


@asynccontextmanager
async def running_bots(
    directory: Path,
    names: tuple[str, ...] = tuple(BOTS),
    telegram: FakeBotApi | None = None,
    **changes: Any,  # noqa: ANN401 - any setting
) -> AsyncIterator[Place]:
    """Run a gateway with these bots."""
    directory.mkdir(exist_ok=True)
    files = BotsDirectory(directory)
    telegram = telegram or FakeBotApi()
    for name in names:
        files.add(name, BOTS[name])
        telegram.add(make_token(BOTS[name]))
    async with (
        telegram.serve() as url,
        running_gateway(
            telegram_api_url=url, **(dict(settings_of_bots(files)) | changes)
        ) as gateway,
    ):
        yield Place(gateway, telegram, files)
