"""Prometheus metrics.

All labels have bounded values: update types, routes, outcomes and methods come from
short lists in the program.

Concurrency: metrics of each update are plain numbers that only the event loop's thread
changes, because counters and histograms of prometheus_client take a lock for each
change. Other threads use counters of prometheus_client.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from itertools import accumulate

from prometheus_client import CollectorRegistry, Counter, Gauge
from prometheus_client.core import (
    CounterMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector

from gateway.domain.processing_record import ProcessingRecord

_BUCKETS = (
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
    30.0,
)
_BOUNDS = (*map(str, _BUCKETS), "+Inf")


class ProcessMetrics:
    """Metrics that are read from other components whenever the page is rendered."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()

    def add_gauge(self, name: str, description: str, read: Callable[[], float]) -> None:
        """Add a gauge that calls `read` for its value."""
        Gauge(name, description, registry=self._registry).set_function(read)

    def add_counter(
        self, name: str, description: str, read: Callable[[], float]
    ) -> None:
        """Add a counter. Its series is named `name` followed by "_total"."""
        self._registry.register(
            _ReadCollector(lambda: CounterMetricFamily(name, description, value=read()))
        )

    def add_labelled_counter(
        self,
        name: str,
        description: str,
        label: str,
        read: Callable[[], Mapping[str, int]],
    ) -> None:
        """Add a counter with one series for each value of a label.

        Args:
            name: without "_total".
            description: the help text.
            label: the name of the label.
            read: returns the count for each value of the label.
        """

        def family() -> Metric:
            counts = CounterMetricFamily(name, description, labels=[label])
            for value, count in read().items():
                counts.add_metric([value], count)
            return counts

        self._registry.register(_ReadCollector(family))

    def render(self) -> bytes:
        """Return all metrics in the Prometheus text format, version 0.0.4."""
        return generate_latest(self._registry)


class Metrics(ProcessMetrics):
    """The metrics of a process that processes updates."""

    def __init__(self) -> None:
        super().__init__()
        self._updates: defaultdict[tuple[str, str, str], int] = defaultdict(int)
        """Number of updates by update type, route and outcome."""
        self._queue_wait = _Timings(
            "gateway_queue_wait_seconds",
            "From the arrival of an update to the start of its processing.",
        )
        self._service = _Timings(
            "gateway_service_seconds",
            "Time in service calls per update, including the session.",
            "route",
        )
        bot_api = _Timings(
            "gateway_bot_api_seconds",
            "One call of the Bot API, including retries and their delays.",
            "method",
        )
        self.observe_call = bot_api.observe
        """Record the duration of a Bot API call, after the call's method."""
        self._registry.register(_ReadCollector(self._build_updates_family))
        for timings in (self._queue_wait, self._service, bot_api):
            self._registry.register(_ReadCollector(timings.build_family))
        self._rejected_parts = Counter(
            "gateway_rejected_reply_parts",
            "Parts of replies that were omitted because Telegram rejects them.",
            ["reason"],
            registry=self._registry,
        )

    def observe_update(self, record: ProcessingRecord) -> None:
        """Record the outcome and the times of an update."""
        self._updates[record.update_type, record.route, record.outcome] += 1
        if record.queue_seconds:
            self._queue_wait.observe("", record.queue_seconds)
        if record.service_seconds:
            self._service.observe(record.route, record.service_seconds)

    def count_rejected_part(self, reason: str) -> None:
        """Count an omitted part of a reply. Any thread may call this."""
        self._rejected_parts.labels(reason).inc()

    def _build_updates_family(self) -> Metric:
        family = CounterMetricFamily(
            "gateway_updates",
            "Updates by type, route and outcome.",
            labels=["update_type", "route", "outcome"],
        )
        for values, count in self._updates.items():
            family.add_metric(values, count)
        return family


class _Timings:
    """A histogram of seconds, with one series for each value of an optional label.

    Without a label, the series exists from the start.
    """

    def __init__(self, name: str, description: str, label: str = "") -> None:
        self._name = name
        self._description = description
        self._labels = [label] if label else []
        self._series: dict[str, list[float]] = {} if label else {"": _new_series()}
        """By value of the label: the count of each bucket, then the sum."""

    def observe(self, value: str, seconds: float) -> None:
        """Add a duration to the series of a label value, "" without a label."""
        series = self._series.get(value)
        if series is None:
            series = self._series[value] = _new_series()
        series[bisect_left(_BUCKETS, seconds)] += 1
        series[-1] += seconds

    def build_family(self) -> Metric:
        """Return the histogram in the format of prometheus_client."""
        family = HistogramMetricFamily(
            self._name, self._description, labels=self._labels
        )
        for value, (*counts, total) in self._series.items():
            buckets = list(zip(_BOUNDS, accumulate(counts), strict=True))
            family.add_metric([value], buckets, total)
        return family


def _new_series() -> list[float]:
    return [0.0] * (len(_BOUNDS) + 1)


class _ReadCollector(Collector):
    """A collector that builds its metric on each request."""

    def __init__(self, read: Callable[[], Metric]) -> None:
        self._read = read

    def collect(self) -> Iterable[Metric]:
        return [self._read()]

    def describe(self) -> Iterable[Metric]:
        return self.collect()
