"""The endless tasks of a whole gateway: each survives a failure, and tells of it."""

import asyncio
import contextlib
import json
import os
import re
from pathlib import Path

import pytest

from gateway.actors.leases import LeaseRenewer
from gateway.actors.scheduler import ActorScheduler
from gateway.bots import composition
from gateway.mailboxes.redis.client.connection import PipelinedConnection
from gateway.mailboxes.stream_cancellation import RedisCancellationBus
from tests.support.failing import FAILED, break_once
from tests.support.gateway_harness import running_gateway
from tests.support.process import ROOT, serving_process
from tests.support.redis_servers import RedisServer
from tests.support.tcp_ports import free_ports
from tests.support.waiting import LIMIT, wait_until, wait_until_found
from tests.support.worker_probes import get


async def test_every_task_of_a_gateway_survives_a_failure(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It is seen in log, metrics and health while it runs, and users are served."""
    broken = {
        "sync bot profile": break_once(monkeypatch, composition, "sync_profiles"),
        "renew leases": break_once(monkeypatch, LeaseRenewer, "run"),
        "scan mailboxes": break_once(monkeypatch, ActorScheduler, "_scan_forever"),
        "listen for cancellations": break_once(
            monkeypatch, RedisCancellationBus, "_keep_listening"
        ),
        "redis connection": break_once(
            monkeypatch, PipelinedConnection, "_keep_connected"
        ),
    }
    server = RedisServer(tmp_path, "")
    server.start()
    try:
        async with running_gateway(redis_url=server.url) as gateway:
            await wait_until(lambda: all(it.calls == 2 for it in broken.values()))
            lines = [it for it in gateway.log() if it["message"] == FAILED]
            assert sorted(it["task"] for it in lines) == sorted(broken)
            assert "hush" not in str(lines)
            _, metrics = await gateway.get("/metrics", ops=True)
            for name in broken:
                series = "gateway_background_task_failures_total"
                assert f'{series}{{task="{name}"}} 1.0' in metrics
            health = json.loads((await gateway.get("/health", ops=True))[1])
            assert health["status"] == "degraded"
            assert health["failing_tasks"] == sorted(broken)
            await gateway.say("hi")
            await wait_until(lambda: gateway.texts() == ["echo: hi"])
            sent = gateway.simulator.sent
            await wait_until(lambda: "setMyCommands" in {it.method for it in sent})
    finally:
        server.kill()


FAILING_WATCH = """
from gateway.workers.aggregation import AggregatedEndpoints

silent = AggregatedEndpoints.find_unresponsive
failed = False

async def fail_once(self):
    global failed
    if not failed:
        failed = True
        raise KeyError("hush")
    return await silent(self)

AggregatedEndpoints.find_unresponsive = fail_once
"""


async def test_who_watches_the_workers_survives_a_failure(tmp_path: Path) -> None:
    """Seen in the metrics, the health and the log of the whole."""
    (tmp_path / "sitecustomize.py").write_text(FAILING_WATCH)
    redis = RedisServer(tmp_path, "")
    redis.start()
    (ops_port,) = free_ports(1)
    path = [str(tmp_path), str(ROOT), str(ROOT / "generated")]
    settings = {
        "WORKERS": "2",
        "REDIS_URL": redis.url,
        "OPS_PORT": str(ops_port),
        "PYTHONPATH": os.pathsep.join(path),
    }
    series = 'gateway_background_task_failures_total{task="watch workers",worker='

    async def is_told() -> bool:
        with contextlib.suppress(OSError):
            _, page = await get(ops_port, "/metrics")
            return f'{series}"supervisor"}} 1.0' in page
        return False

    try:
        async with serving_process(settings) as gateway:
            await wait_until_found(is_told)
            health = json.loads((await get(ops_port, "/health"))[1])
            assert (health["status"], health["failing_tasks"]) == (
                "degraded",
                ["watch workers"],
            )
            gateway.process.terminate()
            output, _ = await asyncio.wait_for(gateway.process.communicate(), LIMIT)
            assert len(re.findall(f'"{FAILED}"', output.decode())) == 1
    finally:
        redis.kill()
