"""The bot's webhook, as set by setWebhook and returned by getWebhookInfo."""

import time

from gateway.sandbox.simulator.validation import rules, setup_rules
from gateway.sandbox.simulator.validation.rules import Parameters


class Webhook:
    """The webhook settings of the bot.

    Attributes:
        info: the result of getWebhookInfo.
        secret_token: sent with each update; an empty string if there is none.
    """

    def __init__(self) -> None:
        self.info: Parameters = {}
        self.secret_token = ""
        self._next_set_at = 0.0
        self.reset()

    def reset(self) -> None:
        """Forget all settings, as Telegram does with those of a revoked token."""
        self.info = {
            "url": "",
            "has_custom_certificate": False,
            "pending_update_count": 0,
        }
        self.secret_token = ""
        self._next_set_at = 0.0

    @property
    def url(self) -> str:
        """The URL, or an empty string if there is none."""
        return str(self.info["url"])

    def set(self, parameters: Parameters) -> bool:
        """Execute setWebhook.

        Returns:
            Whether the settings changed; a change also clears the last error.

        Raises:
            ApiError: the parameters are invalid; the settings stay as they were.
        """
        if not parameters.get("url"):
            return self.delete()
        settings = setup_rules.webhook(parameters)
        secret_token = str(parameters.get("secret_token", ""))
        self.allow(parameters)
        if settings.items() <= self.info.items() and secret_token == self.secret_token:
            return False
        self.delete()
        self.info |= settings
        self.secret_token = secret_token
        return True

    def hold_back(self, parameters: Parameters, now: float) -> None:
        """Limit setWebhook to once a second (telegram-bot-api: Client.cpp).

        Args:
            parameters: of the call; one without a URL is always allowed.
            now: the time of a monotonic clock, in seconds.

        Raises:
            ApiError: it is too early; this is checked before the other parameters.
        """
        if not parameters.get("url"):
            return
        if now < self._next_set_at:
            raise rules.too_many_requests(1)
        self._next_set_at = now + 1

    def delete(self) -> bool:
        """Remove the URL and the last error, but keep the allowed updates.

        Returns:
            Whether there was a webhook.
        """
        had_one = bool(self.url)
        kept = {"has_custom_certificate", "pending_update_count", "allowed_updates"}
        info = {name: self.info[name] for name in kept & self.info.keys()}
        self.info = {"url": "", **info}
        self.secret_token = ""
        return had_one

    def allow(self, parameters: Parameters) -> None:
        """Set the allowed update types, if the call has this parameter."""
        allowed = setup_rules.allowed_updates(parameters)
        if allowed is not None:
            self.info.pop("allowed_updates", None)
        if allowed:
            self.info["allowed_updates"] = allowed

    def wants(self, kind: str) -> bool:
        """Return whether updates of this type are delivered."""
        allowed = self.info.get("allowed_updates")
        return kind in allowed if allowed else kind not in setup_rules.OPT_IN_TYPES

    def fail(self, message: str) -> None:
        """Record why a delivery failed. The error stays after the recovery."""
        self.info["last_error_date"] = int(time.time())
        self.info["last_error_message"] = message


def drops_pending(parameters: Parameters) -> bool:
    """Return whether a call drops the pending updates."""
    return rules.is_true(parameters.get("drop_pending_updates"))
