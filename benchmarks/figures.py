"""What the comparison found, as figures of rounds."""

import os
import platform
import re
import shutil
import subprocess
from importlib.metadata import version
from statistics import median
from typing import NamedTuple

from msgspec import Struct, field

from benchmarks.environments import SOURCES
from benchmarks.slices import Slice, Work
from benchmarks.tables import percentile
from tests.support.redis_servers import redis_server_binary

_TOLD = (
    "aiogram aiohttp fastapi grpcio httpx msgspec protobuf python-telegram-bot redis"
    " uvicorn uvloop"
)


class Figures(Struct):
    """One load of one contender in one round.

    Attributes:
        cpu_us: processor time per update of all processes, in microseconds.
        redis_us: the same of its Redis.
        per_second: updates that were completed.
        busy: of a core.
        answer_ms: p50 and p99 from due to the webhook's answer.
        reply_ms: p50 and p99 from due to the message at the Bot API.
    """

    cpu_us: float
    redis_us: float
    per_second: float
    busy: float
    answer_ms: tuple[float, float]
    reply_ms: tuple[float, float]


class Hanging(Struct):
    """Other users, while many hang in a slow service.

    Attributes:
        reply_ms: their p50 and p99.
        least_hanging: how many calls hung at least while they were served.
    """

    reply_ms: tuple[float, float]
    least_hanging: int


class Memory(Struct):
    """Bytes of memory.

    Attributes:
        resident: of all processes, after all rounds.
        own_per_user: what each new user adds to them.
        redis_per_user: what each new user adds to Redis.
    """

    resident: int
    own_per_user: float | None = None
    redis_per_user: float | None = None


class Results(Struct):
    """All that was found. Inner keys are names of entrants, lists are of rounds."""

    machine: dict[str, str]
    rounds: int = 0
    titles: dict[str, str] = field(default_factory=dict)
    loads: dict[str, dict[str, list[Figures]]] = field(default_factory=dict)
    hanging: dict[str, list[Hanging]] = field(default_factory=dict)
    memory: dict[str, Memory] = field(default_factory=dict)
    work: dict[str, Work] = field(default_factory=dict)


class Spread(NamedTuple):
    """A figure over the rounds."""

    middle: float
    least: float
    most: float

    @classmethod
    def over(cls, values: list[float]) -> "Spread":
        """Give median, smallest and largest."""
        return cls(median(values), min(values), max(values))

    def __str__(self) -> str:
        """Give it as a ratio is written."""
        return f"{self.middle:.2f} ({self.least:.2f} to {self.most:.2f})"


def figures_of(taken: Slice) -> Figures:
    """Give the figures of a round's slices."""
    return Figures(
        cpu_us=taken.own / taken.updates * 1e6,
        redis_us=taken.redis / taken.updates * 1e6,
        per_second=taken.updates / taken.took,
        busy=taken.own / taken.took,
        answer_ms=_percentiles(taken.answers),
        reply_ms=_percentiles(taken.replies),
    )


def hanging_of(taken: Slice, least_hanging: int) -> Hanging:
    """Give the figures of users beside those who hang."""
    return Hanging(_percentiles(taken.replies), least_hanging)


def ratios(results: Results, load: str, name: str, to: str = "floor") -> Spread:
    """Give the cost of an update as a ratio to another's in the same round."""
    rounds = zip(results.loads[load][name], results.loads[load][to], strict=True)
    return Spread.over([own.cpu_us / other.cpu_us for own, other in rounds])


def machine() -> dict[str, str]:
    """Tell what the figures hold for."""
    told = {
        "machine": f"{os.cpu_count()} cores, {_processor()}",
        "system": f"{platform.system()} {platform.release()}",
        "Python": platform.python_version(),
        "Redis": _output(str(redis_server_binary()), "--version").split()[2][2:],
        "telegram-gateway": version("telegram-gateway"),
    }
    if node := shutil.which("node"):
        told["Node"] = _output(node, "--version").strip()
    for name in ("floor", "aiogram", "ptb", "plain"):
        lock = (SOURCES / name / "requirements.lock").read_text()
        pinned = dict(re.findall(r"^([\w-]+)==(\S+)", lock, re.MULTILINE))
        used = [f"{it} {pinned[it]}" for it in _TOLD.split() if it in pinned]
        told[name] = ", ".join(used)
    packages = (SOURCES / "grammy" / "package.json").read_text()
    told["grammy"] = ", ".join(
        f"{name} {pinned}"
        for name, pinned in re.findall(r'"([@\w/-]+)": "(\d[^"]*)"', packages)
    )
    return told


def _processor() -> str:
    with open("/proc/cpuinfo") as information:  # noqa: PTH123 - one line of many
        for line in information:
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.machine()


def _output(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def _percentiles(seconds: list[float]) -> tuple[float, float]:
    return percentile(seconds, 50) * 1000, percentile(seconds, 99) * 1000
