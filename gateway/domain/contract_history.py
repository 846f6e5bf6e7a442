"""Accepted sets of contracts, and the interface to the store that has them.

Contracts are the protobuf files that say which rpc of which service serves which
update. An accepted set with its number is called a generation.
"""

from typing import Protocol

from msgspec import Struct, field

KEPT_GENERATIONS = 10
"""How many of the latest generations the history keeps; older ones are removed."""


class ContractFile(Struct, frozen=True):
    """A file with contracts.

    Attributes:
        path: where it was read, or "builtin" for the contracts that are installed.
        content: the bytes of the file; empty for the contracts that are installed.
    """

    path: str
    content: bytes = field(default=b"")


class ContractGeneration(Struct, frozen=True, kw_only=True):
    """A set of contracts that all gateways with the same history serve together.

    Attributes:
        number: the number of the generation; the first has 1.
        accepted_at: when a gateway added it, in seconds since the epoch.
        digest: a digest of the contents of the files, equal for equal files.
        files: the files with the contracts.
        withdrawn: the digests of generations that were rolled back. Gateways that still
            find these files do not propose them again.
    """

    number: int
    accepted_at: float
    digest: str
    files: tuple[ContractFile, ...]
    withdrawn: tuple[str, ...] = ()


class ContractHistory(Protocol):
    """Stores the latest `KEPT_GENERATIONS` generations of contracts.

    Every method raises `StoreUnavailable` if the store does not answer.
    """

    async def find_current_number(self) -> int:
        """Return the number of the generation that all gateways have to serve.

        Returns 0 if no generation was ever added.
        """

    async def get_generation(self, number: int) -> ContractGeneration | None:
        """Return the generation with a number.

        Returns None if there never was one, or if it is too old to be kept.
        """

    async def add_generation(self, generation: ContractGeneration) -> bool:
        """Store a generation and make it the current one, unless somebody was faster.

        Args:
            generation: its number has to be one more than the current one; if there is
                no current one, any number.

        Returns:
            True if it was stored. False, with nothing changed, if its number is not the
            next one because somebody else added a generation first.
        """


async def list_generations(history: ContractHistory) -> list[ContractGeneration]:
    """Return the generations that a history still has, the current one first.

    The list is empty if none was ever added.

    Raises:
        StoreUnavailable: the history cannot be read.
    """
    newest = await history.find_current_number()
    numbers = range(newest, max(0, newest - KEPT_GENERATIONS), -1)
    found = [await history.get_generation(number) for number in numbers]
    return [generation for generation in found if generation is not None]
