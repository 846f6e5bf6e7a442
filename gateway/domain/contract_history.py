"""The contracts that gateways accepted, and what keeps them."""

from typing import Protocol

from msgspec import Struct, field

KEPT_GENERATIONS = 10
"""How many of the latest generations are kept."""


class ContractFile(Struct, frozen=True):
    """A file with contracts.

    Attributes:
        path: where it was read, or "builtin" for the contracts that are installed.
        content: its content; empty for the contracts that are installed.
    """

    path: str
    content: bytes = field(default=b"")


class ContractGeneration(Struct, frozen=True, kw_only=True):
    """Contracts that all gateways with the same history serve together.

    Attributes:
        number: the number of the generation; the first has 1.
        accepted_at: when it was accepted, in seconds since the epoch.
        digest: identifies the contents of the files.
        files: the files with the contracts.
        withdrawn: the digests of generations that were rolled back. Gateways that
            still find these files do not propose them again.
    """

    number: int
    accepted_at: float
    digest: str
    files: tuple[ContractFile, ...]
    withdrawn: tuple[str, ...] = ()


class ContractHistory(Protocol):
    """Keeps the latest generations. Every method raises `StoreUnavailable`."""

    async def find_current_number(self) -> int:
        """Return the number of the current generation; 0 if there is none."""

    async def get_generation(self, number: int) -> ContractGeneration | None:
        """Return a generation, or None if it is not kept."""

    async def add_generation(self, generation: ContractGeneration) -> bool:
        """Make a generation the current one, unless there is another current one.

        Args:
            generation: its number is one more than that of the current one, or any if
                there is none.

        Returns:
            False if somebody else added a generation first.
        """


async def list_generations(history: ContractHistory) -> list[ContractGeneration]:
    """Return the generations that are kept, the current one first.

    Raises:
        StoreUnavailable: the history cannot be read.
    """
    newest = await history.find_current_number()
    numbers = range(newest, max(0, newest - KEPT_GENERATIONS), -1)
    found = [await history.get_generation(number) for number in numbers]
    return [generation for generation in found if generation is not None]
