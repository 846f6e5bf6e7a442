"""Who takes part in the comparison, and how each of them is started.

All get the same settings by the environment; see `contenders/README.md` for how each is
configured and why.
"""

import shutil
import sys
from collections.abc import Callable, Mapping
from os import pathsep
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from benchmarks.children import ROOT, START_SECONDS
from benchmarks.environments import SOURCES, node_environment, python_environment
from benchmarks.load import HOST
from benchmarks.processes import SECRET, StandIns

Settings = Mapping[str, str]
BOT_ID = 7
TOKEN = f"{BOT_ID}:benchmark-token"
LIMIT = "1000"
"""Messages of a user per second, so that nobody of the load is ever refused."""


class Command(NamedTuple):
    """How to start a contender: as so many processes of this command."""

    words: tuple[str, ...]
    copies: int = 1


class Contender(NamedTuple):
    """Somebody who takes part.

    Attributes:
        name: a word.
        title: for people.
        command: gives the command for a number of workers.
        redis: whether it gets one.
        most_workers: 1 where its documentation has no way to run two.
        checkout: where the gateway's code is; None: it is not the gateway.
        start_seconds: how long it may take to start.
        settings: what differs from the settings of all.
    """

    name: str
    title: str
    command: Callable[[int], Command]
    redis: bool = True
    most_workers: int = 2
    checkout: Path | None = None
    start_seconds: float = START_SECONDS
    settings: Settings = MappingProxyType({})


def _copies(name: str, *options: str) -> Callable[[int], Command]:
    """Start it several times; aiohttp shares the port (`reuse_port`)."""

    def command(workers: int) -> Command:
        server = str(SOURCES / name / "server.py")
        return Command((str(python_environment(name)), server, *options), workers)

    return command


def _ours(workers: int) -> Command:
    return Command(
        (sys.executable, "-m", "gateway", "serve", "--workers", str(workers))
    )


def gateway_contenders(checkout: Path, suffix: str = "") -> tuple[Contender, Contender]:
    """Give the gateway of a checkout, with mailboxes in memory and in Redis."""
    memory = Contender(
        f"memory{suffix}",
        f"this gateway, memory{suffix}",
        _ours,
        redis=False,
        most_workers=1,
        checkout=checkout,
    )
    redis = Contender(
        f"redis{suffix}", f"this gateway, Redis{suffix}", _ours, checkout=checkout
    )
    return memory, redis


def earlier(checkout: Path) -> tuple[Contender, Contender]:
    """Give the gateway of another checkout, for a before and an after."""
    return gateway_contenders(checkout.resolve(), "-before")


def _plain(workers: int) -> Command:
    python = str(python_environment("plain"))
    where = ["--app-dir", str(SOURCES / "plain"), "--host", HOST, "--port", "$PORT"]
    fast = ["--loop", "uvloop", "--http", "httptools"]
    quiet = ["--no-access-log", "--log-level", "warning"]
    # Above that of the load's pauses, as behind any proxy.
    more = ["--workers", str(workers), "--timeout-keep-alive", "75"]
    options = (*where, *fast, *quiet, *more)
    return Command((python, "-m", "uvicorn", "server:app", *options))


def _grammy(*options: str) -> Callable[[int], Command]:
    def command(_: int) -> Command:
        server = str(node_environment("grammy") / "server.js")
        return Command((shutil.which("node") or "node", server, *options))

    return command


LINEUP = (
    Contender("floor", "floor", _copies("floor"), redis=False),
    Contender(
        "floor-uvloop",
        "floor on uvloop",
        _copies("floor", "--uvloop"),
        redis=False,
        most_workers=1,
    ),
    *gateway_contenders(ROOT),
    Contender("aiogram", "aiogram 3", _copies("aiogram")),
    Contender("grammy", "grammY", _grammy()),
    Contender(
        "grammy-lean", "grammY, lean", _grammy("--lean"), redis=False, most_workers=1
    ),
    Contender("ptb", "python-telegram-bot 22", _copies("ptb"), most_workers=1),
    Contender("plain", "plain design", _plain),
)


def settings_of(
    contender: Contender, workers: int, port: int, ops_port: int, around: StandIns
) -> dict[str, str]:
    """Give the environment of a contender, but for its Redis."""
    bot_api = f"http://{HOST}:{around.bot_api}"
    services = f"{HOST}:{around.services}"
    settings = {"PORT": str(port), "RATE_LIMIT_REQUESTS": LIMIT}
    if contender.checkout is None:
        return settings | {
            "SECRET": SECRET,
            "TOKEN": TOKEN,
            "BOT_API": bot_api,
            "SERVICES": services,
            "JSON_SERVICES": f"http://{HOST}:{around.json_services}",
            "PROTO": str(ROOT / "proto"),
            "WORKERS": str(workers),
            "NODE_ENV": "production",
        }
    code = str(contender.checkout)
    names = ("CONVERSATION", "MATCHING", "NOTIFICATION", "PROFILE")
    return settings | {
        "PYTHONPATH": pathsep.join([code, f"{code}/generated"]),
        # `python -m` would look for the gateway in the working directory first.
        "PYTHONSAFEPATH": "1",
        "ENV_FILE": "",
        "TELEGRAM_BOT_TOKEN": TOKEN,
        "TELEGRAM_WEBHOOK_SECRET": SECRET,
        "TELEGRAM_API_URL": bot_api,
        "OPS_PORT": str(ops_port),
        "CONVERSATION_TIMEOUT": "10",
        "SESSION_LIMIT": "2000000",
        **{f"{name}_TARGET": services for name in names},
        **contender.settings,
    }


def picture() -> tuple[Path, Path]:
    """Give the Python and the program that draw the picture."""
    return python_environment("picture"), SOURCES / "picture" / "draw.py"
