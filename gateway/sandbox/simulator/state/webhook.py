"""The settings of a bot's webhook, as set by setWebhook."""

import time

from gateway.sandbox.simulator.validation import rules, setup_rules
from gateway.sandbox.simulator.validation.rules import Parameters


class Webhook:
    """The settings of a bot's webhook; nothing is delivered here.

    Attributes:
        info: what getWebhookInfo returns.
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
        """The URL of the webhook, or an empty string if there is none."""
        return str(self.info["url"])

    def set(self, parameters: Parameters) -> bool:
        """Store the settings of a setWebhook call; without a URL, remove the webhook.

        Args:
            parameters: the parameters of the call.

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
            parameters: the parameters of the call; one without a URL is always allowed.
            now: the time of a monotonic clock, in seconds.

        Raises:
            ApiError: a 429, because the last call was less than a second ago. This is
                checked before the parameters.
        """
        if not parameters.get("url"):
            return
        if now < self._next_set_at:
            raise rules.too_many_requests(1)
        self._next_set_at = now + 1

    def delete(self) -> bool:
        """Remove the URL, the secret and the last error; keep the allowed updates.

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
        """Store which update types the bot wants, if the call has `allowed_updates`."""
        allowed = setup_rules.allowed_updates(parameters)
        if allowed is not None:
            self.info.pop("allowed_updates", None)
        if allowed:
            self.info["allowed_updates"] = allowed

    def wants(self, kind: str) -> bool:
        """Return whether the bot wants updates of this type."""
        allowed = self.info.get("allowed_updates")
        return kind in allowed if allowed else kind not in setup_rules.OPT_IN_TYPES

    def fail(self, message: str) -> None:
        """Record why a delivery failed. The error stays when later ones succeed."""
        self.info["last_error_date"] = int(time.time())
        self.info["last_error_message"] = message


def drops_pending(parameters: Parameters) -> bool:
    """Return whether a call asks to drop the updates that were not delivered yet."""
    return rules.is_true(parameters.get("drop_pending_updates"))
