"""Formats log lines as text, for people in front of a terminal."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

_COLORS = {"debug": 90, "info": 36, "warning": 33, "error": 31, "critical": 31}
"""The ANSI color of each level: gray, cyan, yellow and red."""

_HEAD = frozenset({"time", "level", "logger", "message"})


def format_text_line(line: Mapping[str, Any], *, in_color: bool = False) -> bytes:
    """Return a log line as text: local time, level, event, and the other fields.

    Fields that are None or empty are left out. The line break is not included.

    Args:
        line: the fields of the line, as they are logged in JSON.
        in_color: whether to color the level with ANSI escape sequences.
    """
    level = str(line["level"])
    shown_level = f"{level.upper():8}"
    if in_color:
        shown_level = f"\x1b[{_COLORS.get(level, 0)}m{shown_level}\x1b[0m"
    fields = (
        f"{name}={_format_value(value)}"
        for name, value in line.items()
        if name not in _HEAD and value is not None and value != ""
    )
    local = datetime.fromisoformat(str(line["time"])).astimezone()
    time = local.time().isoformat("milliseconds")
    return " ".join([time, shown_level, str(line["message"]), *fields]).encode()


def _format_value(value: object) -> str:
    """Return a value in one line; quoted if it has spaces or special characters."""
    text = str(value)
    return text if text.isprintable() and " " not in text else repr(text)
