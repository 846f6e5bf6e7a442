"""What happened: each update, how it was delivered, what the gateway told of it."""

import time
from collections import OrderedDict
from itertools import islice

import msgspec
from msgspec import Struct, structs

from gateway.sandbox.simulator.state.event_stream import EventStream
from gateway.sandbox.tracing.trace_model import UpdateTrace

MAX_ENTRIES = 10_000
"""Updates; the oldest go first."""


class UpdateRow(Struct, kw_only=True):
    """An update and its delivery, as a line of a list.

    Attributes:
        update_id: Telegram's number of it.
        kind: such as message or callback_query.
        user_id: who caused it. 0: nobody that is known.
        chat_id: where. 0: in no chat.
        title: what it is about, in a few words.
        sent_at: when it was created, in seconds since the epoch.
        state: waiting, in_flight, failing, accepted, or dropped (it became too old, or
            was thrown away on request).
        attempts: how often it was sent.
        status: the HTTP status of the last answer. 0: there was none.
        accepted_after: seconds until it was accepted. None: it was not yet.
        outcome: what the gateway says became of it.
        seconds: how long the gateway was at it. None: it has not told.
        losses: how many parts of the reply did not reach the user.
    """

    update_id: int
    kind: str
    user_id: int
    chat_id: int
    title: str
    sent_at: float
    state: str = "waiting"
    attempts: int = 0
    status: int = 0
    accepted_after: float | None = None
    outcome: str = ""
    seconds: float | None = None
    losses: int = 0


class LogEntry(Struct):
    """All that is known of an update.

    Attributes:
        row: its line in the list.
        update: the update as it was delivered. None: not by this simulator.
        turn: what the gateway told of it last.
    """

    row: UpdateRow
    update: msgspec.Raw | None
    turn: UpdateTrace | None = None


class UpdateLog:
    """The newest updates, and what became of them.

    Attributes:
        total: how many updates there were, the forgotten ones included.
    """

    def __init__(self, events: EventStream) -> None:
        self.total = 0
        self._events = events
        self._entries: OrderedDict[int, LogEntry] = OrderedDict()
        self._newest_id = 0

    def record(self, row: UpdateRow, body: bytes) -> None:
        """Note an update that was created here. Their ids grow."""
        self._newest_id = row.update_id
        self._add(LogEntry(row, msgspec.Raw(body)))

    def start_attempt(self, update_id: int) -> None:
        """Note that an update is on its way."""
        if entry := self._entries.get(update_id):
            entry.row.attempts += 1
            self._change(entry.row, "in_flight")

    def end_attempt(self, update_id: int, status: int, *, accepted: bool) -> None:
        """Note how an attempt ended; one that was cut off leaves `dropped` alone."""
        entry = self._entries.get(update_id)
        if entry and entry.row.state != "dropped":
            entry.row.status = status
            if accepted:
                entry.row.accepted_after = time.time() - entry.row.sent_at
            self._change(entry.row, "accepted" if accepted else "failing")

    def drop(self, update_id: int) -> None:
        """Note that an update will not be delivered."""
        if entry := self._entries.get(update_id):
            self._change(entry.row, "dropped")

    def add_trace(self, record: UpdateTrace) -> None:
        """Note what the gateway tells; the last word on an update counts.

        An update that came to the gateway in another way, such as by curl, gets a row
        of its own. What is told of an update that was forgotten is ignored.
        """
        entry = self._entries.get(record.update_id)
        if not entry:
            if self._was_forgotten(record.update_id):
                return
            entry = _of_others(record)
            self._add(entry)
        entry.turn = record
        if not entry.update:
            entry.row.kind = record.kind
            entry.row.user_id = record.telegram_user_id
        entry.row.outcome = record.outcome
        entry.row.seconds = _seconds(record)
        entry.row.losses = len(record.losses)
        if self._events.has_listeners:
            # What is long comes with the update itself, for who opens it.
            short = structs.replace(record, request="", reply="")
            self._events.publish("turn", update_id=record.update_id, turn=short)

    def find(self, update_id: int) -> LogEntry | None:
        """Give what is known of an update. None: nothing."""
        return self._entries.get(update_id)

    def rows(self, limit: int, before: int | None = None) -> list[UpdateRow]:
        """List the newest updates, the newest one last.

        Args:
            limit: how many at most.
            before: only such that are older than this one.
        """
        newest_first = iter(reversed(self._entries))
        if before is not None:
            for update_id in newest_first:
                if update_id == before:
                    break
        older = [self._entries[each].row for each in islice(newest_first, limit)]
        return older[::-1]

    def _was_forgotten(self, update_id: int) -> bool:
        return len(self._entries) < self.total and update_id <= self._newest_id

    def _add(self, entry: LogEntry) -> None:
        self.total += 1
        self._entries[entry.row.update_id] = entry
        if len(self._entries) > MAX_ENTRIES:
            self._entries.popitem(last=False)
        self._events.publish("update", row=entry.row)

    def _change(self, row: UpdateRow, state: str) -> None:
        row.state = state
        self._events.publish("update", row=row)


def _seconds(record: UpdateTrace) -> float | None:
    if not record.steps:
        return None
    start = min(step.start for step in record.steps)
    return max(step.end for step in record.steps) - start


def _of_others(record: UpdateTrace) -> LogEntry:
    start = min((step.start for step in record.steps), default=time.time())
    row = UpdateRow(
        update_id=record.update_id,
        kind=record.kind,
        user_id=record.telegram_user_id,
        chat_id=0,
        title="(delivered by somebody else)",
        sent_at=start,
        state="accepted",
    )
    return LogEntry(row, None)
