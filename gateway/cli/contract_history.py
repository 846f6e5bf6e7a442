"""`telegram-gateway contracts history|rollback`: lists and serves earlier contracts."""

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from datetime import UTC, datetime
from pathlib import PurePath
from typing import Any, TypeVar

import click
from msgspec import structs

from gateway.config.settings import Settings, load_settings
from gateway.contracts.loading import load_generation
from gateway.contracts.opened_history import open_history
from gateway.domain.contract_history import (
    KEPT_GENERATIONS,
    ContractGeneration,
    ContractHistory,
    list_generations,
)
from gateway.domain.errors import ConfigurationError, StoreUnavailable

Result = TypeVar("Result")


def print_history() -> None:
    """Print the generations of contracts that are kept, one a line, newest first.

    Raises:
        ConfigurationError: the settings name no history, or it cannot be read.
    """
    generations = _run(list_generations)
    for generation in generations:
        click.echo(_format_line(generation))
    if not generations:
        click.echo("No contracts were accepted yet.", err=True)


def roll_back(number: int | None) -> None:
    """Add a new generation with the contracts of an earlier one, and print its routes.

    The gateways serve it soon, and do not return to the files that they served.

    Args:
        number: the number of the generation; None for the latest one whose contracts
            differ from the current ones.

    Raises:
        ConfigurationError: there is no such generation, it cannot be served any more,
            or the history cannot be read or written.
    """

    async def add(history: ContractHistory) -> ContractGeneration:
        added = _repeat_earlier(await list_generations(history), number)
        if not await history.add_generation(added):
            raise ConfigurationError(["gateways accepted other contracts meanwhile"])
        return added

    added = _run(add)
    click.echo("\n".join(load_generation(added).table.format_lines()))
    click.echo(f"Generation {added.number} is served now.", err=True)


def _repeat_earlier(
    kept: Sequence[ContractGeneration], number: int | None
) -> ContractGeneration:
    """Return a new generation with the contracts of an earlier one.

    Raises:
        ConfigurationError: there is no such generation, or it cannot be served.
    """
    if number is None:
        earlier = [it for it in kept[1:] if it.digest != kept[0].digest]
    else:
        earlier = [it for it in kept if it.number == number]
    if not earlier:
        wanted = "before the current one" if number is None else str(number)
        raise ConfigurationError([f"no generation {wanted} is kept"])
    chosen = earlier[0]
    load_generation(chosen)
    later = [it.digest for it in kept if it.number > chosen.number]
    withdrawn = dict.fromkeys([*later, *kept[0].withdrawn])
    withdrawn.pop(chosen.digest, None)
    return structs.replace(
        chosen,
        number=kept[0].number + 1,
        accepted_at=time.time(),
        withdrawn=tuple(withdrawn)[:KEPT_GENERATIONS],
    )


def _format_line(generation: ContractGeneration) -> str:
    accepted = datetime.fromtimestamp(generation.accepted_at, UTC)
    files = ", ".join(PurePath(file.path).name for file in generation.files)
    return (
        f"{generation.number:>4}  {accepted:%Y-%m-%d %H:%M:%S} UTC"
        f"  {generation.digest}  {files}"
    )


def _run(
    use: Callable[[ContractHistory], Coroutine[Any, Any, Result]],
) -> Result:
    settings = load_settings()
    if settings.store_url is None and settings.contracts_history is None:
        problem = "neither REDIS_URL nor CONTRACTS_HISTORY is set: there is no history"
        raise ConfigurationError([problem])
    try:
        return asyncio.run(_use(settings, use))
    except StoreUnavailable as error:
        raise ConfigurationError([str(error)]) from None


async def _use(
    settings: Settings, use: Callable[[ContractHistory], Coroutine[Any, Any, Result]]
) -> Result:
    async with open_history(settings) as history:
        return await use(history)
