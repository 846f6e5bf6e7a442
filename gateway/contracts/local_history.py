"""The accepted contracts of a gateway without Redis: in memory, or in a folder."""

import asyncio
import contextlib
import secrets
from pathlib import Path

import msgspec

from gateway.domain.contract_history import (
    KEPT_GENERATIONS,
    ContractGeneration,
    ContractHistory,
)
from gateway.domain.errors import StoreUnavailable

_SUFFIX = ".generation"


class MemoryContractHistory:
    """A `ContractHistory` in memory: the generations since the start of the process."""

    def __init__(self) -> None:
        self._generations: dict[int, ContractGeneration] = {}

    async def find_current_number(self) -> int:
        """Return the number of the current generation; 0 if there is none."""
        return max(self._generations, default=0)

    async def get_generation(self, number: int) -> ContractGeneration | None:
        """Return a generation, or None if it is not kept."""
        return self._generations.get(number)

    async def add_generation(self, generation: ContractGeneration) -> bool:
        """Make a generation the current one; return False if another was added first.

        See `ContractHistory.add_generation`.
        """
        current = max(self._generations, default=generation.number - 1)
        if generation.number != current + 1:
            return False
        self._generations[generation.number] = generation
        self._generations.pop(generation.number - KEPT_GENERATIONS, None)
        return True


class FolderContractHistory:
    """A `ContractHistory` in a folder, with a file for each generation.

    Several processes may use it. Every method raises StoreUnavailable if the folder
    cannot be read or written.

    Args:
        folder: the folder, which is created with the first generation.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def find_current_number(self) -> int:
        """Return the number of the current generation; 0 if there is none."""
        return await asyncio.to_thread(self._find_current_number)

    async def get_generation(self, number: int) -> ContractGeneration | None:
        """Return the generation with a number; None without a readable file of it."""
        return await asyncio.to_thread(self._read, number)

    async def add_generation(self, generation: ContractGeneration) -> bool:
        """Make a generation the current one; return False if another was added first.

        See `ContractHistory.add_generation`.
        """
        return await asyncio.to_thread(self._add, generation)

    def _find_current_number(self) -> int:
        try:
            names = [path.stem for path in self._folder.glob(f"*{_SUFFIX}")]
        except OSError as error:
            raise StoreUnavailable(f"{self._folder}: {error.strerror}") from None
        return max((int(name) for name in names if name.isdigit()), default=0)

    def _read(self, number: int) -> ContractGeneration | None:
        try:
            content = self._get_path(number).read_bytes()
            return msgspec.msgpack.decode(content, type=ContractGeneration)
        except (FileNotFoundError, msgspec.DecodeError):
            return None
        except OSError as error:
            raise StoreUnavailable(f"{self._folder}: {error.strerror}") from None

    def _add(self, generation: ContractGeneration) -> bool:
        current = self._find_current_number()
        if current and generation.number != current + 1:
            return False
        path = self._get_path(generation.number)
        unfinished = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            unfinished.write_bytes(msgspec.msgpack.encode(generation))
            # Unlike a renaming, this fails if somebody else was faster.
            path.hardlink_to(unfinished)
        except FileExistsError:
            return False
        except OSError as error:
            raise StoreUnavailable(f"{self._folder}: {error.strerror}") from None
        finally:
            with contextlib.suppress(OSError):
                unfinished.unlink()
        with contextlib.suppress(OSError):
            self._get_path(generation.number - KEPT_GENERATIONS).unlink()
        return True

    def _get_path(self, number: int) -> Path:
        return self._folder / f"{number}{_SUFFIX}"


def choose_history(
    in_redis: ContractHistory | None, folder: Path | None
) -> ContractHistory:
    """Return the history of the accepted contracts that a gateway uses.

    Args:
        in_redis: the history in Redis, which is preferred; None without Redis.
        folder: the folder of the history without Redis; None for a history in memory,
            which ends with the process.
    """
    if in_redis is not None:
        return in_redis
    return FolderContractHistory(folder) if folder else MemoryContractHistory()
