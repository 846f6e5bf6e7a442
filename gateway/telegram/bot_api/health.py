"""Whether the Bot API works, as far as our own requests tell.

Nothing asks on purpose: while replies wait, their retries are the questions. Without
any request there is nothing to be told.
"""

import logging
from collections.abc import Callable

logger = logging.getLogger(__name__)

FAILING_AFTER_SECONDS = 3.0
"""Requests fail for so long, and none succeeds, before the Bot API counts as failing:
a single request may meet a fault of its own."""

FAILURE_MEMORY_SECONDS = 60.0
"""So long after the last failure nothing is known any more."""


class BotApiHealth:
    """What the last requests met.

    Args:
        uptime: seconds on a clock that is never set back.
    """

    def __init__(self, uptime: Callable[[], float]) -> None:
        self._uptime = uptime
        self._first_failure_at: float | None = None
        """When the first request failed after the last that succeeded."""
        self._last_failure_at = 0.0
        self._is_failure_logged = False

    @property
    def is_failing(self) -> bool:
        """True: requests have failed for some seconds, and none has succeeded."""
        if (
            self._first_failure_at is None
            or self._last_failure_at - self._first_failure_at < FAILING_AFTER_SECONDS
        ):
            return False
        return self._uptime() - self._last_failure_at < FAILURE_MEMORY_SECONDS

    def record_request(self, *, succeeded: bool) -> None:
        """Note what a request met.

        Args:
            succeeded: the Bot API answered; a refusal of the call is an answer too.
        """
        if not succeeded:
            self._record_failure()
        elif self._first_failure_at is not None:
            self._first_failure_at = None
            if self._is_failure_logged:
                self._is_failure_logged = False
                logger.info("the Bot API works again")

    def _record_failure(self) -> None:
        now = self._uptime()
        if (
            self._first_failure_at is None
            or now - self._last_failure_at >= FAILURE_MEMORY_SECONDS
        ):
            self._first_failure_at = now
        self._last_failure_at = now
        if not self._is_failure_logged and self.is_failing:
            self._is_failure_logged = True
            logger.error("the Bot API fails: replies wait and are tried again")
