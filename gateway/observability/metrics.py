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
from functools import partial
from itertools import accumulate
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector

from gateway.domain.delivery import Delivery, DeliveryResult
from gateway.domain.processing_record import ProcessingRecord

MAX_BOT_LABELS = 100
"""The number of bots with a name of their own in metrics. All others share one."""

_OTHER_BOTS = "other"

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
    """A set of metrics whose values are read whenever the page is rendered.

    The functions that are passed to `add_...` return the present values. They are
    called in the thread that calls `render`, and must be quick.
    """

    def __init__(self) -> None:
        self._registry = CollectorRegistry()

    def add_gauge(self, name: str, description: str, read: Callable[[], float]) -> None:
        """Add a gauge, a number that may rise and fall.

        Args:
            name: the name of the metric.
            description: the help text on the metrics page.
            read: returns the present value.
        """
        Gauge(name, description, registry=self._registry).set_function(read)

    def add_labelled_gauge(
        self,
        name: str,
        description: str,
        label: str | tuple[str, ...],
        read: Callable[[], Mapping[Any, float]],
    ) -> None:
        """Add a gauge with one series for each value of a label, or of several labels.

        Args:
            name: the name of the metric.
            description: the help text on the metrics page.
            label: the name of the label, or a tuple of the names of several.
            read: returns the present number for each value of the label, or for each
                tuple of values of several labels.
        """
        labels = (label,) if isinstance(label, str) else label

        def family() -> Metric:
            gauge = GaugeMetricFamily(name, description, labels=labels)
            for value, number in read().items():
                gauge.add_metric((value,) if isinstance(value, str) else value, number)
            return gauge

        self._registry.register(_ReadCollector(family))

    def add_counter(
        self, name: str, description: str, read: Callable[[], float]
    ) -> None:
        """Add a counter, a number that only grows.

        Args:
            name: the name of the metric, without "_total", which is appended.
            description: the help text on the metrics page.
            read: returns the count since the start of this process.
        """
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
            name: the name of the metric, without "_total", which is appended.
            description: the help text on the metrics page.
            label: the name of the label.
            read: returns the count since the start for each value of the label.
        """

        def family() -> Metric:
            counts = CounterMetricFamily(name, description, labels=[label])
            for value, count in read().items():
                counts.add_metric([value], count)
            return counts

        self._registry.register(_ReadCollector(family))

    def add_histogram(
        self, name: str, description: str, label: str = ""
    ) -> Callable[[str, float], None]:
        """Add a histogram of durations in seconds.

        It has one series for each value of a label, which begins with its first
        duration. Without a label it has one series, which exists from the start.

        Args:
            name: the name of the metric.
            description: the help text on the metrics page.
            label: the name of the label; an empty string for no label.

        Returns:
            A function that adds a duration. Its arguments are the value of the label
            (an empty string without a label) and the seconds. Only the event loop's
            thread may call it.
        """
        series: dict[str, list[float]] = {} if label else {"": _new_series()}
        """By value of the label: the count of each bucket, then the sum."""

        def family() -> Metric:
            histogram = HistogramMetricFamily(
                name, description, labels=[label] if label else []
            )
            for value, (*counts, total) in series.items():
                buckets = list(zip(_BOUNDS, accumulate(counts), strict=True))
                histogram.add_metric([value], buckets, total)
            return histogram

        self._registry.register(_ReadCollector(family))
        return partial(_observe, series)

    def render(self) -> bytes:
        """Return all metrics in the Prometheus text format, version 0.0.4."""
        return generate_latest(self._registry)


class Metrics(ProcessMetrics):
    """The metrics of a process that processes updates and deliveries.

    Args:
        has_names: whether bots have names in BOTS_FILE, so that updates are counted by
            bot. Beyond `MAX_BOT_LABELS` bots the others are counted as "other".
    """

    def __init__(self, *, has_names: bool = False) -> None:
        super().__init__()
        self._has_names = has_names
        self._bots: dict[str, str] = {}
        """The values of the label, by name."""
        self._updates: defaultdict[tuple[str, ...], int] = defaultdict(int)
        """Number of updates by update type, route and outcome, and bot if these have
        names."""
        self._registry.register(_ReadCollector(self._build_updates_family))
        self._observe_queue_wait = self.add_histogram(
            "gateway_queue_wait_seconds",
            "From the arrival of an update to the start of its processing.",
        )
        self._observe_service = self.add_histogram(
            "gateway_service_seconds",
            "Time in service calls per update, including the session.",
            "route",
        )
        self.observe_call = self.add_histogram(
            "gateway_bot_api_seconds",
            "One call of the Bot API, including retries and their delays.",
            "method",
        )
        """Record the duration of a Bot API call: the arguments are the method and the
        seconds."""
        self._deliveries: defaultdict[tuple[str, str, str], int] = defaultdict(int)
        """Number of ended deliveries by caller, kind and state."""
        self._registry.register(_ReadCollector(self._build_deliveries_family))
        self._observe_delivery_wait = self.add_histogram(
            "gateway_delivery_seconds",
            "From the acceptance or earliest time of a delivery to its end.",
            "state",
        )
        self._rejected_parts = Counter(
            "gateway_rejected_reply_parts",
            "Parts of replies that were omitted because Telegram rejects them.",
            ["reason"],
            registry=self._registry,
        )

    def observe_update(self, record: ProcessingRecord) -> None:
        """Count a processed update, and record how long it waited and was in services.

        Args:
            record: what is known about the update.
        """
        route = record.route or ""
        if record.bot:
            bot = self._bots.get(record.bot) or self._add_bot(record.bot)
            self._updates[record.update_type, route, record.outcome, bot] += 1
        else:
            self._updates[record.update_type, route, record.outcome] += 1
        if record.queue_seconds:
            self._observe_queue_wait("", record.queue_seconds)
        if record.service_seconds:
            self._observe_service(route, record.service_seconds)

    def observe_delivery(
        self, delivery: Delivery, result: DeliveryResult, seconds: float
    ) -> None:
        """Count a delivery that has ended, and record how long it took.

        Args:
            delivery: the delivery.
            result: how the delivery ended.
            seconds: the time from its acceptance, or from its `not_before` if that is
                later, to its end.
        """
        self._deliveries[delivery.caller, delivery.kind, result.state] += 1
        self._observe_delivery_wait(result.state, seconds)

    def count_rejected_part(self, reason: str) -> None:
        """Count a part that was left out of a reply. Any thread may call this.

        Args:
            reason: why Telegram would reject the part; one of a small number of words.
        """
        self._rejected_parts.labels(reason).inc()

    def _add_bot(self, name: str) -> str:
        """Return the value of the label for a bot that had no update before."""
        value = name if len(self._bots) < MAX_BOT_LABELS else _OTHER_BOTS
        self._bots[name] = value
        return value

    def _build_updates_family(self) -> Metric:
        family = CounterMetricFamily(
            "gateway_updates",
            "Updates by type, route, outcome and, if the bots have names, bot.",
            labels=["update_type", "route", "outcome", "bot"][: 3 + self._has_names],
        )
        for values, count in self._updates.items():
            # A request to a path without a bot has no name.
            is_padded = self._has_names and len(values) == 3
            family.add_metric((*values, "") if is_padded else values, count)
        return family

    def _build_deliveries_family(self) -> Metric:
        family = CounterMetricFamily(
            "gateway_deliveries",
            "Ended deliveries by caller, kind and state.",
            labels=["caller", "kind", "state"],
        )
        for values, count in self._deliveries.items():
            family.add_metric(values, count)
        return family


def _observe(series: dict[str, list[float]], value: str, seconds: float) -> None:
    """Add a duration to the series of a label value."""
    counts = series.get(value)
    if counts is None:
        counts = series[value] = _new_series()
    counts[bisect_left(_BUCKETS, seconds)] += 1
    counts[-1] += seconds


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
