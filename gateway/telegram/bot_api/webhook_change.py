"""Sets a webhook, and says what was done."""

from collections.abc import Callable, Sequence

from msgspec import Struct

from gateway.domain.errors import ConfigurationError
from gateway.telegram.bot_api import bot_settings
from gateway.telegram.bot_api.client import BotApiClient


class WebhookChange(Struct, frozen=True):
    """A webhook that is to be set.

    Attributes:
        url: the address.
        secret: the secret that Telegram is to send.
        update_types: the types of updates to send.
        report: called with a line for each step.
        prefix: the start of the lines.
    """

    url: str
    secret: str
    update_types: Sequence[str]
    report: Callable[[str], object]
    prefix: str = ""

    async def make(
        self, api: BotApiClient, *, force: bool, drop_pending_updates: bool = False
    ) -> None:
        """Set the webhook and report what was done.

        Raises:
            ConfigurationError: there is another webhook, and `force` is false.
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
