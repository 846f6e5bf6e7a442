"""Log lines as text."""

import time
from collections.abc import Iterator

import pytest

from gateway.observability.text_lines import format_text_line

LINE = {
    "time": "2026-11-30T21:04:05.678Z",
    "level": "warning",
    "logger": "gateway.telegram.polling",
    "message": "polling_failed",
    "error": "getUpdates failed with 502",
    "worker": "",
    "retry_after": None,
    "attempts": 0,
}


@pytest.fixture(autouse=True)
def time_zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Be half an hour from a whole hour, as in India."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "IST-5:30")
        time.tzset()
        yield
    time.tzset()


def test_a_line_has_local_time_level_event_and_the_fields_with_a_value() -> None:
    assert format_text_line(LINE) == (
        b"02:34:05.678 WARNING  polling_failed"
        b" error='getUpdates failed with 502' attempts=0"
    )


def test_a_line_for_a_terminal_has_a_colored_level() -> None:
    assert format_text_line(LINE | {"error": "", "attempts": 2}, in_color=True) == (
        b"02:34:05.678 \x1b[33mWARNING \x1b[0m polling_failed attempts=2"
    )


def test_a_value_never_breaks_the_line_and_never_controls_the_terminal() -> None:
    hostile = "one\ntwo\x1b[2J"
    line = format_text_line(LINE | {"error": hostile, "dropped": {"a\n": 1}})
    assert b"\n" not in line
    assert b"\x1b" not in line
