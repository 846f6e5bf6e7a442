"""One JSON object per line on standard output, without any text of a user.

Our own loggers write constant messages and fields. What other libraries log may quote
what they work on, so only their constant first line and the kind of the error are
kept.
"""

import logging
import sys
import time
import traceback
from pathlib import Path
from typing import Any

import msgspec

from gateway.domain.turn import Turn

logger = logging.getLogger("gateway.update")

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}
_FRAMES = 6
_encode = msgspec.json.Encoder(enc_hook=str).encode


def start_logging(level: str) -> None:
    """Send all logs to standard output.

    Args:
        level: "DEBUG", "INFO", "WARNING" or "ERROR", for our own loggers. Those of
            libraries are kept from WARNING on.
    """
    output = logging.StreamHandler(sys.stdout)
    output.setFormatter(JsonFormatter())
    # A reader that is gone must not fill standard error with what could not be written.
    logging.raiseExceptions = False
    logging.basicConfig(handlers=[output], level=logging.WARNING, force=True)
    logging.getLogger("gateway").setLevel(level)


def log_turn(turn: Turn) -> None:
    """Write the line of one update."""
    logger.info(
        "update",
        extra={
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
        },
    )


def describe(error: BaseException) -> str:
    """Tell an error's class and where it came from.

    Its message and the values around it are left out: they may quote a user.
    """
    frames = traceback.extract_tb(error.__traceback__)[-_FRAMES:]
    places = [f"{Path(f.filename).name}:{f.lineno} {f.name}" for f in reversed(frames)]
    return " < ".join([type(error).__name__, *places])


class JsonFormatter(logging.Formatter):
    """Writes a record as a line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """Give the line, without the line end."""
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
        return _encode(line).decode()


def _utc(seconds: float) -> str:
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    return f"{whole}.{int(seconds % 1 * 1000):03d}Z"
