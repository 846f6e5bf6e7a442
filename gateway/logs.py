"""One JSON object per line on standard output, without any text of a user.

Our own loggers write constant messages and fields. What other libraries log may quote
what they work on, so only their constant first line and the kind of the error are
kept.
"""

import logging
import sys
import time
import traceback
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from gateway.domain.turn import Turn

logger = logging.getLogger("gateway.update")

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}
_FRAMES = 6
_encode = msgspec.json.Encoder(enc_hook=str).encode


def start_logging(level: str, worker: str = "") -> None:
    """Send all logs to standard output.

    Args:
        level: "DEBUG", "INFO", "WARNING" or "ERROR", for our own loggers. Those of
            libraries are kept from WARNING on.
        worker: which of several processes this is, for every line. Empty: the only one.
    """
    output = JsonLines(sys.stdout.buffer, worker)
    # A reader that is gone must not fill standard error with what could not be written.
    logging.raiseExceptions = False
    logging.basicConfig(handlers=[output], level=logging.WARNING, force=True)
    logging.getLogger("gateway").setLevel(level)


def log_turn(turn: Turn) -> None:
    """Write the line of one update.

    There is one for every update, and the way through `logging` would cost more than
    all else in it: the line goes straight to the handlers that write lines.
    """
    if not logger.isEnabledFor(logging.INFO):
        return
    line = {
        "time": _utc(time.time()),
        "level": "info",
        "logger": logger.name,
        "message": "update",
        "request_id": turn.request_id,
        "update_id": turn.update_id,
        "telegram_user_id": turn.telegram_user_id,
        "kind": turn.kind,
        "route": turn.route,
        "outcome": turn.outcome,
        "queue_ms": round(turn.queue_seconds * 1000, 1),
        "service_ms": round(turn.service_seconds * 1000, 1),
        "telegram_ms": round(turn.telegram_seconds * 1000, 1),
        "fault": turn.fault,
    }
    for handler in logging.root.handlers:
        if isinstance(handler, JsonLines):
            handler.write(line)


def describe(error: BaseException) -> str:
    """Tell an error's class and where it came from.

    Its message and the values around it are left out: they may quote a user.
    """
    frames = traceback.extract_tb(error.__traceback__)[-_FRAMES:]
    places = [f"{Path(f.filename).name}:{f.lineno} {f.name}" for f in reversed(frames)]
    return " < ".join([type(error).__name__, *places])


class JsonLines(logging.Handler):
    """Writes each record as a line of JSON, at once and in one piece.

    Args:
        output: where to; several threads may write there at a time.
        worker: is said in every line, if it is not empty.
    """

    def __init__(self, output: BinaryIO, worker: str = "") -> None:
        super().__init__()
        self._output = output
        self._worker = worker

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record."""
        try:
            line = _line(record)
        except Exception:  # noqa: BLE001 - as all handlers of logging do
            self.handleError(record)
        else:
            self.write(line)

    def write(self, line: dict[str, Any]) -> None:
        """Write a line. Where nobody reads or there is no room, it is lost."""
        if self._worker:
            line["worker"] = self._worker
        try:
            self._output.write(_encode(line) + b"\n")
            self._output.flush()
        except Exception:  # noqa: BLE001, S110 - a log must not stop what it tells of
            pass


def _line(record: logging.LogRecord) -> dict[str, Any]:
    line: dict[str, Any] = {
        "time": _utc(record.created),
        "level": record.levelname.lower(),
        "logger": record.name,
    }
    if record.name.partition(".")[0] == "gateway":
        line["message"] = record.msg
        fields = vars(record).items()
        line.update({name: it for name, it in fields if name not in _STANDARD})
    else:
        line["message"] = str(record.msg).partition("\n")[0]
    if record.exc_info and record.exc_info[1] is not None:
        line["error"] = describe(record.exc_info[1])
    return line


def _utc(seconds: float) -> str:
    whole = int(seconds)
    return f"{_to_the_second(whole)}.{int((seconds - whole) * 1000):03d}Z"


@lru_cache(maxsize=1)  # most lines have the second of the line before
def _to_the_second(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
