"""Strangers with many connections, against a gateway with few descriptors."""

import asyncio
import os
import re
import resource
import signal
from pathlib import Path

from gateway.workers.file_descriptors import raise_descriptor_limit
from tests.support.floods import silent_connections
from tests.support.process import serving_process
from tests.support.redis_servers import RedisServer
from tests.support.tcp_ports import free_ports
from tests.support.waiting import LIMIT, wait_until, wait_until_found
from tests.support.worker_probes import get, workers_of

DESCRIPTORS = 200


async def test_floods_of_silent_connections_lock_nobody_out() -> None:
    """Neither updates nor operators, on either port; and the log stays short."""
    raise_descriptor_limit()
    (ops_port,) = free_ports(1)
    settings = {"OPS_PORT": str(ops_port)}
    async with serving_process(settings, descriptors=DESCRIPTORS) as gateway:
        port = int(gateway.url.rpartition(":")[2])
        async with (
            silent_connections(port, 2 * DESCRIPTORS),
            silent_connections(ops_port, 2 * DESCRIPTORS),
        ):
            for user in range(1, 6):
                await asyncio.wait_for(gateway.say(user, user=user), LIMIT)
            users = range(1, 6)
            await wait_until(lambda: all(map(gateway.simulator.messages, users)))
            status, _ = await get(ops_port, "/ready")
            assert status == 200
            _, metrics = await get(ops_port, "/metrics")
        assert "gateway_failed_accepts_total 0.0" in metrics
        evicted = re.search(r"\ngateway_connections_evicted_total (\S+)", metrics)
        assert evicted
        assert float(evicted[1]) > DESCRIPTORS
        gateway.process.send_signal(signal.SIGTERM)
        output, errors = await asyncio.wait_for(gateway.process.communicate(), LIMIT)
        assert errors == b""
        assert len(output.splitlines()) < 300  # two a second, not one per connection


async def test_a_flood_of_the_pages_of_operators_blames_no_worker(
    tmp_path: Path,
) -> None:
    """The process above the workers still reaches all of them, and kills none."""
    raise_descriptor_limit()
    redis = RedisServer(tmp_path, "")
    redis.start()
    (ops_port,) = free_ports(1)
    settings = {"WORKERS": "2", "REDIS_URL": redis.url, "OPS_PORT": str(ops_port)}

    async def all_answer() -> bool:
        _, page = await get(ops_port, "/metrics")
        return "gateway_workers 2.0" in page

    try:
        async with serving_process(settings, descriptors=DESCRIPTORS) as gateway:
            await wait_until_found(all_answer)
            pids = workers_of(gateway.process.pid)
            for pid in (gateway.process.pid, *pids.values()):
                raised = resource.prlimit(pid, resource.RLIMIT_NOFILE)
                assert raised == (DESCRIPTORS, DESCRIPTORS)
            async with silent_connections(ops_port, 2 * DESCRIPTORS):
                assert await all_answer()
                descriptors = f"/proc/{gateway.process.pid}/fd"
                assert len(os.listdir(descriptors)) < DESCRIPTORS  # noqa: PTH208 - only counted
                assert workers_of(gateway.process.pid) == pids
    finally:
        redis.kill()
