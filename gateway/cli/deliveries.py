"""`telegram-gateway deliveries`: list, show and cancel deliveries.

Texts, idempotency keys and Telegram's descriptions are never printed: they may contain
what users or services wrote. All functions raise ConfigurationError if neither
REDIS_URL nor DATA_DIR is set, and StoreUnavailable if the store does not answer.
"""

import asyncio
import re
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

import click

from gateway.cli.opened_store import open_store
from gateway.clock import SystemClock
from gateway.config.settings import Settings, load_settings
from gateway.domain.delivery import DeliveryRecord, DeliveryState
from gateway.domain.delivery_store import DeliveryStore
from gateway.domain.errors import ConfigurationError
from gateway.mailboxes.redis.delivery_listing import open_delivery_listing
from gateway.mailboxes.sqlite.store import SqliteFile, open_sqlite_store


def print_deliveries(limit: int) -> None:
    """Print the deliveries that have not ended, one a line, at most `limit`."""
    settings = load_settings()
    ids = asyncio.run(_list_ids(settings, limit + 1))

    async def show(deliveries: DeliveryStore) -> None:
        for delivery_id in ids[:limit]:
            record = await deliveries.get_delivery(delivery_id)
            if record is not None:
                click.echo(_format_line(record))
        if len(ids) > limit:
            click.echo("There are more: raise --limit to print them.", err=True)

    if ids:
        asyncio.run(_run(settings, show))


def print_delivery(delivery_id: str) -> None:
    """Print the state of a delivery, and what became of it.

    If there is no such delivery, the process ends with the code 1.
    """

    async def show(deliveries: DeliveryStore) -> None:
        record = await deliveries.get_delivery(delivery_id)
        if record is None:
            _exit_unknown(delivery_id)
        else:
            click.echo(_format_record(record))

    _run_with_deliveries(delivery_id, show)


def cancel_delivery(delivery_id: str) -> None:
    """Cancel a delivery of which nothing was sent yet, and print its state.

    If it has begun or ended, or does not exist, the process ends with the code 1.
    """

    async def cancel(deliveries: DeliveryStore) -> None:
        record = await deliveries.cancel_delivery(delivery_id)
        if record is None:
            _exit_unknown(delivery_id)
            return
        click.echo(_format_record(record))
        if record.state is not DeliveryState.CANCELLED:
            click.echo(f"{delivery_id}: cannot be cancelled any more", err=True)
            sys.exit(1)

    _run_with_deliveries(delivery_id, cancel)


def _exit_unknown(delivery_id: str) -> None:
    click.echo(f"{delivery_id}: there is no such delivery", err=True)
    sys.exit(1)


def _format_record(record: DeliveryRecord) -> str:
    lines = {
        "delivery": record.delivery_id,
        "state": record.state.value,
        "reason": record.reason,
        "ordering key": record.ordering_key,
        "caller": record.caller,
        "accepted": _format_time(record.accepted_at),
        "changed": _format_time(record.updated_at),
        "sent messages": str(len(record.sent_parts)),
        "maybe repeated": "yes" if record.maybe_repeated else "no",
    }
    return "\n".join(f"{name}: {value or '-'}" for name, value in lines.items())


def _format_line(record: DeliveryRecord) -> str:
    fields = (
        f"state={record.state} ordering_key={record.ordering_key}"
        f" caller={record.caller}"
    )
    return f"{record.delivery_id}  {_format_time(record.accepted_at)}  {fields}"


def _format_time(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} UTC"


def _run_with_deliveries(
    delivery_id: str, act: Callable[[DeliveryStore], Awaitable[None]]
) -> None:
    if not re.fullmatch(r"[A-Za-z0-9_-]{16}", delivery_id):
        raise click.UsageError("Pass an id as Send returned it.")
    settings = load_settings()
    _check_store(settings)
    asyncio.run(_run(settings, act))


def _check_store(settings: Settings) -> None:
    if settings.store_url is None and settings.data_dir is None:
        problem = "neither DATA_DIR nor REDIS_URL is set: deliveries in memory end"
        raise ConfigurationError([f"{problem} with their process"])


async def _list_ids(settings: Settings, limit: int) -> list[str]:
    _check_store(settings)
    if settings.store_url is not None:
        async with open_delivery_listing(
            settings.store_url, settings.redis_key_prefix, SystemClock()
        ) as listing:
            return await listing.list_ids(limit)
    async with open_sqlite_store(
        SqliteFile(settings.data_dir or Path(), settings.data_synchronous),
        SystemClock(),
        limit=settings.mailbox_limit,
    ) as store:
        return list(await store.deliveries.list_open_ids(limit))


async def _run(
    settings: Settings, act: Callable[[DeliveryStore], Awaitable[None]]
) -> None:
    async with open_store(settings) as store:
        await act(store.deliveries)
