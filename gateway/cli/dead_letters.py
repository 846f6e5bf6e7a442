"""`telegram-gateway dead-letters`: the updates that were given up, for a person.

Nothing that a user wrote is ever printed.
"""

import asyncio
import re
import sys
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime

import click

from gateway.clock import SystemClock
from gateway.config.settings import Settings, load_settings
from gateway.domain.errors import ConfigurationError, ForgedEntry
from gateway.domain.update import REPLAYED, Envelope
from gateway.mailboxes.redis.dead_letters import (
    DeadLetterId,
    DeadLetterSummary,
    RedisDeadLetters,
    open_dead_letters,
)
from gateway.mailboxes.signatures import StoreSignatures
from gateway.telegram.inbound.parser import UpdateParser


def print_letters(reason: str | None, limit: int) -> None:
    """Print the dead letters, oldest first, without their texts."""

    async def show(dead_letters: RedisDeadLetters) -> None:
        found = await dead_letters.list_summaries(reason=reason, limit=limit + 1)
        for summary in found[:limit]:
            click.echo(_line(summary))
        if len(found) > limit:
            click.echo("There are more: --limit shows them.", err=True)

    _with_letters(load_settings(), show)


def replay_letters(ids: tuple[str, ...], every: bool, reason: str | None) -> None:
    """Put updates back into their mailboxes; a worker takes them within a second.

    What ended its workers (poison) will do so again, unless that was mended.
    """
    choose = _selection(ids, every, reason)
    settings = load_settings()
    reader = UpdateParser(settings.bot_id)

    async def replay(dead_letters: RedisDeadLetters) -> None:
        # Listed to the end first: what fails again comes back at the end.
        await _each(
            await choose(dead_letters),
            "replayed",
            lambda place: _replay(dead_letters, place, reader),
        )

    _with_letters(settings, replay)


def delete_letters(ids: tuple[str, ...], every: bool, reason: str | None) -> None:
    """Delete dead letters for good, with what users wrote.

    They go by themselves after DEAD_LETTER_RETENTION.
    """
    choose = _selection(ids, every, reason)

    async def delete(dead_letters: RedisDeadLetters) -> None:
        await _each(
            await choose(dead_letters),
            "deleted",
            lambda place: _delete(dead_letters, place),
        )

    _with_letters(load_settings(), delete)


def _selection(
    ids: Sequence[str], every: bool, reason: str | None
) -> Callable[[RedisDeadLetters], Awaitable[Sequence[DeadLetterId]]]:
    """Return how to find the dead letters that the command line names.

    Raises:
        UsageError: it names none, or in two ways.
    """
    if [bool(ids), every, reason is not None].count(True) != 1:
        raise click.UsageError("Give ids, or --all, or --reason.")
    places = _places(ids)

    async def choose(dead_letters: RedisDeadLetters) -> Sequence[DeadLetterId]:
        if places:
            return places
        return [
            found.dead_letter_id
            for found in await dead_letters.list_summaries(reason=reason)
        ]

    return choose


async def _each(
    places: Sequence[DeadLetterId],
    done: str,
    act: Callable[[DeadLetterId], Awaitable[bool]],
) -> None:
    """Do something with each dead letter, and print for how many it succeeded."""
    count = 0
    try:
        for place in places:
            count += await act(place)
    finally:
        click.echo(f"{done} {count} of {len(places)}")
    if count < len(places):
        sys.exit(1)


async def _delete(dead_letters: RedisDeadLetters, place: DeadLetterId) -> bool:
    """Delete one. False: it was not there, and that was printed."""
    deleted = await dead_letters.delete(place)
    if not deleted:
        click.echo(f"{place}: there is no such dead letter", err=True)
    return deleted


async def _replay(
    dead_letters: RedisDeadLetters, place: DeadLetterId, reader: UpdateParser
) -> bool:
    """Put one update back. False: that cannot be done, and was said."""
    try:
        dead_letter = await dead_letters.get(place)
    except ForgedEntry:
        click.echo(f"{place}: is forged, and stays", err=True)
        return False
    if dead_letter is None:
        click.echo(f"{place}: there is no such dead letter", err=True)
        return False
    try:
        update = reader.parse(dead_letter.body, REPLAYED)
    except Exception:  # noqa: BLE001 - whatever trips the reader would trip a worker
        click.echo(f"{place}: still cannot be read, and stays", err=True)
        return False
    envelope = Envelope(
        update_id=update.update_id,
        ordering_key=update.ordering_key,
        arrived_at=REPLAYED,
        body=dead_letter.body,
    )
    await dead_letters.replay(place, envelope)
    return True


def _places(ids: Sequence[str]) -> list[DeadLetterId]:
    try:
        return [DeadLetterId.parse(each) for each in ids]
    except ValueError:
        raise click.UsageError(
            "An id is one that `dead-letters list` prints."
        ) from None


def _line(summary: DeadLetterSummary) -> str:
    at = datetime.fromtimestamp(summary.dead_lettered_at, UTC)
    update_id = summary.update_id or "-"
    ordering_key, reason = _printable(summary.ordering_key), _printable(summary.reason)
    told = f"update={update_id} ordering_key={ordering_key} reason={reason}"
    return f"{summary.dead_letter_id}  {at:%Y-%m-%d %H:%M:%S} UTC  {told}"


def _printable(word: str) -> str:
    """Return a word without what a forged entry may do to a terminal."""
    return re.sub(r"[^\w-]", "?", word, flags=re.ASCII)[:64] or "-"


def _with_letters(
    settings: Settings, act: Callable[[RedisDeadLetters], Awaitable[None]]
) -> None:
    url = settings.store_url
    if url is None:
        fault = "there is no Redis (REDIS_URL): dead letters in memory end with the"
        raise ConfigurationError([f"{fault} process that has them"])

    async def run() -> None:
        signatures = StoreSignatures(settings.store_secrets)
        async with open_dead_letters(url, SystemClock(), signatures) as dead_letters:
            await act(dead_letters)

    asyncio.run(run())
