"""The bot's webhook, as setWebhook makes it and getWebhookInfo shows it."""

import time

from gateway.sandbox.simulator.validation import rules, setup_rules
from gateway.sandbox.simulator.validation.rules import ApiError, Parameters


class Webhook:
    """Where updates are sent, and which of them.

    Attributes:
        info: what getWebhookInfo gives back.
        secret_token: sent along with each update. Empty: none.
    """

    def __init__(self) -> None:
        self.info: Parameters = {
            "url": "",
            "has_custom_certificate": False,
            "pending_update_count": 0,
        }
        self.secret_token = ""
        self._next_set_at = 0.0

    @property
    def url(self) -> str:
        """The address. Empty: none."""
        return str(self.info["url"])

    def set(self, parameters: Parameters) -> bool:
        """Carry out setWebhook.

        Returns:
            True if it is another one now; its errors are forgotten then.

        Raises:
            ApiError: Telegram would refuse it; the old one stays.
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
        """Allow setWebhook once a second (telegram-bot-api: Client.cpp).

        Args:
            parameters: of the call; one without an address is always allowed.
            now: the time in seconds, of a clock that never goes back.

        Raises:
            ApiError: it is too early; other faults of the call are not looked at.
        """
        if not parameters.get("url"):
            return
        if now < self._next_set_at:
            words = "Too Many Requests: retry after 1"
            raise ApiError(words, 429, {"retry_after": 1})
        self._next_set_at = now + 1

    def delete(self) -> bool:
        """Forget the address and its errors; what it wanted to hear stays.

        Returns:
            True if there was one.
        """
        had_one = bool(self.url)
        kept = {"has_custom_certificate", "pending_update_count", "allowed_updates"}
        info = {name: self.info[name] for name in kept & self.info.keys()}
        self.info = {"url": "", **info}
        self.secret_token = ""
        return had_one

    def allow(self, parameters: Parameters) -> None:
        """Note which kinds of updates are wanted, if a call says so."""
        allowed = setup_rules.allowed_updates(parameters)
        if allowed is not None:
            self.info.pop("allowed_updates", None)
        if allowed:
            self.info["allowed_updates"] = allowed

    def wants(self, kind: str) -> bool:
        """Tell whether updates of this kind are delivered."""
        allowed = self.info.get("allowed_updates")
        return kind in allowed if allowed else kind not in setup_rules.OPT_IN_TYPES

    def fail(self, message: str) -> None:
        """Note why an update could not be delivered. It stays after the recovery."""
        self.info["last_error_date"] = int(time.time())
        self.info["last_error_message"] = message


def drops_pending(parameters: Parameters) -> bool:
    """Tell whether a call throws away what was not delivered yet."""
    return rules.is_true(parameters.get("drop_pending_updates"))
