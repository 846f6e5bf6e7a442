"""`telegram-gateway broadcasts`: list, show, pause, resume and cancel broadcasts.

Texts and idempotency keys are never printed: they may contain what users or services
wrote. All functions raise ConfigurationError without a REDIS_URL, and StoreUnavailable
if Redis does not answer. With the id of no broadcast the process ends with the code 1.
"""

import asyncio
import re
import sys
from collections.abc import Awaitable, Callable, Collection
from datetime import UTC, datetime

import click
from msgspec import structs

from gateway.cli.opened_store import open_store
from gateway.config.settings import load_settings
from gateway.domain.broadcast import (
    Broadcast,
    BroadcastCounts,
    BroadcastRecord,
    BroadcastState,
)
from gateway.domain.broadcast_store import BroadcastStore
from gateway.domain.delivery import DeliveryState
from gateway.domain.errors import ConfigurationError

BAR_WIDTH = 40

WATCH_SECONDS = 1.0
"""The interval at which `watch_broadcast` reads the progress from the store."""


def print_broadcasts(limit: int) -> None:
    """Print the newest broadcasts of all bots, one a line, at most `limit`."""

    async def show(store: BroadcastStore) -> None:
        for record in await store.list_broadcasts(limit):
            counts = await store.count_recipients(record.broadcast)
            click.echo(_format_line(record, counts))

    _run(show)


def print_broadcast(broadcast_id: str) -> None:
    """Print the state of a broadcast, and the counts of its recipients."""

    async def show(store: BroadcastStore) -> None:
        record = await _get_record(store, broadcast_id)
        counts = await store.count_recipients(record.broadcast)
        click.echo(_format_record(record, counts))

    _run_with_id(broadcast_id, show)


def watch_broadcast(broadcast_id: str) -> None:
    """Print a progress bar of a broadcast, until no recipient waits any more.

    It returns when the deliveries for all recipients have ended.
    """

    async def watch(store: BroadcastStore) -> None:
        broadcast = (await _get_record(store, broadcast_id)).broadcast
        while True:
            counts = await store.count_recipients(broadcast)
            click.echo(f"\r{_format_progress(counts)}", nl=False)
            if not counts.waiting and not counts.in_progress:
                break
            await asyncio.sleep(WATCH_SECONDS)
        click.echo()

    _run_with_id(broadcast_id, watch)


def pause_broadcast(broadcast_id: str) -> None:
    """Pause a running broadcast, and print its state.

    If it is neither running nor paused, the process ends with the code 1.
    """
    allowed = {BroadcastState.RUNNING, BroadcastState.PAUSED}
    _change_state(broadcast_id, BroadcastState.PAUSED, allowed)


def resume_broadcast(broadcast_id: str) -> None:
    """Continue a paused broadcast, and print its state.

    If it is neither paused nor running, the process ends with the code 1.
    """
    allowed = {BroadcastState.RUNNING, BroadcastState.PAUSED}
    _change_state(broadcast_id, BroadcastState.RUNNING, allowed)


def cancel_broadcast(broadcast_id: str) -> None:
    """Cancel a broadcast and drop its waiting recipients, and print its state.

    If it was completed, the process ends with the code 1.
    """

    async def drop(store: BroadcastStore, broadcast: Broadcast) -> None:
        await store.drop_recipients(broadcast, DeliveryState.CANCELLED)

    allowed = {*BroadcastState} - {BroadcastState.COMPLETED}
    _change_state(broadcast_id, BroadcastState.CANCELLED, allowed, drop)


def _change_state(
    broadcast_id: str,
    state: BroadcastState,
    allowed: Collection[BroadcastState],
    finish: Callable[[BroadcastStore, Broadcast], Awaitable[None]] | None = None,
) -> None:
    """Change the state of a broadcast, and print it."""

    async def change(store: BroadcastStore) -> None:
        broadcast = (await _get_record(store, broadcast_id)).broadcast
        before = await store.change_state(broadcast_id, state, allowed)
        if before in allowed and finish is not None:
            await finish(store, broadcast)
        record = await _get_record(store, broadcast_id)
        counts = await store.count_recipients(broadcast)
        click.echo(_format_record(record, counts))
        if before not in allowed:
            click.echo(f"{broadcast_id}: it is {before}", err=True)
            sys.exit(1)

    _run_with_id(broadcast_id, change)


async def _get_record(store: BroadcastStore, broadcast_id: str) -> BroadcastRecord:
    record = await store.get_broadcast(broadcast_id)
    if record is None:
        click.echo(f"{broadcast_id}: there is no such broadcast", err=True)
        sys.exit(1)
    return record


def _format_line(record: BroadcastRecord, counts: BroadcastCounts) -> str:
    broadcast = record.broadcast
    fields = f"state={record.state} bot={broadcast.bot_id} caller={broadcast.caller}"
    time = _format_time(broadcast.created_at)
    return f"{broadcast.broadcast_id}  {time}  {fields}  {_format_progress(counts)}"


def _format_record(record: BroadcastRecord, counts: BroadcastCounts) -> str:
    broadcast = record.broadcast
    numbers = structs.asdict(counts)
    reasons: dict[str, int] = numbers.pop("reasons")
    lines = {
        "broadcast": broadcast.broadcast_id,
        "state": record.state.value,
        "bot": str(broadcast.bot_id),
        "caller": broadcast.caller,
        "created": _format_time(broadcast.created_at),
        "changed": _format_time(record.changed_at),
        "expires": _format_time(broadcast.expires_at),
        "progress": _format_progress(counts),
        **{name.replace("_", " "): str(number) for name, number in numbers.items()},
        **{f"reason {name}": str(number) for name, number in sorted(reasons.items())},
    }
    return "\n".join(f"{name}: {value}" for name, value in lines.items())


def _format_progress(counts: BroadcastCounts) -> str:
    """Return a bar that shows the share of recipients whose delivery has ended."""
    ended = counts.total - counts.waiting - counts.in_progress
    share = ended / counts.total if counts.total else 0.0
    filled = int(share * BAR_WIDTH)
    bar = "#" * filled + "-" * (BAR_WIDTH - filled)
    return f"[{bar}] {int(share * 100):3} % of {counts.total}"


def _format_time(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} UTC"


def _run_with_id(
    broadcast_id: str, act: Callable[[BroadcastStore], Awaitable[None]]
) -> None:
    if not re.fullmatch(r"[A-Za-z0-9_-]{16}", broadcast_id):
        raise click.UsageError("Pass an id as CreateBroadcast returned it.")
    _run(act)


def _run(act: Callable[[BroadcastStore], Awaitable[None]]) -> None:
    settings = load_settings()
    if settings.store_url is None:
        problem = "REDIS_URL is not set: broadcasts in memory end with their process"
        raise ConfigurationError([problem])

    async def run() -> None:
        async with open_store(settings) as store:
            await act(store.broadcasts)

    asyncio.run(run())
