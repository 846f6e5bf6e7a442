"""What happened: the newest updates, and nothing twice."""

import pytest

from gateway.sandbox.simulator.state import update_log as module
from gateway.sandbox.simulator.state.event_stream import EventStream
from gateway.sandbox.simulator.state.update_log import UpdateLog, UpdateRow
from gateway.sandbox.tracing.trace_model import Step, UpdateTrace


def noted(update_log: UpdateLog, *update_ids: int) -> None:
    """Note messages with these ids."""
    for update_id in update_ids:
        row = UpdateRow(
            update_id=update_id,
            kind="message",
            user_id=1001,
            chat_id=1001,
            title="hello",
            sent_at=1.0,
        )
        update_log.record(row, b"{}")


def ids(rows: list[UpdateRow]) -> list[int]:
    """Take the ids of rows."""
    return [row.update_id for row in rows]


def test_older_updates_are_listed_page_by_page() -> None:
    """Each page ends where the one before it began."""
    update_log = UpdateLog(EventStream())
    noted(update_log, 1, 2, 3, 4, 5)
    assert ids(update_log.rows(2)) == [4, 5]
    assert ids(update_log.rows(2, before=4)) == [2, 3]
    assert ids(update_log.rows(2, before=2)) == [1]
    assert update_log.rows(2, before=1) == []
    assert update_log.rows(2, before=77) == []


def test_only_the_newest_updates_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """All are counted; what is told of a forgotten one leaves no trace."""
    monkeypatch.setattr(module, "MAX_ENTRIES", 3)
    update_log = UpdateLog(EventStream())
    noted(update_log, 1, 2, 3, 4, 5)
    update_log.start_attempt(1)
    update_log.end_attempt(1, 200, accepted=True)
    update_log.drop(2)
    update_log.add_trace(UpdateTrace(update_id=1, outcome="replied"))
    assert ids(update_log.rows(10)) == [3, 4, 5]
    assert update_log.total == 5


def test_attempts_show_in_the_row() -> None:
    """How many, how the last one ended, and how long it took in all."""
    update_log = UpdateLog(EventStream())
    noted(update_log, 1)
    (row,) = update_log.rows(1)
    assert (row.state, row.attempts, row.status) == ("waiting", 0, 0)
    update_log.start_attempt(1)
    assert (row.state, row.attempts) == ("in_flight", 1)
    update_log.end_attempt(1, 502, accepted=False)
    assert (row.state, row.status, row.accepted_after) == ("failing", 502, None)
    update_log.start_attempt(1)
    update_log.end_attempt(1, 200, accepted=True)
    assert (row.state, row.attempts, row.status) == ("accepted", 2, 200)
    assert row.accepted_after is not None


def test_the_last_word_of_the_gateway_counts() -> None:
    """It may tell of an update several times."""
    update_log = UpdateLog(EventStream())
    noted(update_log, 1)
    update_log.add_trace(UpdateTrace(update_id=1))
    update_log.add_trace(UpdateTrace(update_id=1, outcome="replied"))
    entry = update_log.find(1)
    assert entry
    assert entry.turn == UpdateTrace(update_id=1, outcome="replied")
    assert entry.row.outcome == "replied"


def test_an_update_that_came_by_curl_gets_a_row() -> None:
    """From what the gateway tells of it."""
    update_log = UpdateLog(EventStream())
    noted(update_log, 1)
    received = Step(name="received", start=5.0, end=6.0)
    told = UpdateTrace(
        update_id=99,
        kind="message",
        telegram_user_id=7,
        outcome="replied",
        steps=(received,),
    )
    update_log.add_trace(UpdateTrace(update_id=99, steps=(received,)))
    update_log.add_trace(told)
    row = update_log.rows(1)[0]
    assert (row.update_id, row.kind, row.user_id) == (99, "message", 7)
    assert (row.sent_at, row.outcome) == (5.0, "replied")
    entry = update_log.find(99)
    assert entry
    assert entry.update is None


def test_a_row_says_how_long_the_gateway_was_at_it() -> None:
    """From the start of the first step to the end of the last one."""
    update_log = UpdateLog(EventStream())
    noted(update_log, 1)
    (row,) = update_log.rows(1)
    update_log.add_trace(UpdateTrace(update_id=1))
    assert row.seconds is None
    steps = (
        Step(name="session", start=11.0, end=12.0),
        Step(name="call", start=10.0, end=10.5),
    )
    update_log.add_trace(UpdateTrace(update_id=1, steps=steps))
    assert row.seconds == 2.0


def test_what_was_dropped_stays_dropped() -> None:
    """An attempt that was cut off by it does not make it fail."""
    update_log = UpdateLog(EventStream())
    noted(update_log, 1)
    (row,) = update_log.rows(1)
    update_log.start_attempt(1)
    update_log.drop(1)
    update_log.end_attempt(1, 0, accepted=False)
    assert row.state == "dropped"
