"""Aggregates health, readiness and metrics of all workers.

A worker's internal endpoints are on a Unix socket that only this user can access. The
supervisor requests them from all workers and merges the responses, so that a client
never sees the state of a random worker.

Concurrency: all workers are requested concurrently, each with the timeout
`WORKER_TIMEOUT_SECONDS`. Concurrent requests for a worker's public health share one
request to the supervisor.
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
"""Timeout of a worker's response. A blocked worker must not block the merged pages."""
SUPERVISOR_TIMEOUT_SECONDS = 1.0
"""Timeout for a worker's request to the supervisor; longer, because the supervisor
requests the health of all workers in between."""

_JSON = "application/json"
_PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"

_LOCAL_ERRORS = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
"""This process cannot open another connection."""

JsonObject = dict[str, Any]
"""A decoded JSON object."""
Handler = Callable[[web.BaseRequest], Awaitable[web.Response]]
Restarts = Callable[[], Sequence[int]]


def get_worker_socket(directory: Path, number: int) -> Path:
    """Return the path of the Unix socket with a worker's internal endpoints.

    Args:
        directory: the directory of all sockets, from `create_socket_directory`.
        number: the number of the worker, from 0.
    """
    return directory / str(number)


def get_supervisor_socket(directory: Path) -> Path:
    """Return the path of the Unix socket with the supervisor's merged `/health`.

    Args:
        directory: the directory of all sockets, from `create_socket_directory`.
    """
    return directory / "supervisor"


def remove_sockets(worker_socket: Path) -> None:
    """Remove the socket files that a supervisor left behind because it was killed.

    Each remaining worker calls this when it stops. It removes the worker's socket and
    the supervisor's; the last worker also removes the directory. Errors are ignored.

    Args:
        worker_socket: the socket of this worker.
    """
    with contextlib.suppress(OSError):
        worker_socket.unlink(missing_ok=True)
        get_supervisor_socket(worker_socket.parent).unlink(missing_ok=True)
        worker_socket.parent.rmdir()


class LocalFailure:
    """Stands for the response to a request that failed because of this process.

    For example it had no free file descriptor. It says nothing about the other process.
    """


class AggregatedEndpoints:
    """The supervisor's HTTP endpoints, which merge the responses of all workers.

    Args:
        sockets: the sockets with the workers' internal endpoints; the index is the
            number of the worker.
        restarts: returns how often each worker was restarted.
        own_metrics: returns the supervisor's own metrics page; by default an empty one.
        own_failing: returns the names of the supervisor's failing background tasks; by
            default none.
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
        """The handlers of the detailed `/health`, of `/ready` and of `/metrics`, for
        operators."""
        self.health = {("GET", "/health"): self._handle_status}
        """The handler of the public `/health`, which workers fetch through the
        supervisor's socket."""

    async def find_unresponsive(self) -> set[int]:
        """Probe `/ready` of all workers, and return the numbers of the silent ones.

        A worker is silent if it sends no response, of any status, within
        `WORKER_TIMEOUT_SECONDS`. A worker whose request failed in this process is not
        included: nothing is known about it.
        """
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
    """A worker's public `/health`, which shows the health of all workers together.

    It is fetched from the supervisor.

    Args:
        socket: the Unix socket of the supervisor.
        fallback: handles the request with this worker's own status if the supervisor
            does not respond within `SUPERVISOR_TIMEOUT_SECONDS`.
    """

    def __init__(self, socket: Path, fallback: Handler) -> None:
        self._socket = socket
        self._fallback = fallback
        self._pending_fetch: asyncio.Task[bytes | LocalFailure | None] | None = None
        self.endpoints = {("GET", "/health"): self._handle_health}
        """The handlers by method and path."""

    async def _handle_health(self, request: web.BaseRequest) -> web.Response:
        # Strangers can request this page, and each fetch is a request to every worker.
        if self._pending_fetch is None or self._pending_fetch.done():
            fetch = _fetch(self._socket, "/health", SUPERVISOR_TIMEOUT_SECONDS)
            self._pending_fetch = asyncio.create_task(fetch, name="fetch health")
        body = await asyncio.shield(self._pending_fetch)
        if not isinstance(body, bytes):
            return await self._fallback(request)
        return web.Response(body=body, content_type=_JSON)


def merge_health(
    answers: Sequence[JsonObject | None], failing: Iterable[str] = ()
) -> JsonObject:
    """Merge the health of all workers into the fields of one `/health` page.

    The status is "ok" only if all workers responded, each is "ok", and no task is
    failing.

    Args:
        answers: the response of each worker; None for one that did not respond.
        failing: the names of the supervisor's failing background tasks.
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
        "contracts": _join_distinct("contracts", healths),
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
    """Merge the readiness of the workers into the fields of one `/ready` page.

    One ready worker is enough. Otherwise "reason" has the workers' reasons.

    Args:
        answers: the response of each worker; None for one that did not respond.
    """
    known = [answer for answer in answers if answer]
    ready = any(answer["ready"] for answer in known)
    reason = "" if ready else _join_distinct("reason", known) or "no worker answers"
    return {"ready": ready, "reason": reason, "bot_api": _merge_bot_api_status(known)}


def merge_metrics(
    pages: Sequence[bytes | None], restarts: Sequence[int], supervisor_page: bytes = b""
) -> bytes:
    """Merge the metrics into one page in the Prometheus text format, version 0.0.4.

    Every series gets the label `worker`. Nothing is summed: Prometheus does that, and
    detects that the counters of a restarted worker begin at 0. The page also says how
    many workers responded, and how often each was restarted.

    Args:
        pages: the workers' pages; the index is the number of the worker. None for one
            that did not respond.
        restarts: the number of restarts of each worker.
        supervisor_page: the supervisor's own page, whose series get the label
            "supervisor"; empty if it has none.
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
    yield GaugeMetricFamily("gateway_workers", "Workers that respond.", answering)
    restarts_family = CounterMetricFamily(
        "gateway_worker_restarts", "Restarts of workers.", labels=["worker"]
    )
    for number, times in enumerate(restarts):
        restarts_family.add_metric([str(number)], times)
    yield restarts_family


class _StaticCollector(Collector):
    """A collector of given metrics."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


def _merge_bot_api_status(answers: Iterable[JsonObject]) -> str:
    """Return "failing" if the Bot API fails for any worker, or else "ok"."""
    failing = any(answer["bot_api"] == "failing" for answer in answers)
    return "failing" if failing else "ok"


def _join_distinct(name: str, answers: Iterable[JsonObject]) -> str:
    """Return the distinct values of a field, sorted and joined with commas."""
    return ", ".join(sorted({answer[name] for answer in answers}))


async def _fetch(path: Path, page: str, seconds: float) -> bytes | LocalFailure | None:
    """Fetch a page from a Unix socket, whatever its status.

    Returns:
        The page; None if the other process did not respond in time; or a
        `LocalFailure` if this process caused the failure, so that nothing is known
        about the other one.
    """
    started_at = time.monotonic()
    try:
        async with (
            asyncio.timeout(seconds),
            aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(path))) as client,
            client.get(f"http://gateway{page}") as response,
        ):
            return await response.read()
    except (aiohttp.ClientError, OSError) as error:  # a TimeoutError is an OSError
        was_paused = time.monotonic() - started_at > 2 * seconds
        if was_paused or getattr(error, "errno", None) in _LOCAL_ERRORS:
            return LocalFailure()
        return None
