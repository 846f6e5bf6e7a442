"""Whether the Bot API works, as far as our own requests tell.

Nothing asks on purpose: while replies wait, their retries are the questions. Without
any request there is nothing to be told.
"""

import logging
from collections.abc import Callable

logger = logging.getLogger(__name__)

FAILING_SECONDS = 3.0
"""Requests fail for so long, and none succeeds, before the Bot API counts as failing:
a single request may meet a fault of its own."""

REMEMBERED_SECONDS = 60.0
"""So long after the last failure nothing is known any more."""


class BotApiHealth:
    """What the last requests met.

    Args:
        uptime: seconds on a clock that is never set back.
    """

    def __init__(self, uptime: Callable[[], float]) -> None:
        self._uptime = uptime
        self._first: float | None = None
        """When the first request failed after the last that succeeded."""
        self._last = 0.0
        self._told = False

    @property
    def failing(self) -> bool:
        """True: requests have failed for some seconds, and none has succeeded."""
        if self._first is None or self._last - self._first < FAILING_SECONDS:
            return False
        return self._uptime() - self._last < REMEMBERED_SECONDS

    def note(self, *, works: bool) -> None:
        """Note what a request met.

        Args:
            works: the Bot API answered; a refusal of the call is an answer too.
        """
        if not works:
            self._note_failure()
        elif self._first is not None:
            self._first = None
            if self._told:
                self._told = False
                logger.info("the Bot API works again")

    def _note_failure(self) -> None:
        now = self._uptime()
        if self._first is None or now - self._last >= REMEMBERED_SECONDS:
            self._first = now
        self._last = now
        if not self._told and self.failing:
            self._told = True
            logger.error("the Bot API fails: replies wait and are tried again")
