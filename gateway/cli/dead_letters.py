"""`telegram-gateway dead-letters`: list, replay and delete dead letters.

Texts of users are never printed. All functions raise ConfigurationError if neither
REDIS_URL nor DATA_DIR is set, and StoreError if the store does not answer.
"""

import asyncio
import re
import sys
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import click

from gateway.cli.bot_choice import choose_bots
from gateway.cli.dead_letter_stores import (
    DeadLetterStore,
    open_dead_letter_store,
    parse_dead_letter_id,
)
from gateway.config.bots import BotConfig
from gateway.config.settings import Settings, load_settings
from gateway.domain.delivery import Delivery
from gateway.domain.errors import ForgedEntry
from gateway.domain.update import Envelope
from gateway.mailboxes.dead_letter_listing import DeadLetterSummary
from gateway.telegram.inbound.parser import UpdateParser


def print_letters(reason: str | None, name: str | None, limit: int) -> None:
    """Print the dead letters, oldest first, without their texts.

    Args:
        reason: print only those with this reason; None prints all.
        name: the name of a bot in BOTS_FILE; None for all bots.
        limit: the maximum number to print.
    """
    settings = load_settings()
    bot_ids = [bot.id for bot in choose_bots(settings, name)]

    async def show(dead_letters: DeadLetterStore) -> None:
        found = await dead_letters.list_summaries(
            reason=reason, bot_ids=bot_ids, limit=limit + 1
        )
        for summary in found[:limit]:
            click.echo(_format_summary(summary))
        if len(found) > limit:
            click.echo("There are more: raise --limit to print them.", err=True)

    _run_with_dead_letters(settings, show)


def replay_letters(ids: tuple[str, ...], every: bool, reason: str | None) -> None:
    """Put dead letters back into their mailboxes, and print how many.

    A worker processes them within a second. A poison update crashes its worker again
    unless the cause was fixed. If any could not be replayed, that is printed, and the
    process ends with the code 1.

    Args:
        ids: the ids of dead letters; empty with `every` or `reason`.
        every: whether to replay all dead letters of the bots in the settings.
        reason: replay those of these bots with this reason; None without that option.

    Raises:
        UsageError: not exactly one of the three arguments is given.
    """
    settings = load_settings()
    bots = choose_bots(settings, None)
    choose = _build_selection(settings, ids, every, reason, bots)
    parsers = {str(bot.id): UpdateParser(bot.id, bot.name) for bot in bots}

    async def replay(dead_letters: DeadLetterStore) -> None:
        # List all ids first: updates that fail again are appended to the list.
        await _apply_to_each(
            await choose(dead_letters),
            "replayed",
            lambda it: _replay(dead_letters, it, parsers),
        )

    _run_with_dead_letters(settings, replay)


def delete_letters(ids: tuple[str, ...], every: bool, reason: str | None) -> None:
    """Delete dead letters permanently, including the texts of users; print how many.

    The arguments are those of `replay_letters`, and so is what happens after a failure.
    """
    settings = load_settings()
    bots = choose_bots(settings, None)
    choose = _build_selection(settings, ids, every, reason, bots)

    async def delete(dead_letters: DeadLetterStore) -> None:
        await _apply_to_each(
            await choose(dead_letters),
            "deleted",
            lambda it: _delete(dead_letters, it),
        )

    _run_with_dead_letters(settings, delete)


def _build_selection(
    settings: Settings,
    ids: Sequence[str],
    every: bool,
    reason: str | None,
    bots: Iterable[BotConfig],
) -> Callable[[DeadLetterStore], Awaitable[Sequence[Any]]]:
    """Return a function that finds the dead letters selected on the command line.

    Those of other bots with the same Redis are not selected, unless by their ids.

    Raises:
        UsageError: none are selected, or in two ways.
    """
    if [bool(ids), every, reason is not None].count(True) != 1:
        raise click.UsageError("Pass ids, or --all, or --reason.")
    dead_letter_ids = _parse_ids(settings, ids)
    bot_ids = [bot.id for bot in bots]

    async def choose(dead_letters: DeadLetterStore) -> Sequence[Any]:
        if dead_letter_ids:
            return dead_letter_ids
        return [
            found.dead_letter_id
            for found in await dead_letters.list_summaries(
                reason=reason, bot_ids=bot_ids
            )
        ]

    return choose


async def _apply_to_each(
    dead_letter_ids: Sequence[Any],
    done: str,
    act: Callable[[Any], Awaitable[bool]],
) -> None:
    """Call `act` for each dead letter and print how often it succeeded."""
    count = 0
    try:
        for dead_letter_id in dead_letter_ids:
            count += await act(dead_letter_id)
    finally:
        click.echo(f"{done} {count} of {len(dead_letter_ids)}")
    if count < len(dead_letter_ids):
        sys.exit(1)


async def _delete(dead_letters: DeadLetterStore, dead_letter_id: Any) -> bool:  # noqa: ANN401 - of the store
    """Delete a dead letter. If there is none, print that and return False."""
    deleted = await dead_letters.delete(dead_letter_id)
    if not deleted:
        click.echo(f"{dead_letter_id}: there is no such dead letter", err=True)
    return deleted


async def _replay(
    dead_letters: DeadLetterStore,
    dead_letter_id: Any,  # noqa: ANN401 - of the store
    parsers: Mapping[str, UpdateParser],
) -> bool:
    """Replay a dead letter. If that is impossible, print why and return False."""
    try:
        dead_letter = await dead_letters.get(dead_letter_id)
    except ForgedEntry:
        click.echo(f"{dead_letter_id}: is forged, not replayed", err=True)
        return False
    if dead_letter is None:
        click.echo(f"{dead_letter_id}: there is no such dead letter", err=True)
        return False
    if dead_letter.delivery is not None:
        return await _replay_delivery(
            dead_letters, dead_letter_id, dead_letter.delivery
        )
    parser = _choose_parser(parsers, dead_letter.ordering_key)
    if parser is None:
        click.echo(f"{dead_letter_id}: is of no bot here, not replayed", err=True)
        return False
    try:
        update = parser.parse(dead_letter.body, dead_letter.dead_lettered_at)
    except Exception:  # noqa: BLE001 - any error here would also occur in a worker
        click.echo(f"{dead_letter_id}: still cannot be parsed, not replayed", err=True)
        return False
    envelope = Envelope(
        update_id=update.update_id,
        ordering_key=update.ordering_key,
        arrived_at=None,
        body=dead_letter.body,
    )
    await dead_letters.replay(dead_letter_id, envelope)
    return True


def _choose_parser(
    parsers: Mapping[str, UpdateParser], ordering_key: str | None
) -> UpdateParser | None:
    """Return the parser of the bot that received an update, or None.

    A body that was malformed has no ordering key: only a single bot can be its bot.
    """
    if ordering_key is None:
        return next(iter(parsers.values())) if len(parsers) == 1 else None
    return parsers.get(ordering_key.partition("/")[0])


async def _replay_delivery(
    dead_letters: DeadLetterStore,
    dead_letter_id: Any,  # noqa: ANN401 - of the store
    delivery: Delivery,
) -> bool:
    """Replay a delivery. If that is impossible, print why and return False."""
    try:
        was_put = await dead_letters.replay_delivery(dead_letter_id, delivery)
    except ForgedEntry:
        click.echo(f"{dead_letter_id}: is forged, not replayed", err=True)
        return False
    if not was_put:
        problem = "its delivery has not failed, or its mailbox is full, not replayed"
        click.echo(f"{dead_letter_id}: {problem}", err=True)
    return was_put


def _parse_ids(settings: Settings, ids: Sequence[str]) -> list[Any]:
    try:
        return [parse_dead_letter_id(each, settings) for each in ids]
    except ValueError:
        raise click.UsageError("Pass ids as `dead-letters list` prints them.") from None


def _format_summary(summary: DeadLetterSummary) -> str:
    at = datetime.fromtimestamp(summary.dead_lettered_at, UTC)
    mail = f"update={'-' if summary.update_id is None else summary.update_id}"
    if summary.delivery_id is not None:
        mail = f"delivery={_make_printable(summary.delivery_id)}"
    ordering_key = _make_printable(summary.ordering_key or "")
    reason = _make_printable(summary.reason)
    fields = f"{mail} ordering_key={ordering_key} reason={reason}"
    return f"{summary.dead_letter_id}  {at:%Y-%m-%d %H:%M:%S} UTC  {fields}"


def _make_printable(word: str) -> str:
    """Replace all special characters of a word, which may come from a forged entry."""
    return re.sub(r"[^\w/:-]", "?", word, flags=re.ASCII)[:64] or "-"


def _run_with_dead_letters(
    settings: Settings, act: Callable[[DeadLetterStore], Awaitable[None]]
) -> None:
    async def run() -> None:
        async with open_dead_letter_store(settings) as dead_letters:
            await act(dead_letters)

    asyncio.run(run())
