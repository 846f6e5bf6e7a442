"""Health, readiness and metrics of all workers together.

A worker's own pages are on a Unix socket that only this user can reach. The process
above them asks all of them and gives one answer, so that nobody sees a random worker.

Concurrency: all workers are asked at the same time, and none is waited for longer than
`WORKER_TIMEOUT_SECONDS`. Whoever asks a worker for its health while it asks already
shares that answer.
"""

import asyncio
import contextlib
import errno
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
from aiohttp import web
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

WORKER_TIMEOUT_SECONDS = 0.75
"""How long a worker has to answer. One that hangs must not hang the others' pages."""
SUPERVISOR_TIMEOUT_SECONDS = 1.0
"""How long the process above has, for a worker that asks it: longer, because it waits
for the workers in between."""

_JSON = "application/json"
_PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"

_LOCAL_ERRORS = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
"""This process has no room for another connection."""

JsonObject = dict[str, Any]
"""What a page in JSON says."""
Handler = Callable[[web.BaseRequest], Awaitable[web.Response]]
Restarts = Callable[[], Sequence[int]]


def get_worker_socket(directory: Path, number: int) -> Path:
    """Name the socket at which a worker shows its own pages."""
    return directory / str(number)


def get_supervisor_socket(directory: Path) -> Path:
    """Name the socket at which the health of all workers is told."""
    return directory / "whole"


def remove_sockets(worker_socket: Path) -> None:
    """Remove what a process above that is gone could not remove; the last one does.

    Args:
        worker_socket: the socket of this worker.
    """
    with contextlib.suppress(OSError):
        worker_socket.unlink(missing_ok=True)
        get_supervisor_socket(worker_socket.parent).unlink(missing_ok=True)
        worker_socket.parent.rmdir()


class LocalFailure:
    """Stands for the answer of a process that could not be asked."""


class AggregatedEndpoints:
    """The pages of the process above the workers.

    Args:
        sockets: of the workers, by number.
        restarts: how often each of them was started again.
        own_metrics: the metrics page of this process.
        own_failing: the names of this process's background tasks that fail.
    """

    def __init__(
        self,
        sockets: Sequence[Path],
        restarts: Restarts,
        own_metrics: Callable[[], bytes] = bytes,
        own_failing: Callable[[], list[str]] = list,
    ) -> None:
        self._sockets = sockets
        self._restarts = restarts
        self._own_metrics = own_metrics
        self._own_failing = own_failing
        self.internal = {
            ("GET", "/health"): self._handle_health,
            ("GET", "/ready"): self._handle_ready,
            ("GET", "/metrics"): self._handle_metrics,
        }
        """`/health` with all details, `/ready` and `/metrics`: for operators."""
        self.health = {("GET", "/health"): self._handle_status}
        """`/health` as everybody may read it, for the workers to ask for."""

    async def find_unresponsive(self) -> set[int]:
        """Tell which workers do not answer, but not those that could not be asked."""
        answers = await self._fetch_all("/ready")
        return {number for number, it in enumerate(answers) if it is None}

    async def _handle_ready(self, request: web.BaseRequest) -> web.Response:
        ready = merge_ready(await self._fetch_json("/ready"))
        body = msgspec.json.encode(ready)
        status = 200 if ready["ready"] else 503
        return web.Response(status=status, body=body, content_type=_JSON)

    async def _handle_metrics(self, request: web.BaseRequest) -> web.Response:
        pages = await self._fetch_pages("/metrics")
        body = merge_metrics(pages, self._restarts(), self._own_metrics())
        return web.Response(body=body, headers={"Content-Type": _PROMETHEUS})

    async def _handle_health(self, request: web.BaseRequest) -> web.Response:
        body = msgspec.json.encode(await self._get_health())
        return web.Response(body=body, content_type=_JSON)

    async def _handle_status(self, request: web.BaseRequest) -> web.Response:
        health = await self._get_health()
        body = msgspec.json.encode({"status": health["status"]})
        return web.Response(body=body, content_type=_JSON)

    async def _get_health(self) -> JsonObject:
        answers = await self._fetch_json("/health")
        return merge_health(answers, self._own_failing())

    async def _fetch_json(self, page: str) -> list[JsonObject | None]:
        answers = await self._fetch_pages(page)
        return [None if it is None else msgspec.json.decode(it) for it in answers]

    async def _fetch_pages(self, page: str) -> list[bytes | None]:
        answers = await self._fetch_all(page)
        return [None if isinstance(it, LocalFailure) else it for it in answers]

    async def _fetch_all(self, page: str) -> list[bytes | LocalFailure | None]:
        return await asyncio.gather(
            *(_fetch(path, page, WORKER_TIMEOUT_SECONDS) for path in self._sockets)
        )


class SupervisorHealthProxy:
    """The public `/health` of a worker: it tells the health of all of them.

    Args:
        path: the socket of the process above.
        own: answers with the worker's own status, for when that one does not.
    """

    def __init__(self, socket: Path, fallback: Handler) -> None:
        self._socket = socket
        self._fallback = fallback
        self._pending_fetch: asyncio.Task[bytes | LocalFailure | None] | None = None
        self.endpoints = {("GET", "/health"): self._handle_health}
        """What is served, by method and path."""

    async def _handle_health(self, request: web.BaseRequest) -> web.Response:
        # The page is open to strangers, and one question to us is one to every worker.
        if self._pending_fetch is None or self._pending_fetch.done():
            fetch = _fetch(self._socket, "/health", SUPERVISOR_TIMEOUT_SECONDS)
            self._pending_fetch = asyncio.create_task(fetch, name="ask for health")
        body = await asyncio.shield(self._pending_fetch)
        if not isinstance(body, bytes):
            return await self._fallback(request)
        return web.Response(body=body, content_type=_JSON)


def merge_health(
    answers: Sequence[JsonObject | None], failing: Iterable[str] = ()
) -> JsonObject:
    """Put the workers' health together.

    Args:
        answers: one per worker; None from one that did not answer.
        failing: the names of the tasks that fail in the process above the workers.
    """
    healths = [health for health in answers if health]
    missing = len(answers) - len(healths)
    tasks = sorted({*failing, *(it for own in healths for it in own["failing_tasks"])})
    is_ok = (
        not missing
        and not tasks
        and all(health["status"] == "ok" for health in healths)
    )
    return {
        "status": "ok" if is_ok else "degraded",
        "version": _join_distinct("version", healths),
        "mailboxes": _join_distinct("mailboxes", healths),
        "bot_api": _merge_bot_api_status(healths),
        "workers": len(healths),
        "missing_workers": missing,
        "active_actors": sum(health["active_actors"] for health in healths),
        "queued_updates": sum(health["queued_updates"] for health in healths),
        "failing_tasks": tasks,
        "problems": sorted({it for own in healths for it in own["problems"]}),
    }


def merge_ready(answers: Sequence[JsonObject | None]) -> JsonObject:
    """Put the workers' readiness together: one that is ready is enough.

    Args:
        answers: one per worker; None from one that did not answer.
    """
    known = [answer for answer in answers if answer]
    ready = any(answer["ready"] for answer in known)
    reason = "" if ready else _join_distinct("reason", known) or "no worker answers"
    return {"ready": ready, "reason": reason, "bot_api": _merge_bot_api_status(known)}


def merge_metrics(
    pages: Sequence[bytes | None], restarts: Sequence[int], supervisor_page: bytes = b""
) -> bytes:
    """Make one page in the Prometheus text format, version 0.0.4.

    Every series gets the label `worker`. Nothing is added up: Prometheus does that, and
    knows that the counters of a worker that was started again begin at 0.

    Args:
        pages: the workers' pages by number; None of one that did not answer.
        restarts: how often each worker was started again.
        supervisor_page: the page of the process above them, which is called
            "supervisor".
    """
    families: dict[str, Metric] = {}
    for worker, page in [*enumerate(pages), ("supervisor", supervisor_page)]:
        for family in text_string_to_metric_families((page or b"").decode()):
            merged = families.setdefault(
                family.name, Metric(family.name, family.documentation, family.type)
            )
            for sample in family.samples:
                labels = {**sample.labels, "worker": str(worker)}
                merged.samples.append(sample._replace(labels=labels))
    return generate_latest(
        _StaticCollector([*_build_worker_families(pages, restarts), *families.values()])
    )


def _build_worker_families(
    pages: Sequence[bytes | None], restarts: Sequence[int]
) -> Iterable[Metric]:
    answering = sum(page is not None for page in pages)
    yield GaugeMetricFamily("gateway_workers", "Workers that answer.", answering)
    again = CounterMetricFamily(
        "gateway_worker_restarts", "Workers started again.", labels=["worker"]
    )
    for number, times in enumerate(restarts):
        again.add_metric([str(number)], times)
    yield again


class _StaticCollector(Collector):
    """Metrics as they are, for the writer of the page."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


def _merge_bot_api_status(answers: Iterable[JsonObject]) -> str:
    """Say whether the Bot API fails for any worker."""
    failing = any(answer["bot_api"] == "failing" for answer in answers)
    return "failing" if failing else "ok"


def _join_distinct(name: str, answers: Iterable[JsonObject]) -> str:
    """Give what the answers say, each thing once."""
    return ", ".join(sorted({answer[name] for answer in answers}))


async def _fetch(path: Path, page: str, seconds: float) -> bytes | LocalFailure | None:
    """Get a page from a Unix socket, whatever its status.

    Returns:
        The page. None: whoever listens there did not answer in time. NotAsked: this
        process is at fault, which tells nothing about the other one.
    """
    begin = time.monotonic()
    try:
        async with (
            asyncio.timeout(seconds),
            aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(path))) as client,
            client.get(f"http://gateway{page}") as response,
        ):
            return await response.read()
    except (aiohttp.ClientError, OSError) as error:  # a TimeoutError is an OSError
        stood_still = time.monotonic() - begin > 2 * seconds
        if stood_still or getattr(error, "errno", None) in _LOCAL_ERRORS:
            return LocalFailure()
        return None
