"""The health of a Redis server, as seen by one connection to it."""

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
"""Delays between attempts to connect. Jitter shortens each by up to a half."""

MAX_REFUSED_DELAY_SECONDS = 1.0
"""The longest delay if a server answers but refuses, which usually lasts longer."""

REFUSAL_MEMORY_SECONDS = 2.0
"""How long a server counts as failing after it refused something."""


class ServerHealth:
    """Knows whether a server is failing and since when, as seen by one connection.

    The connection reports to it, and it calls `on_restart` and `on_recovery`. All times
    are by `Clock.uptime`.

    Attributes:
        is_connected: whether there is a connection.
        is_failing: whether the last attempt to use the server failed, or the server
            refused something less than `REFUSAL_MEMORY_SECONDS` ago.
        last_answered_at: the time of the last answer.
        failing_since: the time of the last answer before the current or last failure.
        recovered_at: the time at which the last failure ended.
        problem: the problem that an operator has to fix; an empty string if none is
            known.
        run_id: Redis's id of the server process; empty if unknown.
        on_restart, on_recovery: see `RedisClient.set_health_callbacks`.
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
        """The run id of the last predecessor, and the time of its last answer."""

    def record_connection(self, info: bytes) -> None:
        """Note that a connection was made.

        Calls `on_restart` if the server process is another one than before.

        Args:
            info: the reply to INFO; empty if the server does not permit it.
        """
        self.is_connected = True
        _, _, rest = info.partition(b"run_id:")
        run_id, _, _ = rest.partition(b"\r\n")
        known_run_id, self.run_id = self.run_id, run_id
        if known_run_id and run_id != known_run_id:
            logger.warning("redis_restarted")
            self._refusing_until = 0.0  # the new process has not refused anything
            self.on_restart(self.last_answered_at)
        self.record_answers()

    def record_takeover(self, predecessor: "ServerHealth") -> None:
        """Note that this server has a shard now that another server had before.

        If the other server is failing, or recovered less than `REFUSAL_MEMORY_SECONDS`
        ago, this server was its replica and may lack its last writes. They have to be
        replayed, so `on_restart` is called.

        Args:
            predecessor: the health of the other server.
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
        # Recorded because shards are taken over one by one: one call is enough.
        self._predecessor = lost
        if self.run_id:
            self.on_restart(predecessor.failing_since)
        else:  # still unknown: it may be the same process at another address
            self.run_id, self.last_answered_at = lost

    def record_answers(self) -> None:
        """Note that the server answered a batch without refusing anything.

        Ends a failure, unless the server refused something a moment ago, and then calls
        `on_recovery`.
        """
        now = self.last_answered_at = self._clock.uptime()
        if now < self._refusing_until:
            return
        self._retry_delay = 0.0
        if self.is_failing:
            self.is_failing = False
            self.problem = ""
            self.recovered_at = now
            logger.warning("redis_recovered")
            self.on_recovery(now - self.failing_since)

    def record_failure(self, error: Exception) -> None:
        """Note that the server failed, refused something or cannot be reached.

        The connection counts as closed. The first failure of a series is logged, and
        every new problem for an operator.

        Args:
            error: what failed.
        """
        self.is_connected = False
        is_refusal = isinstance(error, ResponseError)
        if is_refusal and not isinstance(error, NoScriptError):
            self._refusing_until = self._clock.uptime() + REFUSAL_MEMORY_SECONDS
        problem = explain_refusal(error)
        if problem and problem != self.problem:
            self.problem = problem
            logger.error("redis_access_refused", extra={"reason": problem})
        if self.is_failing:
            return
        self.is_failing = True
        self.failing_since = self.last_answered_at
        expected = isinstance(error, RedisError | OSError)
        level = logging.WARNING if expected else logging.ERROR
        logger.log(level, "redis_failing", extra={"error": summarize_error(error)})

    def next_retry_delay(self) -> float:
        """Return the seconds to wait before the next attempt to connect.

        The delay grows with each call, up to a maximum, until the server answers.
        """
        delay = self._retry_delay * random.uniform(0.5, 1)  # noqa: S311 - jitter
        is_refusal = self._clock.uptime() < self._refusing_until
        max_delay = MAX_REFUSED_DELAY_SECONDS if is_refusal else MAX_DELAY_SECONDS
        self._retry_delay = min(
            max(2 * self._retry_delay, MIN_DELAY_SECONDS), max_delay
        )
        return delay
