"""Detects from the gateway's own requests whether the Bot API works.

There are no probes: while replies wait, their retries show when the Bot API works
again. Without requests there is nothing to report.
"""

import logging
from collections.abc import Callable

logger = logging.getLogger(__name__)

FAILING_AFTER_SECONDS = 3.0
"""Seconds of failures without a success after which the Bot API counts as failing: a
single request may fail for a reason of its own."""

FAILURE_MEMORY_SECONDS = 60.0
"""Seconds after which a failure that is not followed by another one is forgotten."""


class BotApiHealth:
    """Concludes from the latest requests whether the Bot API works, and logs changes.

    Args:
        uptime: returns the seconds of a monotonic clock.
    """

    def __init__(self, uptime: Callable[[], float]) -> None:
        self._uptime = uptime
        self.first_failure_at: float | None = None
        """When the first request after the last success failed; None if none did. In
        that case a success changes nothing and need not be recorded."""
        self._last_failure_at = 0.0
        self._is_failure_logged = False

    @property
    def is_failing(self) -> bool:
        """Whether requests have failed for 3 s or more, without a success since.

        False again a minute after the latest failure.
        """
        if (
            self.first_failure_at is None
            or self._last_failure_at - self.first_failure_at < FAILING_AFTER_SECONDS
        ):
            return False
        return self._uptime() - self._last_failure_at < FAILURE_MEMORY_SECONDS

    def record_request(self, *, succeeded: bool) -> None:
        """Record the outcome of a request; log when the Bot API fails or recovers.

        Args:
            succeeded: True if the Bot API responded, also if it rejected the call;
                False if no response arrived or the server had a temporary problem.
        """
        if not succeeded:
            self._record_failure()
        elif self.first_failure_at is not None:
            self.first_failure_at = None
            if self._is_failure_logged:
                self._is_failure_logged = False
                logger.info("bot_api_recovered")

    def _record_failure(self) -> None:
        now = self._uptime()
        if (
            self.first_failure_at is None
            or now - self._last_failure_at >= FAILURE_MEMORY_SECONDS
        ):
            self.first_failure_at = now
        self._last_failure_at = now
        if not self._is_failure_logged and self.is_failing:
            self._is_failure_logged = True
            logger.error("bot_api_failing")
