"""One page out of many workers' pages."""

import asyncio
import json
import socket
import time
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from gateway.domain.processing_record import Outcome, ProcessingRecord
from gateway.http.server import HealthEndpoints, serve_unix_socket
from gateway.observability.metrics import Metrics, ProcessMetrics
from gateway.workers.aggregation import (
    WORKER_TIMEOUT_SECONDS,
    AggregatedEndpoints,
    SupervisorHealthProxy,
    merge_health,
    merge_metrics,
    merge_ready,
)
from tests.support.waiting import wait_until


def a_health(
    status: str = "ok", mailboxes: str = "redis", n: int = 1, bot_api: str = "ok"
) -> dict[str, Any]:
    """Return the health of one worker."""
    return {
        "status": status,
        "version": "1",
        "contracts": "generation 3",
        "mailboxes": mailboxes,
        "bot_api": bot_api,
        "active_actors": n,
        "queued_updates": 10 * n,
        "failing_tasks": [],
        "problems": [],
    }


def a_page(updates: int) -> bytes:
    """Return the metrics of one worker."""
    metrics = Metrics()
    for _ in range(updates):
        metrics.observe_update(
            ProcessingRecord(
                update_type="message",
                route="text",
                outcome=Outcome.DONE,
                queue_seconds=0.2,
            )
        )
    metrics.add_gauge("gateway_active_actors", 'Mailboxes "served".', lambda: updates)
    return metrics.render()


def ops(name: str) -> HealthEndpoints:
    """Return the pages of one worker."""
    return HealthEndpoints(
        health=lambda: a_health(name),
        ready=lambda: {"ready": True, "reason": "", "bot_api": "ok"},
        metrics=lambda: a_page(1),
    )


def test_the_gateway_is_ok_if_all_workers_are() -> None:
    """What each of them works on is added up."""
    assert merge_health([a_health(n=1), a_health(n=2)]) == {
        "status": "ok",
        "version": "1",
        "contracts": "generation 3",
        "mailboxes": "redis",
        "bot_api": "ok",
        "workers": 2,
        "missing_workers": 0,
        "active_actors": 3,
        "queued_updates": 30,
        "failing_tasks": [],
        "problems": [],
    }


@pytest.mark.parametrize("second", [None, a_health("degraded", "memory")])
def test_one_bad_worker_degrades_the_gateway(second: dict[str, Any] | None) -> None:
    """One that is missing, and one that says so itself."""
    health = merge_health([a_health(), second])
    assert health["status"] == "degraded"
    assert health["missing_workers"] == (second is None)
    assert health["mailboxes"] == ("memory, redis" if second else "redis")


def test_a_bot_api_that_fails_for_one_worker_fails() -> None:
    """It shows in the health and in the readiness of the whole, which stays ready."""
    failing = a_health("degraded", bot_api="failing")
    health = merge_health([a_health(), failing])
    assert (health["status"], health["bot_api"]) == ("degraded", "failing")
    fine = {"ready": True, "reason": "", "bot_api": "ok"}
    ready = merge_ready([fine, fine | {"bot_api": "failing"}])
    assert ready == {"ready": True, "reason": "", "bot_api": "failing"}


def test_one_ready_worker_is_enough() -> None:
    """Its port takes all that comes."""
    starting = {"ready": False, "reason": "starting", "bot_api": "ok"}
    ready = {"ready": True, "reason": "", "bot_api": "ok"}
    assert merge_ready([None, starting, ready]) == ready
    assert merge_ready([starting, None, starting]) == starting
    assert merge_ready([None])["reason"] == "no worker answers"


def test_every_series_says_which_worker_it_is_of() -> None:
    """Counters, histograms and gauges stand side by side under one headline."""
    own = ProcessMetrics()
    own.add_counter("gateway_log_lines_dropped", "Log lines.", lambda: 7)
    pages = [a_page(3), None, a_page(5)]
    page = merge_metrics(pages, [0, 4, 0], own.render()).decode()
    lines = page.splitlines()
    labels = 'outcome="done",route="text",update_type="message"'
    for line in (
        f'gateway_updates_total{{{labels},worker="0"}} 3.0',
        f'gateway_updates_total{{{labels},worker="2"}} 5.0',
        'gateway_queue_wait_seconds_bucket{le="0.25",worker="2"} 5.0',
        'gateway_queue_wait_seconds_count{worker="0"} 3.0',
        'gateway_active_actors{worker="2"} 5.0',
        "gateway_workers 2.0",
        'gateway_worker_restarts_total{worker="1"} 4.0',
        'gateway_log_lines_dropped_total{worker="supervisor"} 7.0',
    ):
        assert lines.count(line) == 1
    heads = [line for line in lines if line.startswith("#")]
    assert len(heads) == len(set(heads))
    # Nothing but the label is new, and nothing is lost.
    theirs = [it for it in lines if 'worker="2"' in it and "restarts" not in it]
    bare = [it.replace(',worker="2"', "").replace('{worker="2"}', "") for it in theirs]
    alone = [it for it in a_page(5).decode().splitlines() if it[0] != "#"]
    assert [it for it in bare if "_created" not in it] == [
        it for it in alone if "_created" not in it
    ]
    assert {*heads} >= {
        it for it in a_page(5).decode().splitlines() if it.startswith("#")
    }


async def test_all_are_asked_and_none_is_waited_for(tmp_path: Path) -> None:
    """One hangs for ever, one is gone, one answers: so does the whole."""
    good, bad, gone, above = (tmp_path / name for name in ("0", "1", "2", "supervisor"))
    whole = AggregatedEndpoints([good, bad, gone], lambda: [0, 0, 1])
    hanging = socket.socket(socket.AF_UNIX)
    hanging.bind(str(bad))
    hanging.listen()  # and nobody accepts, as in a process that is stopped
    pages = ops("1").internal
    async with (
        serve_unix_socket(pages, good),
        serve_unix_socket(whole.internal, above),
        aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(above))) as client,
    ):
        begin = time.monotonic()
        answers = await asyncio.gather(
            *(_get(client, page) for page in ("/health", "/ready", "/metrics"))
        )
        assert time.monotonic() - begin >= WORKER_TIMEOUT_SECONDS
    hanging.close()
    (_, health), (ready, _), (_, metrics) = answers
    assert json.loads(health)["workers"] == 1
    assert json.loads(health)["missing_workers"] == 2
    assert ready == 200
    assert "gateway_workers 1.0" in metrics


async def test_a_worker_tells_the_health_of_the_gateway(tmp_path: Path) -> None:
    """Its own where the process above it does not answer."""
    above, public = tmp_path / "supervisor", tmp_path / "public"
    health = SupervisorHealthProxy(above, ops("own").handle_status)
    async with (
        serve_unix_socket(health.endpoints, public),
        aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(public))) as client,
    ):
        async with serve_unix_socket(ops("whole").public, above):
            assert await _get(client, "/health") == (200, '{"status":"whole"}')
        assert await _get(client, "/health") == (200, '{"status":"own"}')


async def test_a_flood_of_questions_is_few_for_the_gateway(tmp_path: Path) -> None:
    """`/health` is open to strangers."""
    above, public = tmp_path / "supervisor", tmp_path / "public"
    asked = arrived = 0

    async def count(request: web.BaseRequest) -> web.Response:
        nonlocal asked
        asked += 1
        await wait_until(lambda: arrived == 50)
        return web.Response(body=b"{}")

    health = SupervisorHealthProxy(above, ops("own").handle_status)

    async def arrive(request: web.BaseRequest) -> web.StreamResponse:
        nonlocal arrived
        arrived += 1
        return await health.endpoints["GET", "/health"](request)

    async with (
        serve_unix_socket({("GET", "/health"): count}, above),
        serve_unix_socket({("GET", "/health"): arrive}, public),
        aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(public))) as client,
    ):
        await asyncio.gather(*(_get(client, "/health") for _ in range(50)))
    assert asked < 5


async def _get(client: aiohttp.ClientSession, page: str) -> tuple[int, str]:
    async with client.get(f"http://gateway{page}") as response:
        return response.status, await response.text()
