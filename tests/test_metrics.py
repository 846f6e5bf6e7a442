"""Metrics: counted, timed, and bounded in their labels."""

import re

import prometheus_client
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.turn import Outcome, Turn
from gateway.metrics import Metrics


def test_updates_are_counted_by_kind_route_and_outcome() -> None:
    """Each turn adds one, and its times."""
    metrics = Metrics()
    turn = Turn(
        kind="message",
        route="text",
        outcome=Outcome.DONE,
        queue_seconds=0.003,
        service_seconds=0.2,
    )
    metrics.observe(turn)
    metrics.observe(turn)
    metrics.observe_call("sendMessage", 0.04)
    metrics.gauge("gateway_active_actors", "Lanes being served.", lambda: 3)
    page = metrics.page().decode()
    for line in (
        'gateway_updates_total{kind="message",outcome="done",route="text"} 2.0',
        'gateway_mailbox_seconds_bucket{le="0.005"} 2.0',
        'gateway_service_seconds_sum{route="text"} 0.4',
        'gateway_bot_api_seconds_count{method="sendMessage"} 1.0',
        "gateway_active_actors 3.0",
    ):
        assert line in page


def test_no_label_names_a_user() -> None:
    """Ids are for logs: as labels they would grow without bound."""
    metrics = Metrics()
    metrics.observe(Turn(update_id=431500101, telegram_user_id=5510000001))
    page = metrics.page().decode()
    assert "431500101" not in page
    assert "5510000001" not in page


BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(("", "text", 'a "b"')),
            st.sampled_from(BOUNDS) | st.floats(1e-6, 100),
        )
    )
)
def test_the_page_is_what_the_library_makes_of_it(
    calls: list[tuple[str, float]],
) -> None:
    """What is kept here is shown as the library's own metrics would be."""
    registry = prometheus_client.CollectorRegistry()
    counter = prometheus_client.Counter(
        "gateway_reply_faults",
        "Parts of replies that were left out because Telegram refuses them.",
        ["fault"],
        registry=registry,
    )
    histogram = prometheus_client.Histogram(
        "gateway_bot_api_seconds",
        "One call of the Bot API, its repetition included.",
        ["method"],
        buckets=BOUNDS,
        registry=registry,
    )
    metrics = Metrics()
    for name, seconds in calls:
        counter.labels(name).inc()
        histogram.labels(name).observe(seconds)
        metrics.count_reply_fault(name)
        metrics.observe_call(name, seconds)
    wanted = ("gateway_reply_faults", "gateway_bot_api_seconds")
    page = _lines(metrics.page())
    ours = [line for line in page if any(name in line for name in wanted)]
    assert sorted(ours) == sorted(_lines(prometheus_client.generate_latest(registry)))


def _lines(page: bytes) -> list[str]:
    """Give the lines of a page, without the times at which series began."""
    return re.sub(r"(_created.*) \S+e\+09", r"\1", page.decode()).splitlines()
