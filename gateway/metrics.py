"""What is counted and timed, for Prometheus.

No label has unbounded values: kinds, routes, outcomes and methods all come from short
lists of the program's own. So the series that they pick are kept: looking them up takes
longer than counting.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector

from gateway.domain.turn import Turn

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class ProcessMetrics:
    """Metrics that are read from the rest of the program when they are asked for."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()

    def gauge(self, name: str, meaning: str, read: Callable[[], float]) -> None:
        """Add a gauge."""
        Gauge(name, meaning, registry=self._registry).set_function(read)

    def counter(self, name: str, meaning: str, read: Callable[[], float]) -> None:
        """Add a counter. Its series is called `name` and "_total"."""
        self._registry.register(
            _ReadCollector(lambda: CounterMetricFamily(name, meaning, value=read()))
        )

    def labelled_counter(
        self, name: str, meaning: str, label: str, read: Callable[[], Mapping[str, int]]
    ) -> None:
        """Add a counter with one series for each value of a label.

        Args:
            name: without "_total".
            meaning: what is counted.
            label: the name of the label.
            read: returns the counts by the label's value.
        """

        def family() -> Metric:
            counts = CounterMetricFamily(name, meaning, labels=[label])
            for value, count in read().items():
                counts.add_metric([value], count)
            return counts

        self._registry.register(_ReadCollector(family))

    def page(self) -> bytes:
        """Give all of it in the Prometheus text format, version 0.0.4."""
        return generate_latest(self._registry)


class Metrics(ProcessMetrics):
    """The metrics of a process that serves updates."""

    def __init__(self) -> None:
        super().__init__()
        self._updates = Counter(
            "gateway_updates",
            "Updates by what became of them.",
            ["kind", "route", "outcome"],
            registry=self._registry,
        )
        self._mailbox = Histogram(
            "gateway_mailbox_seconds",
            "From the arrival of an update to the start of its turn.",
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._service = Histogram(
            "gateway_service_seconds",
            "In calls of services, the session included, per update.",
            ["route"],
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._bot_api = Histogram(
            "gateway_bot_api_seconds",
            "One call of the Bot API, its retries and their pauses included.",
            ["method"],
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._reply_faults = Counter(
            "gateway_reply_faults",
            "Parts of replies that were left out because Telegram refuses them.",
            ["fault"],
            registry=self._registry,
        )

        self._kept: dict[tuple[object, ...], Any] = {}

    def observe(self, turn: Turn) -> None:
        """Count and time an update."""
        self._series(self._updates, turn.kind, turn.route, turn.outcome).inc()
        if turn.queue_seconds:
            self._mailbox.observe(turn.queue_seconds)
        if turn.service_seconds:
            self._series(self._service, turn.route).observe(turn.service_seconds)

    def observe_call(self, method: str, seconds: float) -> None:
        """Time a call of the Bot API."""
        self._series(self._bot_api, method).observe(seconds)

    def count_reply_fault(self, fault: str) -> None:
        """Count a part of a reply that was left out."""
        self._series(self._reply_faults, fault).inc()

    def _series(self, metric: Counter | Histogram, *values: str) -> Any:  # noqa: ANN401 - as the metric is
        """Give the series of these label values."""
        key = metric, *values
        series = self._kept.get(key)
        if series is None:
            series = self._kept[key] = metric.labels(*values)
        return series


class _ReadCollector(Collector):
    """A metric that is made when it is asked for."""

    def __init__(self, read: Callable[[], Metric]) -> None:
        self._read = read

    def collect(self) -> Iterable[Metric]:
        return [self._read()]

    def describe(self) -> Iterable[Metric]:
        return self.collect()
