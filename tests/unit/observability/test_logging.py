"""Logs: one line of JSON, and no text of a user."""

import io
import json
import logging
from typing import Any

import pytest

from gateway.domain.delivery import DeliveryResult, DeliveryState, SentPart
from gateway.domain.processing_record import Outcome, ProcessingRecord
from gateway.observability.logging import (
    LogLinesHandler,
    RateLimitedLogger,
    log_delivery,
    log_update,
    summarize_error,
)
from tests.support.deliveries import build_message_delivery
from tests.support.waiting import wait_until


@pytest.fixture
def lines() -> Any:  # noqa: ANN401 - a callable that gives parsed JSON
    """Collect what is logged, as parsed lines."""
    output = io.BytesIO()
    handler = LogLinesHandler(output)
    root = logging.getLogger()
    gateway = logging.getLogger("gateway")
    level = gateway.level
    root.addHandler(handler)
    gateway.setLevel(logging.INFO)
    yield lambda: [json.loads(line) for line in output.getvalue().splitlines()]
    root.removeHandler(handler)
    gateway.setLevel(level)


def test_an_update_has_one_line_with_its_ids_and_times(lines: Any) -> None:  # noqa: ANN401 - as above
    """The fields that operators search for are there, times in milliseconds."""
    log_update(
        ProcessingRecord(
            update_id=5,
            update_type="message",
            request_id="1-5",
            telegram_user_id=7,
            route="text",
            outcome=Outcome.DONE,
            queue_seconds=0.0012,
            service_seconds=0.25,
            telegram_seconds=0.1,
        )
    )
    (line,) = lines()
    assert line.pop("time").endswith("Z")
    assert line == {
        "level": "info",
        "logger": "gateway.update",
        "message": "update",
        "request_id": "1-5",
        "update_id": 5,
        "telegram_user_id": 7,
        "update_type": "message",
        "route": "text",
        "outcome": "done",
        "queue_ms": 1.2,
        "service_ms": 250.0,
        "telegram_ms": 100.0,
        "error": None,
    }


def test_a_delivery_has_one_line_without_its_texts(lines: Any) -> None:  # noqa: ANN401 - as above
    """Telegram's description may quote the message."""
    result = DeliveryResult(
        state=DeliveryState.FAILED,
        reason="chat_not_found",
        description="Bad Request: hello",
        sent_parts=(SentPart(7, 31),),
        maybe_repeated=True,
    )
    log_delivery(build_message_delivery("hello"), result, 1.5)
    (line,) = lines()
    assert line.pop("time").endswith("Z")
    assert line == {
        "level": "info",
        "logger": "gateway.delivery",
        "message": "delivery",
        "delivery_id": "0000000000000001",
        "caller": "matching",
        "kind": "send",
        "state": "failed",
        "reason": "chat_not_found",
        "sent_messages": 1,
        "maybe_repeated": True,
        "delivery_ms": 1500.0,
    }


def test_an_error_is_described_without_its_message() -> None:
    """The class and the way to it, but not what it quotes."""
    try:
        raise ValueError("a user's text")
    except ValueError as error:
        described = summarize_error(error)
    assert described.startswith("ValueError < test_logging.py:")
    assert "user" not in described


def test_what_libraries_log_is_cut_to_its_constant_part(lines: Any) -> None:  # noqa: ANN401 - as above
    """Arguments, later lines and messages of errors may quote anything."""
    foreign = logging.getLogger("asyncio")
    try:
        raise ValueError("hush")
    except ValueError:
        foreign.exception("Task failed\nfuture: <Task exception=ValueError('hush')>")
    foreign.warning("took %s", "hush")
    failed, took = lines()
    assert failed["message"] == "Task failed"
    assert failed["error"].startswith("ValueError < ")
    assert took["message"] == "took %s"
    assert "hush" not in json.dumps([failed, took])


def test_an_update_of_any_kind_of_value_makes_a_line(lines: Any) -> None:  # noqa: ANN401 - as above
    """A field that JSON does not know is written as text, not raised."""
    logging.getLogger("gateway.x").warning("odd", extra={"where": {1, 2}.__class__})
    (line,) = lines()
    assert line["message"] == "odd"


def test_updates_are_left_out_where_only_warnings_are_wanted(lines: Any) -> None:  # noqa: ANN401 - as above
    """The short way of their lines asks for the level like any other."""
    logging.getLogger("gateway").setLevel(logging.WARNING)
    log_update(ProcessingRecord(update_id=5))
    assert lines() == []


def test_a_time_is_told_to_the_millisecond() -> None:
    """Also where the second of the line before was another one."""
    output = io.BytesIO()
    handler = LogLinesHandler(output)
    for created in (1_790_000_000.25, 1_790_000_000.9996, 1_790_000_001.0):
        fields = {"name": "gateway.x", "msg": "odd", "created": created}
        handler.handle(logging.makeLogRecord(fields))
    assert [json.loads(line)["time"] for line in output.getvalue().splitlines()] == [
        "2026-09-21T14:13:20.250Z",
        "2026-09-21T14:13:20.999Z",
        "2026-09-21T14:13:21.000Z",
    ]


def test_a_line_tells_which_of_several_workers_wrote_it() -> None:
    """Their lines end up in one stream. The only process has no such name."""
    lines = []
    for worker in ("1", ""):
        output = io.BytesIO()
        handler = LogLinesHandler(output, worker)
        handler.handle(logging.makeLogRecord({"name": "gateway.x", "msg": "odd"}))
        lines.append(json.loads(output.getvalue()))
    assert lines[0]["worker"] == "1"
    assert "worker" not in lines[1]


async def test_what_comes_again_is_counted_and_told_later(lines: Any) -> None:  # noqa: ANN401 - as above
    """The first one is told at once, the others as a number; each message by itself."""
    limited = RateLimitedLogger(logging.getLogger("gateway.x"), seconds=0.05)
    for size in range(100):
        limited.log(logging.WARNING, "odd", size=size)
        limited.log(logging.WARNING, "strange")
    first, other = lines()
    assert (first["message"], first["size"]) == ("odd", 0)
    assert other["message"] == "strange"
    await wait_until(lambda: len(lines()) == 4)
    again, _ = lines()[2:]
    assert (again["message"], again["repeated"]) == ("odd", 99)
    # After a time without any the next one is told at once again.
    await wait_until(lambda: limited.is_quiet)
    limited.log(logging.WARNING, "odd", size=5)
    assert len(lines()) == 5
    assert lines()[-1]["size"] == 5


class _Gone(io.BytesIO):
    """A pipe that nobody reads any more."""

    def write(self, data: object) -> int:
        raise BrokenPipeError


def test_a_line_that_is_too_long_keeps_its_head() -> None:
    """A pipe would not take it in one piece, and memory has to stay bounded."""
    output = io.BytesIO()
    handler = LogLinesHandler(output, "1")
    fields = {"name": "gateway.x", "msg": "odd", "levelname": "ERROR"}
    fields["error"] = "e" * 1_000_000
    handler.handle(logging.makeLogRecord(fields))
    line = json.loads(output.getvalue())
    assert line.pop("time")
    assert line.pop("cut_bytes") > 1_000_000
    assert line == {
        "level": "error",
        "logger": "gateway.x",
        "message": "odd",
        "worker": "1",
    }


def test_an_output_that_fails_stops_nothing() -> None:
    """What cannot be written is lost, and no error comes of it."""
    handler = LogLinesHandler(_Gone())
    root = logging.getLogger()
    root.addHandler(handler)
    level = root.level
    root.setLevel(logging.INFO)
    try:
        log_update(ProcessingRecord(update_id=5))
        logging.getLogger("gateway.x").error("odd")
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
