"""The log of updates: how they were delivered, and how the gateway processed them."""

import time
from collections import OrderedDict
from itertools import islice

import msgspec
from msgspec import Struct, structs

from gateway.sandbox.simulator.state.event_stream import EventStream
from gateway.sandbox.tracing.trace_model import UpdateTrace

MAX_ENTRIES = 10_000
"""Maximum number of updates; the oldest are dropped first."""


class UpdateRow(Struct, kw_only=True):
    """The summary of an update and its delivery, as a page lists it.

    Attributes:
        update_id: the id of the update, which is unique for its bot.
        bot_id: the id of the bot, or 0 if it is unknown.
        kind: the update type, such as message or callback_query.
        user_id: the user who caused the update, or 0 if unknown.
        chat_id: the chat, or 0 if there is none.
        title: a short description.
        sent_at: when the update was created, in seconds since the epoch.
        state: waiting, in_flight, failing, accepted, or dropped (it expired, or was
            dropped on request).
        attempts: the number of delivery attempts.
        status: the HTTP status of the last response, or 0 if there was none.
        accepted_after: seconds from creation to acceptance; None if it is not accepted.
        outcome: the outcome that the gateway reported, or an empty string.
        seconds: the processing time in the gateway; None if it was not reported.
        losses: the number of reply parts that did not reach the user.
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
    bot_id: int = 0


class LogEntry(Struct):
    """An update with its delivery and its processing by the gateway.

    Attributes:
        row: the summary.
        update: the delivered JSON; None if this simulator did not deliver the update.
        turn: the latest trace from the gateway; None if none has come.
    """

    row: UpdateRow
    update: msgspec.Raw | None
    turn: UpdateTrace | None = None


class UpdateLog:
    """The newest 10,000 updates of all bots. Changes are published as events.

    Attributes:
        total: the number of all updates, including those that were forgotten.
    """

    def __init__(self, events: EventStream) -> None:
        self.total = 0
        self._events = events
        self._entries: OrderedDict[tuple[int, int], LogEntry] = OrderedDict()
        # For updates of unknown bots: the bot that had an update with this id last.
        self._bot_ids: dict[int, int] = {}
        self._newest_ids: dict[int, int] = {}

    def record(self, row: UpdateRow, body: bytes) -> None:
        """Add an update that was created here.

        Args:
            row: the summary. The ids of a bot's updates must be ascending.
            body: the update as JSON.
        """
        self._newest_ids[row.bot_id] = row.update_id
        self._add(LogEntry(row, msgspec.Raw(body)))

    def start_attempt(self, update_id: int, bot_id: int = 0) -> None:
        """Record that an update is being delivered; unknown ones are ignored."""
        if entry := self._entries.get((bot_id, update_id)):
            entry.row.attempts += 1
            self._change(entry.row, "in_flight")

    def end_attempt(
        self, update_id: int, status: int, *, accepted: bool, bot_id: int = 0
    ) -> None:
        """Record the end of a delivery attempt, unless the update was dropped.

        Args:
            update_id: the id of the update.
            status: the HTTP status of the response, or 0 if there was none.
            accepted: whether the bot has the update now; otherwise the attempt failed.
            bot_id: the id of the bot.
        """
        entry = self._entries.get((bot_id, update_id))
        if entry and entry.row.state != "dropped":
            entry.row.status = status
            if accepted:
                entry.row.accepted_after = time.time() - entry.row.sent_at
            self._change(entry.row, "accepted" if accepted else "failing")

    def drop(self, update_id: int, bot_id: int = 0) -> None:
        """Record that an update will not be delivered any more."""
        if entry := self._entries.get((bot_id, update_id)):
            self._change(entry.row, "dropped")

    def add_trace(self, record: UpdateTrace) -> None:
        """Store what a gateway reports about an update, instead of an earlier report.

        An update that reached the gateway in another way, such as by curl, gets a row
        of its own. Traces of updates that this log has forgotten are ignored.
        """
        entry = self.find(record.update_id, record.bot_id)
        if not entry:
            if self._was_forgotten(record):
                return
            entry = _of_others(record)
            self._add(entry)
        record.bot_id = entry.row.bot_id
        entry.turn = record
        if not entry.update:
            entry.row.kind = record.kind
            entry.row.user_id = record.telegram_user_id
        entry.row.outcome = record.outcome
        entry.row.seconds = _seconds(record)
        entry.row.losses = len(record.losses)
        if self._events.has_listeners:
            # Request and reply can be long; the page loads them with the update.
            short = structs.replace(record, request="", reply="")
            self._events.publish(
                "turn",
                update_id=record.update_id,
                bot_id=entry.row.bot_id,
                turn=short,
            )

    def find(self, update_id: int, bot_id: int = 0) -> LogEntry | None:
        """Return the entry of an update; None if the update is unknown.

        Args:
            update_id: the id of the update.
            bot_id: the bot; 0 for the one that had an update with this id last.
        """
        bot_id = bot_id or self._bot_ids.get(update_id, 0)
        entry = self._entries.get((bot_id, update_id))
        return entry or self._entries.get((0, update_id))

    def rows(
        self, limit: int, before: int | None = None, bot_id: int = 0
    ) -> list[UpdateRow]:
        """Return the summaries of the newest updates, oldest first.

        Args:
            limit: the maximum number of updates.
            before: the id of an update: return only older ones; None for the newest of
                all.
            bot_id: the bot of `before`, as in `find`.
        """
        newest_first = iter(reversed(self._entries))
        if before is not None:
            first = (bot_id or self._bot_ids.get(before, 0), before)
            for key in newest_first:
                if key == first:
                    break
        older = [self._entries[each].row for each in islice(newest_first, limit)]
        return older[::-1]

    def _was_forgotten(self, record: UpdateTrace) -> bool:
        newest_id = self._newest_ids.get(
            record.bot_id, max(self._newest_ids.values(), default=0)
        )
        return len(self._entries) < self.total and record.update_id <= newest_id

    def _add(self, entry: LogEntry) -> None:
        self.total += 1
        key = (entry.row.bot_id, entry.row.update_id)
        self._entries[key] = entry
        self._bot_ids[entry.row.update_id] = entry.row.bot_id
        if len(self._entries) > MAX_ENTRIES:
            (bot_id, update_id), _ = self._entries.popitem(last=False)
            if self._bot_ids[update_id] == bot_id:
                del self._bot_ids[update_id]
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
        bot_id=record.bot_id,
        kind=record.kind,
        user_id=record.telegram_user_id,
        chat_id=0,
        title="(delivered by somebody else)",
        sent_at=start,
        state="accepted",
    )
    return LogEntry(row, None)
