"""Logs one line per event to standard output, without any text of a user.

A line is a JSON object, or text for people.

The gateway's loggers write constant messages and fields. Messages of other libraries
may quote user data, so only the first line of the message template and the class of the
error are kept.

Logging never blocks: `log_writer.py` writes the lines in a separate thread.
"""

import asyncio
import atexit
import logging
import os
import sys
import time
import traceback
from collections.abc import Callable
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Protocol

import msgspec

from gateway.domain.delivery import Delivery, DeliveryResult
from gateway.domain.processing_record import ProcessingRecord
from gateway.observability.log_writer import MAX_WRITE_BYTES, LogWriter
from gateway.observability.text_lines import format_text_line

logger = logging.getLogger("gateway.update")
_delivery_logger = logging.getLogger("gateway.delivery")

_STANDARD_FIELDS = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}
_MAX_FRAMES = 6
_MAX_CUT_MESSAGE = 200
_HEAD_FIELDS = ("time", "level", "logger", "message", "worker")

FLUSH_TIMEOUT_SECONDS = 1.0
"""How long the program waits at exit until the last lines are written."""

EncodeLine = Callable[[dict[str, Any]], bytes]
"""Encodes the fields of a line, without the line break."""

_encode_json: EncodeLine = msgspec.json.Encoder(enc_hook=str).encode


def configure_logging(level: str, worker: str = "", line_format: str = "json") -> None:
    """Send all logs of this process to standard output, through a thread that writes.

    Call it once, at the start. Replaces all handlers of `logging`. Lines that are still
    queued at exit are written for up to `FLUSH_TIMEOUT_SECONDS`.

    Args:
        level: "DEBUG", "INFO", "WARNING" or "ERROR", for the gateway's own loggers.
            Libraries log from WARNING on, whatever the level.
        worker: the number of this worker, added to every line; an empty string if there
            is only one process.
        line_format: "json", or "text" for text, in color if the output is a terminal.
    """
    encode = _encode_json
    if line_format == "text":
        in_color = sys.stdout is not None and sys.stdout.isatty()
        encode = partial(format_text_line, in_color=in_color)
    # sys.stdout is None if the program was started with a closed standard output.
    output = sys.stdout.fileno() if sys.stdout else os.open(os.devnull, os.O_WRONLY)
    writer = LogWriter(
        output, lambda lines: encode(_build_dropped_line(lines, worker)) + b"\n"
    )
    atexit.register(writer.close, FLUSH_TIMEOUT_SECONDS)
    # A record that cannot be logged must not fill standard error.
    logging.raiseExceptions = False
    handler = LogLinesHandler(writer, worker, encode)
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    logging.getLogger("gateway").setLevel(level)


def count_dropped_lines() -> int:
    """Return how many log lines were dropped since the start of this process.

    Lines are dropped while the output accepts no more, such as a pipe that nobody
    reads.
    """
    return sum(
        it.dropped for it in logging.root.handlers if isinstance(it, LogLinesHandler)
    )


def log_update(record: ProcessingRecord) -> None:
    """Log one line about a processed update, at the level INFO.

    The line bypasses `logging` and goes directly to our handlers, because `logging`
    would cost more than the rest of the work on the line, which is written for every
    update.

    Args:
        record: what is known about the update. None of its fields is a user's text.
    """
    if not logger.isEnabledFor(logging.INFO):
        return
    line = {
        "time": _format_utc(time.time()),
        "level": "info",
        "logger": logger.name,
        "message": "update",
        "request_id": record.request_id,
        "update_id": record.update_id,
        "telegram_user_id": record.telegram_user_id,
        "update_type": record.update_type,
        "route": record.route,
        "outcome": record.outcome,
        "queue_ms": round(record.queue_seconds * 1000, 1),
        "service_ms": round(record.service_seconds * 1000, 1),
        "telegram_ms": round(record.telegram_seconds * 1000, 1),
        "error": record.error,
    }
    if record.bot:
        line["bot"] = record.bot
    _write_line(line)


def log_delivery(
    delivery: Delivery, result: DeliveryResult, seconds: float, bot: str = ""
) -> None:
    """Log one line about a delivery that has ended, at the level INFO.

    Args:
        delivery: the delivery.
        result: how the delivery ended.
        seconds: the time from its acceptance, or from its `not_before` if that is
            later, to its end.
        bot: the bot's name in BOTS_FILE; empty if it has none.
    """
    if not _delivery_logger.isEnabledFor(logging.INFO):
        return
    line = {
        "time": _format_utc(time.time()),
        "level": "info",
        "logger": _delivery_logger.name,
        "message": "delivery",
        "delivery_id": delivery.delivery_id,
        "caller": delivery.caller,
        "kind": delivery.kind,
        "state": result.state,
        "reason": result.reason or None,
        "sent_messages": len(result.sent_parts),
        "maybe_repeated": result.maybe_repeated,
        "delivery_ms": round(seconds * 1000, 1),
    }
    if bot:
        line["bot"] = bot
    _write_line(line)


def _write_line(line: dict[str, Any]) -> None:
    for handler in logging.root.handlers:
        if isinstance(handler, LogLinesHandler):
            handler.write(line)


class RateLimitedLogger:
    """Limits the number of log lines for events that strangers can cause at will.

    The first event is logged at once; repetitions within the interval are only counted,
    and their number is logged as one line at its end. Each pair of level and message
    has its own interval. The fields of repetitions are lost.

    Args:
        logger: writes the lines.
        seconds: the length of an interval.
    """

    def __init__(self, logger: logging.Logger, seconds: float = 1.0) -> None:
        self._logger = logger
        self._seconds = seconds
        self._repeat_counts: dict[tuple[int, str], int] = {}
        """Number of repetitions of each message within its current interval."""

    @property
    def is_quiet(self) -> bool:
        """Whether no interval is running, so that any message is logged at once."""
        return not self._repeat_counts

    def log(self, level: int, message: str, **fields: object) -> None:
        """Log a message, or only count it if it was logged within the interval.

        Must be called in the event loop. Use only a small number of different messages,
        because each is remembered for an interval.

        Args:
            level: a level of `logging`, such as logging.WARNING.
            message: a constant that names the event, such as "connection_not_accepted".
            fields: further fields of the line; they must contain no user's text.
        """
        key = level, message
        if key in self._repeat_counts:
            self._repeat_counts[key] += 1
        else:
            self._write(key, fields)

    def _write(self, key: tuple[int, str], fields: dict[str, object]) -> None:
        self._logger.log(*key, extra=fields)
        self._repeat_counts[key] = 0
        loop = asyncio.get_running_loop()
        loop.call_later(self._seconds, self._write_count, key)

    def _write_count(self, key: tuple[int, str]) -> None:
        if repeated := self._repeat_counts.pop(key):
            self._write(key, {"repeated": repeated})


def summarize_error(error: BaseException) -> str:
    """Return a one-line description of an exception that is safe to log.

    It has the exception's class and the last `_MAX_FRAMES` places in the code,
    innermost first. The message and local values are left out: they may quote a user.
    """
    frames = traceback.extract_tb(error.__traceback__)[-_MAX_FRAMES:]
    places = [f"{Path(f.filename).name}:{f.lineno} {f.name}" for f in reversed(frames)]
    return " < ".join([type(error).__name__, *places])


class LineOutput(Protocol):
    """Where `LogLinesHandler` writes: an object that accepts complete lines.

    Several threads may write at the same time.
    """

    def write(self, data: bytes, /) -> object:
        """Write bytes that are one line with its line break."""


class LogLinesHandler(logging.Handler):
    """A handler of `logging` that writes each record as one line, JSON by default.

    Args:
        output: gets the lines.
        worker: the number of this worker, added to every line; an empty string adds
            none.
        encode: returns the bytes of a line, without a line break, from its fields.
    """

    def __init__(
        self, output: LineOutput, worker: str = "", encode: EncodeLine = _encode_json
    ) -> None:
        super().__init__()
        self._output = output
        self._worker = worker
        self._encode = encode

    @property
    def dropped(self) -> int:
        """The number of lines that the output dropped; 0 if it is no `LogWriter`."""
        return self._output.dropped if isinstance(self._output, LogWriter) else 0

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record of `logging` as a line. Called by `logging`; never raises."""
        try:
            line = _build_line(record)
        except Exception:  # noqa: BLE001 - like all handlers of logging
            self.handleError(record)
        else:
            self.write(line)

    def write(self, line: dict[str, Any]) -> None:
        """Write a line. Never raises: the line is lost if it cannot be written.

        A line above `MAX_WRITE_BYTES` is cut to its main fields.

        Args:
            line: the fields of the line; the number of the worker is added to them.
        """
        if self._worker:
            line["worker"] = self._worker
        try:
            data = self._encode(line) + b"\n"
            if len(data) > MAX_WRITE_BYTES:
                data = self._encode(_truncate_line(line, len(data))) + b"\n"
            self._output.write(data)
        except Exception:  # noqa: BLE001, S110 - logging must not stop the work it reports
            pass


def _truncate_line(line: dict[str, Any], size: int) -> dict[str, Any]:
    """Return only the head of an overlong line, with the original size in bytes."""
    kept = {name: line[name] for name in _HEAD_FIELDS if name in line}
    return kept | {
        "message": str(line["message"])[:_MAX_CUT_MESSAGE],
        "cut_bytes": size,
    }


def _build_dropped_line(lines: int, worker: str) -> dict[str, Any]:
    """Build the line that reports dropped lines."""
    line: dict[str, Any] = {
        "time": _format_utc(time.time()),
        "level": "warning",
        "logger": __name__,
        "message": "log_lines_dropped",
        "lines": lines,
    }
    return line | {"worker": worker} if worker else line


def _build_line(record: logging.LogRecord) -> dict[str, Any]:
    line: dict[str, Any] = {
        "time": _format_utc(record.created),
        "level": record.levelname.lower(),
        "logger": record.name,
    }
    if record.name.partition(".")[0] == "gateway":
        line["message"] = record.msg
        fields = vars(record).items()
        line.update({name: it for name, it in fields if name not in _STANDARD_FIELDS})
    else:
        line["message"] = str(record.msg).partition("\n")[0]
    if record.exc_info and record.exc_info[1] is not None:
        line["error"] = summarize_error(record.exc_info[1])
    return line


def _format_utc(seconds: float) -> str:
    second = int(seconds)
    return f"{_format_second(second)}.{int((seconds - second) * 1000):03d}Z"


@lru_cache(maxsize=1)  # most lines have the same second as the previous line
def _format_second(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
