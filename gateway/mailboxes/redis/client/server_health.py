"""How a server is doing, as one connection to it sees it."""

import logging
import random
from collections.abc import Callable
from math import inf

from redis.exceptions import NoScriptError, RedisError, ResponseError

from gateway.domain.ports import Clock
from gateway.logs import describe
from gateway.mailboxes.redis.client.refusals import explain_refusal

logger = logging.getLogger(__name__)

FIRST_DELAY, LONGEST_DELAY = 0.02, 0.25
"""Seconds between attempts to connect; each may be cut by half, so that they spread."""

REFUSED_DELAY = 1.0
"""The longest delay for a server that answers, but refuses: that lasts for a while."""

CALM_SECONDS = 2.0
"""A server that refused is failing until it has not refused for so long."""


class Server:
    """Whether a server fails, and since when. Tells when it is back.

    Attributes:
        reachable: there is a connection to it.
        failing: the last attempt to talk to it failed, or it refused something lately.
        answered: when it answered last, by `Clock.uptime`.
        failing_since: when it had answered last before it failed, this time or last.
        back_at: since when it does not fail any more.
        problem: what an operator has to mend, in words. Empty: nothing is known.
        run_id: names the process. Empty: it has not said so yet.
        on_restart, on_return: see `Submits.listen`.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.on_restart: Callable[[float], None] = lambda _: None
        self.on_return: Callable[[float], None] = lambda _: None
        self.reachable = False
        self.failing = False
        self.problem = ""
        self.answered = clock.uptime()
        self.failing_since = 0.0
        self.back_at = -inf
        self._calm_at = 0.0
        self._delay = 0.0
        self.run_id = b""
        self._succeeded = b"", 0.0
        """The run id of whom it succeeded last, and when that one had answered last."""

    def greet(self, info: bytes) -> None:
        """Note that there is a connection.

        Args:
            info: what the server says of itself. Empty: it does not say.
        """
        self.reachable = True
        _, _, rest = info.partition(b"run_id:")
        run_id, _, _ = rest.partition(b"\r\n")
        known, self.run_id = self.run_id, run_id
        if known and run_id != known:
            logger.warning("redis is another process than before")
            self._calm_at = 0.0  # that one refused nothing yet
            self.on_restart(self.answered)
        self.note_answers()

    def succeed(self, other: "Server") -> None:
        """Have something now that another server had.

        If that one fails, this was its replica, and lacks what it was not sent in time.
        So it is if that one is back already, and says itself who has it now.
        """
        back = not other.failing
        if back and self._clock.uptime() >= other.back_at + CALM_SECONDS:
            return
        lost = other.run_id, other.failing_since
        if self.run_id == other.run_id or self._succeeded == lost:
            return
        self._succeeded = lost  # it gets its shards one after the other
        if self.run_id:
            self.on_restart(other.failing_since)
        else:  # nobody talked to it yet: it may be the same, at another address
            self.run_id, self.answered = lost

    def note_answers(self) -> None:
        """Note that it answered all that it was asked."""
        now = self.answered = self._clock.uptime()
        if now < self._calm_at:
            return
        self._delay = 0.0
        if self.failing:
            self.failing = False
            self.problem = ""
            self.back_at = now
            logger.warning("redis is back")
            self.on_return(now - self.failing_since)

    def note_failure(self, error: Exception) -> None:
        """Note that it did not, or refused something.

        The first of a row is logged, and later ones that an operator has to mend.
        """
        self.reachable = False
        refused = isinstance(error, ResponseError)
        if refused and not isinstance(error, NoScriptError):
            self._calm_at = self._clock.uptime() + CALM_SECONDS
        problem = explain_refusal(error)
        if problem and problem != self.problem:
            self.problem = problem
            logger.error("redis refuses this gateway", extra={"reason": problem})
        if self.failing:
            return
        self.failing = True
        self.failing_since = self.answered
        expected = isinstance(error, RedisError | OSError)
        level = logging.WARNING if expected else logging.ERROR
        logger.log(level, "redis is failing", extra={"error": describe(error)})

    def pause(self) -> float:
        """Give the seconds to wait before the next attempt."""
        pause = self._delay * random.uniform(0.5, 1)  # noqa: S311 - jitter
        refused = self._clock.uptime() < self._calm_at
        longest = REFUSED_DELAY if refused else LONGEST_DELAY
        self._delay = min(max(2 * self._delay, FIRST_DELAY), longest)
        return pause
