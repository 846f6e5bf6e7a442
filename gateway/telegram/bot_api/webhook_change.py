"""Sets a bot's webhook for the command line, and prints what was done."""

from collections.abc import Callable, Sequence

from msgspec import Struct

from gateway.domain.errors import ConfigurationError
from gateway.telegram.bot_api import bot_settings
from gateway.telegram.bot_api.client import BotApiClient


class WebhookChange(Struct, frozen=True):
    """A webhook that is to be set for one bot or for several.

    Attributes:
        url: the URL that Telegram is to send updates to.
        secret: the secret that Telegram is to send with each update.
        update_types: the types of updates to send; empty for Telegram's default.
        report: called with a line of text for everything that was done.
        prefix: the start of the lines, such as the name of a bot.
    """

    url: str
    secret: str
    update_types: Sequence[str]
    report: Callable[[str], object]
    prefix: str = ""

    async def make(
        self, api: BotApiClient, *, force: bool, drop_pending_updates: bool = False
    ) -> None:
        """Set the webhook at Telegram, and report what was done.

        Args:
            api: the bot's client.
            force: True to replace a webhook with another URL; False to raise an error
                instead.
            drop_pending_updates: True to discard the updates that were not delivered
                yet.

        Raises:
            ConfigurationError: there is a webhook with another URL, and `force` is
                false.
            BotApiError: a call failed.
        """
        current = (await bot_settings.get_webhook_info(api)).url
        if current not in {"", self.url} and not force:
            raise ConfigurationError(
                [f"{self.prefix}the webhook is {current} now; --force replaces it"]
            )
        await bot_settings.set_webhook(
            api,
            self.url,
            self.secret,
            allowed_updates=self.update_types,
            drop_pending_updates=drop_pending_updates,
        )
        self.report(f"{self.prefix}webhook set to {self.url}")
        if self.update_types:
            self.report(f"{self.prefix}update types: {', '.join(self.update_types)}")
