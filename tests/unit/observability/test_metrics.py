"""Metrics: counted, timed, and bounded in their labels."""

from gateway.domain.delivery import DeliveryResult, DeliveryState
from gateway.domain.processing_record import Outcome, ProcessingRecord
from gateway.observability.metrics import Metrics
from tests.support.deliveries import build_message_delivery


def test_updates_are_counted_by_kind_route_and_outcome() -> None:
    """Each turn adds one, and its times."""
    metrics = Metrics()
    record = ProcessingRecord(
        update_type="message",
        route="text",
        outcome=Outcome.DONE,
        queue_seconds=0.003,
        service_seconds=0.2,
    )
    metrics.observe_update(record)
    metrics.observe_update(record)
    metrics.observe_call("sendMessage", 0.04)
    metrics.add_gauge("gateway_active_actors", "Mailboxes being served.", lambda: 3)
    page = metrics.render().decode()
    for line in (
        'gateway_updates_total{outcome="done",route="text",update_type="message"} 2.0',
        'gateway_queue_wait_seconds_bucket{le="0.005"} 2.0',
        'gateway_service_seconds_sum{route="text"} 0.4',
        'gateway_bot_api_seconds_count{method="sendMessage"} 1.0',
        "gateway_active_actors 3.0",
    ):
        assert line in page


def test_deliveries_are_counted_by_caller_and_end() -> None:
    """Each has one end, and the time until then."""
    metrics = Metrics()
    sent = DeliveryResult(state=DeliveryState.SENT)
    metrics.observe_delivery(build_message_delivery("hello", number=1), sent, 0.2)
    metrics.observe_delivery(build_message_delivery("hello", number=2), sent, 0.4)
    page = metrics.render().decode()
    for line in (
        'gateway_deliveries_total{caller="matching",kind="send",state="sent"} 2.0',
        'gateway_delivery_seconds_bucket{le="0.25",state="sent"} 1.0',
        'gateway_delivery_seconds_count{state="sent"} 2.0',
    ):
        assert line in page
    assert "0000000000000001" not in page  # an id would be a new series each time


def test_no_label_names_a_user() -> None:
    """Ids are for logs: as labels they would grow without bound."""
    metrics = Metrics()
    metrics.observe_update(
        ProcessingRecord(update_id=431500101, telegram_user_id=5510000001)
    )
    page = metrics.render().decode()
    assert "431500101" not in page
    assert "5510000001" not in page


def test_each_bucket_counts_all_that_took_no_longer() -> None:
    """Prometheus takes a bound to be part of its bucket; the last one has no bound."""
    metrics = Metrics()
    assert (
        'gateway_queue_wait_seconds_bucket{le="+Inf"} 0.0' in metrics.render().decode()
    )
    for seconds in (0.25, 0.2501, 31):
        metrics.observe_call("sendMessage", seconds)
    lines = metrics.render().decode().splitlines()
    name = "gateway_bot_api_seconds"
    for bound, count in (("0.1", 0), ("0.25", 1), ("0.5", 2), ("30.0", 2), ("+Inf", 3)):
        line = f'{name}_bucket{{le="{bound}",method="sendMessage"}} {count}.0'
        assert lines.count(line) == 1
    assert f'{name}_sum{{method="sendMessage"}} 31.5001' in lines
    assert f"# TYPE {name} histogram" in lines
