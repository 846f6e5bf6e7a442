"""Answers that users see while they are being written, under load.

    python -m benchmarks.streams [--streams 200] [--tokens 3000]

So many users get an answer token by token at the same time, with a Bot API that takes
0.3 s for each call and refuses every 20th draft. Others ask for /profile meanwhile, and
before, when nobody streams. Told is how soon the first text is seen after the first
token, how many drafts of a chat are under way at once, whether every text came whole,
and what the others notice. Then what an answer costs, streamed and at once, in
processor time of a gateway each.

Ends with 1 if a text is not whole, or drafts of one chat overlapped.
"""

import argparse
import asyncio
import sys
import time
from statistics import median

import msgspec

from benchmarks.children import cpu_seconds, run, tree, until
from benchmarks.load import HOST, post
from benchmarks.processes import Gateway, StandIns, gateway, stand_ins
from benchmarks.stream_report import Report, Stream
from benchmarks.stream_standins import OTHER_USER, STREAMING_USER, token
from benchmarks.tables import percentile, print_machine, print_table

RATE = 50
SLOW_SECONDS = 0.3
START_SECONDS = 5.0
"""The streams begin within this time, as users do."""

OTHERS_RATE = 20
ALONE_SECONDS = 15

COST_TOKENS, COST_RATE = 20, 1000
COST_UPDATES, COST_PER_SECOND, COST_ROUNDS = 200, 50, 5

_SETTINGS = {"RATE_LIMIT_REQUESTS": "1000", "CONVERSATION_TIMEOUT": "10"}


async def _report(around: StandIns) -> Report:
    return msgspec.convert(await around.page("/report"), Report, strict=False)


class Others:
    """Users who ask for something else, one after the other."""

    def __init__(self, measured: Gateway, around: StandIns) -> None:
        self._gateway = measured
        self._around = around
        self._user = OTHER_USER

    async def ask(self, seconds: float) -> list[float]:
        """Let them ask for so long; gives the ms that each waited for the message."""
        due: dict[int, float] = {}
        first = self._user
        count = int(seconds * OTHERS_RATE)
        self._user += count

        def make(index: int, sent: float) -> bytes:
            due[first + index] = sent
            return self._gateway.messages.message(first + index, "/profile")

        await post(self._gateway.connections[:5], count, make, rate=OTHERS_RATE)

        async def answered() -> bool:
            others = (await _report(self._around)).others
            return sum(user in due for user, _ in others) == count

        await until(answered, "the others' answers")
        others = (await _report(self._around)).others
        return [(time - due[user]) * 1000 for user, time in others if user in due]


async def _stream(measured: Gateway, streams: int) -> None:
    def make(index: int, _: float) -> bytes:
        return measured.messages.message(STREAMING_USER + index, "stream")

    await post(measured.connections[5:], streams, make, rate=streams / START_SECONDS)


async def _under_load(streams: int, tokens: int) -> bool:
    words = ("--tokens", str(tokens), "--rate", str(RATE), "--slow", str(SLOW_SECONDS))
    # The service writes 10,000 tokens a second, which keeps a process busy: what others
    # notice is not to be that.
    async with (
        stand_ins("benchmarks.stream_standins", *words) as around,
        stand_ins("benchmarks.stream_standins", *words) as service,
        gateway(
            around,
            **_SETTINGS,
            CONVERSATION_STREAMING="true",
            CONVERSATION_TARGET=f"{HOST}:{service.services}",
        ) as measured,
    ):
        others = Others(measured, around)
        await others.ask(2)
        alone = await others.ask(ALONE_SECONDS)
        start, cpu = time.monotonic(), _cpu(measured)
        _, beside = await asyncio.gather(
            _stream(measured, streams), others.ask(START_SECONDS + tokens / RATE)
        )
        await until(measured.idle, "the end of the answers", within=60)
        took, cpu = time.monotonic() - start, _cpu(measured) - cpu
        report = await _report(around)
        for user, written in (await _report(service)).streams.items():
            report.streams[user].first_token = written.first_token
            report.streams[user].last_token = written.last_token
    whole = "".join(map(token, range(tokens)))
    found = list(report.streams.values())
    good = [stream for stream in found if stream.text == whole]
    _print_streams(found, report)
    print(f"texts that came whole, byte by byte: {len(good)} of {streams}")
    print(f"gateway: {cpu / took:.0%} of a core, {cpu / streams / tokens * 1e6:.0f} us")
    print("per token, with the drafts, the messages and the others\n")
    _print_others(alone, beside)
    return len(good) == streams and report.most_at_once <= 1


def _print_streams(streams: list[Stream], report: Report) -> None:
    seen = [(it.first_draft - it.first_token) * 1000 for it in streams]
    ends = [(it.last_message - it.last_token) * 1000 for it in streams]
    rows: list[list[str | float]] = [
        [name, *(percentile(times, percent) for percent in (50, 99, 100))]
        for name, times in (("first text seen", seen), ("last message", ends))
    ]
    print_table(["ms after the token", "p50", "p99", "max"], rows)
    drafts = sum(it.drafts for it in streams)
    refused = sum(it.refused for it in streams)
    print(f"\ndrafts: {drafts:,}, refused: {refused:,}, per answer:", end=" ")
    print(f"{drafts / len(streams):.0f}; of one chat at once: {report.most_at_once};")
    print(f"under way when the message came: {sum(it.beside for it in streams)}")


def _print_others(alone: list[float], beside: list[float]) -> None:
    rows: list[list[str | float]] = [
        [name, *(percentile(times, percent) for percent in (50, 99, 100))]
        for name, times in (("alone", alone), ("beside the streams", beside))
    ]
    print_table(["ms of others", "p50", "p99", "max"], rows)


async def _cost() -> None:
    words = ("--tokens", str(COST_TOKENS), "--rate", str(COST_RATE), "--slow", "0")
    async with (
        stand_ins("benchmarks.stream_standins", *words) as around,
        gateway(around, **_SETTINGS) as unary,
        gateway(around, **_SETTINGS, CONVERSATION_STREAMING="true") as streaming,
    ):
        costs: dict[Gateway, list[float]] = {unary: [], streaming: []}
        for number in range(COST_ROUNDS + 1):
            for measured in (unary, streaming) if number % 2 else (streaming, unary):
                cpu = _cpu(measured)
                user = STREAMING_USER + number * COST_UPDATES

                def make(
                    index: int, _: float, measured: Gateway = measured, user: int = user
                ) -> bytes:
                    return measured.messages.message(user + index, "stream")

                await post(
                    measured.connections, COST_UPDATES, make, rate=COST_PER_SECOND
                )
                await until(measured.idle, "the last answer")
                if number:  # the first one warms up
                    costs[measured].append((_cpu(measured) - cpu) / COST_UPDATES * 1e6)
    pairs = list(zip(costs[unary], costs[streaming], strict=True))
    rows: list[list[str | float]] = [
        [name, median(values), min(values), max(values)]
        for name, values in (
            ("at once", costs[unary]),
            ("streamed", costs[streaming]),
            ("streamed / at once", [b / a for a, b in pairs]),
        )
    ]
    print(f"\nan answer of {COST_TOKENS} tokens, us of processor time of the gateway\n")
    print_table(["", "median", "min", "max"], rows)


def _cpu(measured: Gateway) -> float:
    return sum(map(cpu_seconds, tree(measured.process.pid)))


async def main(streams: int, tokens: int) -> None:
    """Measure, print, judge."""
    print_machine()
    print(f"{streams} streams of {tokens:,} tokens at {RATE}/s\n")
    good = await _under_load(streams, tokens)
    await _cost()
    if not good:
        sys.exit("texts are missing, or drafts overlapped")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--streams", type=int, default=200)
    parser.add_argument("--tokens", type=int, default=3000)
    asked = parser.parse_args()
    run(main(asked.streams, asked.tokens), within=240 + asked.tokens / RATE)
