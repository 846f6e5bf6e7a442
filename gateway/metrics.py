"""What is counted and timed, for Prometheus.

No label has unbounded values: kinds, routes, outcomes and methods all come from short
lists of the program's own.

Concurrency: one event loop counts and reads, so nothing is locked. That is why what is
counted per update is kept here: the library's own metrics lock, and look up labels,
which takes ten times as long.
"""

import time
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate

from prometheus_client import CollectorRegistry, Gauge, Metric
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector

from gateway.domain.turn import Turn

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_BOUNDS = (*(str(float(seconds)) for seconds in _SECONDS), "+Inf")


class Metrics:
    """The metrics of one process."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._updates = _Counter(
            "gateway_updates",
            "Updates by what became of them.",
            ["kind", "route", "outcome"],
        )
        self._mailbox = _Histogram(
            "gateway_mailbox_seconds",
            "From the arrival of an update to the start of its turn.",
        )
        self._service = _Histogram(
            "gateway_service_seconds",
            "In calls of services, the session included, per update.",
            "route",
        )
        self._bot_api = _Histogram(
            "gateway_bot_api_seconds",
            "One call of the Bot API, its repetition included.",
            "method",
        )
        self._reply_faults = _Counter(
            "gateway_reply_faults",
            "Parts of replies that were left out because Telegram refuses them.",
            ["fault"],
        )
        for collector in (
            *(self._updates, self._mailbox, self._service),
            *(self._bot_api, self._reply_faults),
        ):
            self._registry.register(collector)

    def gauge(self, name: str, meaning: str, read: Callable[[], float]) -> None:
        """Add a gauge that is read when it is asked for."""
        Gauge(name, meaning, registry=self._registry).set_function(read)

    def observe(self, turn: Turn) -> None:
        """Count and time an update."""
        self._updates.add(turn.kind, turn.route, turn.outcome)
        if turn.queue_seconds:
            self._mailbox.add(turn.queue_seconds)
        if turn.service_seconds:
            self._service.add(turn.service_seconds, turn.route)

    def observe_call(self, method: str, seconds: float) -> None:
        """Time a call of the Bot API."""
        self._bot_api.add(seconds, method)

    def count_reply_fault(self, fault: str) -> None:
        """Count a part of a reply that was left out."""
        self._reply_faults.add(fault)

    def page(self) -> bytes:
        """Give all of it in the Prometheus text format, version 0.0.4."""
        return generate_latest(self._registry)


class _Counter(Collector):
    """A count for each combination of label values."""

    def __init__(self, name: str, meaning: str, labels: Sequence[str]) -> None:
        self._name, self._meaning, self._labels = name, meaning, labels
        self._counts: dict[tuple[str, ...], int] = {}
        self._created: dict[tuple[str, ...], float] = {}

    def add(self, *values: str) -> None:
        """Count one."""
        try:
            self._counts[values] += 1
        except KeyError:
            self._counts[values] = 1
            self._created[values] = time.time()

    def collect(self) -> Iterable[Metric]:
        """Give it to the writer of the page."""
        family = CounterMetricFamily(self._name, self._meaning, labels=self._labels)
        for values, count in self._counts.items():
            family.add_metric(values, count, self._created[values])
        yield family


class _Histogram(Collector):
    """Times, by the value of a label if there is one."""

    def __init__(self, name: str, meaning: str, label: str = "") -> None:
        self._name, self._meaning = name, meaning
        self._labels = [label] if label else []
        self._times = {} if label else {"": _Times()}

    def add(self, seconds: float, value: str = "") -> None:
        """Note a time."""
        times = self._times.get(value)
        if times is None:
            times = self._times[value] = _Times()
        times.counts[bisect_left(_SECONDS, seconds)] += 1
        times.sum += seconds

    def collect(self) -> Iterable[Metric]:
        """Give it to the writer of the page."""
        family = HistogramMetricFamily(self._name, self._meaning, labels=self._labels)
        for value, times in self._times.items():
            labels = dict.fromkeys(self._labels, value)
            buckets = list(zip(_BOUNDS, accumulate(times.counts), strict=True))
            family.add_metric([*labels.values()], buckets, times.sum)
            family.add_sample(f"{self._name}_created", labels, times.created)
        yield family


class _Times:
    """How many times fall between two bounds, and their sum."""

    __slots__ = ("counts", "created", "sum")

    def __init__(self) -> None:
        self.counts = [0] * len(_BOUNDS)
        self.sum = 0.0
        self.created = time.time()
