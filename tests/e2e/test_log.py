"""The log of a running gateway, seen from outside."""

import asyncio
import json

from tests.support.process import serving_process
from tests.support.waiting import LIMIT, wait_until


async def test_a_log_that_nobody_reads_stops_nothing() -> None:
    """Neither the updates nor the end: pipe and reader hold some 700 lines."""
    async with serving_process() as gateway:
        for user in range(1, 1001):
            await asyncio.wait_for(gateway.say(user, user=user), LIMIT)
        await wait_until(lambda: all(map(gateway.simulator.messages, range(1, 1001))))
        assert await gateway.healthy()
        gateway.process.terminate()
        # Its `wait` would wait for the end of the output, too.
        await wait_until(lambda: gateway.process.returncode is not None)
        assert gateway.process.returncode == 0


async def test_the_last_lines_are_written_at_the_end() -> None:
    """Though they are written by a thread of its own."""
    async with serving_process() as gateway:
        await gateway.say(1, user=1)
        await wait_until(lambda: gateway.simulator.messages(1))
        gateway.process.terminate()
        output, _ = await asyncio.wait_for(gateway.process.communicate(), LIMIT)
        lines = [json.loads(line) for line in output.splitlines()]
        told = [line["message"] for line in lines]
        assert told[-2:] == ["stopping", "stopped"]
        assert "update" in told
