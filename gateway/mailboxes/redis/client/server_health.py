"""How a server is doing, as one connection to it sees it."""

import logging
import random
from collections.abc import Callable
from math import inf

from redis.exceptions import NoScriptError, RedisError, ResponseError

from gateway.domain.ports import Clock
from gateway.mailboxes.redis.client.refusals import explain_refusal
from gateway.observability.logging import summarize_error

logger = logging.getLogger(__name__)

MIN_DELAY_SECONDS, MAX_DELAY_SECONDS = 0.02, 0.25
"""Seconds between attempts to connect; each may be cut by half, so that they spread."""

MAX_REFUSED_DELAY_SECONDS = 1.0
"""The longest delay for a server that answers, but refuses: that lasts for a while."""

REFUSAL_MEMORY_SECONDS = 2.0
"""A server that refused is failing until it has not refused for so long."""


class ServerHealth:
    """Whether a server fails, and since when. Tells when it is back.

    Attributes:
        is_connected: there is a connection to it.
        is_failing: the last attempt to talk to it failed, or it refused something
            lately.
        last_answered_at: when it answered last, by `Clock.uptime`.
        failing_since: when it had answered last before it failed, this time or last.
        recovered_at: since when it does not fail any more.
        problem: what an operator has to mend, in words. Empty: nothing is known.
        run_id: names the process. Empty: it has not said so yet.
        on_restart, on_return: see `RedisClient.set_health_callbacks`.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.on_restart: Callable[[float], None] = lambda _: None
        self.on_recovery: Callable[[float], None] = lambda _: None
        self.is_connected = False
        self.is_failing = False
        self.problem = ""
        self.last_answered_at = clock.uptime()
        self.failing_since = 0.0
        self.recovered_at = -inf
        self._refusing_until = 0.0
        self._retry_delay = 0.0
        self.run_id = b""
        self._predecessor = b"", 0.0
        """The run id of whom it succeeded last, and when that one had answered last."""

    def record_connection(self, info: bytes) -> None:
        """Note that there is a connection.

        Args:
            info: what the server says of itself. Empty: it does not say.
        """
        self.is_connected = True
        _, _, rest = info.partition(b"run_id:")
        run_id, _, _ = rest.partition(b"\r\n")
        known_run_id, self.run_id = self.run_id, run_id
        if known_run_id and run_id != known_run_id:
            logger.warning("redis is another process than before")
            self._refusing_until = 0.0  # that one refused nothing yet
            self.on_restart(self.last_answered_at)
        self.record_answers()

    def record_takeover(self, predecessor: "ServerHealth") -> None:
        """Have something now that another server had.

        If that one fails, this was its replica, and lacks what it was not sent in time.
        So it is if that one is back already, and says itself who has it now.
        """
        has_recovered = not predecessor.is_failing
        if (
            has_recovered
            and self._clock.uptime()
            >= predecessor.recovered_at + REFUSAL_MEMORY_SECONDS
        ):
            return
        lost = predecessor.run_id, predecessor.failing_since
        if self.run_id == predecessor.run_id or self._predecessor == lost:
            return
        self._predecessor = lost  # it gets its shards one after the other
        if self.run_id:
            self.on_restart(predecessor.failing_since)
        else:  # nobody talked to it yet: it may be the same, at another address
            self.run_id, self.last_answered_at = lost

    def record_answers(self) -> None:
        """Note that it answered all that it was asked."""
        now = self.last_answered_at = self._clock.uptime()
        if now < self._refusing_until:
            return
        self._retry_delay = 0.0
        if self.is_failing:
            self.is_failing = False
            self.problem = ""
            self.recovered_at = now
            logger.warning("redis is back")
            self.on_recovery(now - self.failing_since)

    def record_failure(self, error: Exception) -> None:
        """Note that it did not, or refused something.

        The first of a row is logged, and later ones that an operator has to mend.
        """
        self.is_connected = False
        is_refusal = isinstance(error, ResponseError)
        if is_refusal and not isinstance(error, NoScriptError):
            self._refusing_until = self._clock.uptime() + REFUSAL_MEMORY_SECONDS
        problem = explain_refusal(error)
        if problem and problem != self.problem:
            self.problem = problem
            logger.error("redis refuses this gateway", extra={"reason": problem})
        if self.is_failing:
            return
        self.is_failing = True
        self.failing_since = self.last_answered_at
        expected = isinstance(error, RedisError | OSError)
        level = logging.WARNING if expected else logging.ERROR
        logger.log(level, "redis is failing", extra={"error": summarize_error(error)})

    def next_retry_delay(self) -> float:
        """Give the seconds to wait before the next attempt."""
        delay = self._retry_delay * random.uniform(0.5, 1)  # noqa: S311 - jitter
        is_refusal = self._clock.uptime() < self._refusing_until
        max_delay = MAX_REFUSED_DELAY_SECONDS if is_refusal else MAX_DELAY_SECONDS
        self._retry_delay = min(
            max(2 * self._retry_delay, MIN_DELAY_SECONDS), max_delay
        )
        return delay
