"""The quotas of callers: token buckets, one per caller in each worker."""

from collections.abc import Callable

from msgspec import Struct

from gateway.config.delivery_callers import Quota


class _Bucket(Struct):
    """A token bucket.

    Attributes:
        quota: the quota for which it was made.
        tokens: the deliveries that the caller may ask for now.
        updated_at: when `tokens` was computed.
    """

    quota: Quota
    tokens: float
    updated_at: float


class CallerQuotas:
    """Limits how many deliveries each caller may ask this process for.

    The workers do not share their counts: each grants an equal part of the rate of a
    quota and of its burst, but a burst of at least one.

    Args:
        workers: the number of workers of the gateway.
        uptime: returns the seconds of a monotonic clock.
    """

    def __init__(self, workers: int, uptime: Callable[[], float]) -> None:
        self._workers = workers
        self._uptime = uptime
        self._buckets: dict[str, _Bucket] = {}

    def take(self, caller: str, quota: Quota) -> float:
        """Count one delivery (or broadcast) of a caller if its quota allows that.

        Args:
            caller: the name of the caller.
            quota: the quota of the caller. If it has changed, the count starts anew.

        Returns:
            0 if the quota allows the delivery. Otherwise nothing was counted, and it is
            the number of seconds until the quota would allow it.
        """
        now = self._uptime()
        rate = quota.per_second / self._workers
        burst = max(quota.burst / self._workers, 1.0)
        bucket = self._buckets.get(caller)
        if bucket is None or bucket.quota != quota:
            bucket = self._buckets[caller] = _Bucket(quota, burst, now)
        bucket.tokens = min(burst, bucket.tokens + (now - bucket.updated_at) * rate)
        bucket.updated_at = now
        if bucket.tokens < 1:
            return (1 - bucket.tokens) / rate
        bucket.tokens -= 1
        return 0
