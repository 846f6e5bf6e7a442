"""What one text message passes in a warm gateway, from the webhook to the commit.

    python -m benchmarks.message_path [--store memory|redis] [--list]
        [--checkout DIRECTORY] [--save]

A user whose session is open sends "hi", a service answers with one text, and the Bot
API takes it. Counted are the functions of the package `gateway` that are called, the
calls, and the classes and modules of the functions; the sandbox is left out. Everything
is counted, whichever task it runs in: a coroutine is called whenever it is resumed.

The message is sent several times, and a function counts if it is in more than three
quarters of the recordings, so that a timer that ends at the same time does not. The
gateway is started like any other, so `--checkout` can name an older one, whose modules
have other names.
"""

import argparse
import asyncio
import json
import os
import signal
import sys
from collections import Counter
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import NamedTuple

import msgspec
from msgspec import Struct

from benchmarks.children import ROOT, run, until
from benchmarks.contest import entered
from benchmarks.lineup import Command, Contender, gateway_contenders
from benchmarks.load import Connection, Messages, connected
from benchmarks.processes import SECRET, StandIns, stand_ins
from benchmarks.tables import print_table

SAVED = ROOT / "benchmarks" / "results" / "message_path.json"
RECORDER = ROOT / "benchmarks" / "call_recorder.py"
STORES = ["memory", "redis"]
USER = 3_000_000_000
WARM_UP, RECORDINGS = 20, 15
COMMIT_SECONDS = 0.15
"""How long a recording lasts after the reply: the commit comes last."""


class Function(NamedTuple):
    """A function of the gateway."""

    module: str
    name: str
    line: int

    @property
    def owner(self) -> str:
        """The class of a method or of a function in it; empty if there is none."""
        for part in reversed(self.name.split(".<locals>.")):
            owner, dot, _ = part.rpartition(".")
            if dot:
                return f"{self.module}.{owner}"
        return ""


Recording = dict[Function, int]


class Counts(Struct):
    """How much a message passes."""

    functions: int
    calls: int
    classes: int
    modules: int


class MessagePath(NamedTuple):
    """What a message passes.

    Attributes:
        calls: the number of calls.
        functions: in the order of the first calls.
    """

    calls: int
    functions: list[Function]

    @property
    def classes(self) -> set[str]:
        """The classes of the functions."""
        return {each.owner for each in self.functions} - {""}

    @property
    def counts(self) -> Counts:
        """The numbers of functions, calls, classes and modules."""
        functions, classes = len(self.functions), len(self.classes)
        return Counts(functions, self.calls, classes, len(self.modules))

    @property
    def modules(self) -> set[str]:
        """The modules of the functions."""
        return {each.module for each in self.functions}


def summarize(recordings: list[Recording]) -> MessagePath:
    """Keep what is in more than three quarters of the recordings."""
    # It keeps the order of the first calls.
    seen = Counter(function for each in recordings for function in each)
    functions = [each for each in seen if seen[each] * 4 > len(recordings) * 3]
    kept = set(functions)
    calls = [
        sum(count for function, count in each.items() if function in kept)
        for each in recordings
    ]
    return MessagePath(round(median(calls)), functions)


async def record(checkout: Path, store: str) -> MessagePath:
    """Record the path of a message in a gateway of the checkout."""
    with TemporaryDirectory() as directory:
        file = Path(directory) / "calls.json"
        contender = _recorded(checkout, store, file)
        async with (
            stand_ins() as around,
            entered(contender, 1, around) as gateway,
            connected(gateway.port) as [connection],
        ):
            user = User(connection, around)
            for _ in range(WARM_UP):
                await user.send()
            [pid] = gateway.pids
            return summarize(
                [await _record_one(user, pid, file) for _ in range(RECORDINGS)]
            )


def _recorded(checkout: Path, store: str, file: Path) -> Contender:
    command = (sys.executable, str(RECORDER), str(file), "serve")
    [contender] = [each for each in gateway_contenders(checkout) if each.name == store]
    return contender._replace(command=lambda _: Command(command))


class User:
    """A user who sends the message over and over again."""

    def __init__(self, connection: Connection, around: StandIns) -> None:
        self._connection, self._around = connection, around
        self._messages = Messages("/webhook/telegram", SECRET)

    async def send(self) -> None:
        """Post the message, and wait for the reply and the commit."""
        before = (await self._around.counts()).messages
        request = self._messages.message(USER, "hi")
        response = await self._connection.request(request)
        if response.status != 200:
            raise RuntimeError(f"the webhook answered with {response.status}")

        async def replied() -> bool:
            return (await self._around.counts()).messages > before

        await until(replied, "the reply")
        await asyncio.sleep(COMMIT_SECONDS)


async def _record_one(user: User, pid: int, file: Path) -> Recording:
    async def started() -> bool:
        return _exists(file)

    async def written() -> bool:
        return bool(_read(file))

    os.kill(pid, signal.SIGUSR1)
    await until(started, "the start of the recording")
    await user.send()
    os.kill(pid, signal.SIGUSR2)
    await until(written, "the recording")
    return _take(file)


def _exists(file: Path) -> bool:
    return file.exists()


def _read(file: Path) -> Recording:
    rows = json.loads(file.read_text() or "[]")
    return {
        Function(module, name, line): count
        for module, name, line, count in rows
        if not module.startswith("gateway.sandbox")
    }


def _take(file: Path) -> Recording:
    """Read a recording, and make room for the next one."""
    recording = _read(file)
    file.unlink()
    return recording


def main() -> None:
    """Record and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--store", choices=STORES, nargs="+", default=STORES)
    parser.add_argument("--list", action="store_true", help="print the functions, too")
    parser.add_argument("--checkout", type=Path, default=ROOT)
    parser.add_argument("--save", action="store_true", help="keep the counts")
    asked = parser.parse_args()
    paths: dict[str, MessagePath] = {}

    async def measure() -> None:
        for store in asked.store:
            paths[store] = await record(asked.checkout.resolve(), store)

    run(measure(), within=180)
    counts = {store: path.counts for store, path in paths.items()}
    print_table(
        ["store", *Counts.__struct_fields__],
        [[store, *msgspec.structs.astuple(it)] for store, it in counts.items()],
    )
    if asked.save:
        SAVED.write_bytes(msgspec.json.format(msgspec.json.encode(counts), indent=1))
    if asked.list:
        for store, path in paths.items():
            print(f"\n{store}")
            for each in path.functions:
                print(f"  {each.module}:{each.line} {each.name}")


if __name__ == "__main__":
    main()
