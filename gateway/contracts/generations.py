"""Serves the same contracts as all other gateways with the same history.

A gateway that finds changed files checks them as a whole and then adds them to the
history as a new generation. All other gateways load the generation from the history and
serve it, whatever their own files are. If two gateways find changes at the same time,
one of them adds its generation first, and the other one compares its files with it.

A gateway never adds files again that were accepted before it started, or that were
rolled back: its copy of the files may be older than what the others serve.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence

from gateway.contracts.live_services import LiveServices
from gateway.contracts.loading import LoadedContracts, load_generation
from gateway.domain.contract_history import (
    ContractGeneration,
    ContractHistory,
    list_generations,
)
from gateway.domain.errors import ConfigurationError

logger = logging.getLogger(__name__)


class ContractGenerations:
    """Follows the current generation, and adds new generations from files.

    Args:
        history: the generations that were accepted.
        services: checks contracts and serves them in this process.
        now: returns the seconds since the epoch.

    Attributes:
        problems: why the current generation is not served here, or why the files are
            not those of the current generation; a line each.
    """

    def __init__(
        self,
        history: ContractHistory,
        services: LiveServices,
        now: Callable[[], float],
    ) -> None:
        self._history = history
        self._services = services
        self._now = now
        self._number = 0
        """The number of the current generation; 0 while there is none."""
        self._current: ContractGeneration | None = None
        """The latest generation that could be read."""
        self._is_served = False
        """Whether it is served here."""
        self._unserved: LoadedContracts | None = None
        """Its contracts, if they are not served here."""
        self._settled = ""
        """The digest of the files that need not be proposed any more."""
        self.problems: Sequence[str] = ()

    @property
    def has_unserved(self) -> bool:
        """Whether the current generation cannot be served here, but an older one is."""
        return self._current is not None and not self._is_served

    async def follow(self, *, try_again: bool) -> None:
        """Serve the current generation of the history, if it is not served already.

        If it cannot be served, the contracts that are served stay, and `problems` says
        why. If the history was emptied, the served generation is added to it again.

        Args:
            try_again: whether to try a generation again that could not be served.

        Raises:
            StoreUnavailable: the history cannot be read.
        """
        number = await self._history.find_current_number()
        if number == self._number and not (self.has_unserved and try_again):
            return
        if not number:
            await self._restore()
            return
        generation = await self._history.get_generation(number)
        self._number = number
        if generation is None:
            self.problems = [f"generation {number} cannot be read"]
        else:
            await self._take_up(generation)

    async def offer(self, loaded: LoadedContracts, *, is_first: bool) -> bool:
        """Add contracts from files as the current generation and serve them, if new.

        Args:
            loaded: the contracts.
            is_first: whether the files are those that this process found at its start,
                which may be older than the current generation.

        Returns:
            True if the contracts are served, or were recognized as old: then `problems`
            says so. False if another gateway added a generation first: follow that, and
            offer the contracts again.

        Raises:
            ConfigurationError: the contracts cannot be served; nothing was changed.
            StoreUnavailable: the history cannot be read or written.
        """
        digest = loaded.digest
        if self._current is not None and self._current.digest == digest:
            self._settled = digest
            if self._is_served:
                self.problems = ()
            return True
        if digest == self._settled:
            return True
        if await self._is_old(digest, is_first=is_first):
            self._settled = digest
            self._report_old(digest)
            return True
        prepared = self._services.prepare(loaded, before=self._unserved)
        generation = ContractGeneration(
            number=self._number + 1,
            accepted_at=self._now(),
            digest=digest,
            files=tuple(loaded.files),
            withdrawn=self._current.withdrawn if self._current else (),
        )
        if not await self._history.add_generation(generation):
            return False
        await self._services.apply(prepared, generation.number)
        self._settled = digest
        self._set_served(generation)
        return True

    async def _is_old(self, digest: str, *, is_first: bool) -> bool:
        """Return whether these files were accepted earlier and must not come again."""
        if self._current is None:
            return False
        if digest in self._current.withdrawn:
            return True
        return is_first and digest in {
            generation.digest for generation in await list_generations(self._history)
        }

    def _report_old(self, digest: str) -> None:
        number = self._number
        problem = (
            f"the files are older than generation {number}, which is served instead:"
            " `telegram-gateway contracts history` lists all generations, and"
            " `contracts rollback` serves one of them again"
        )
        self.problems = [*(self.problems if self.has_unserved else ()), problem]
        logger.warning(
            "contracts_outdated", extra={"generation": number, "files": digest}
        )

    async def _restore(self) -> None:
        """Add what is served to a history that was emptied."""
        if self._current is None or not self._is_served:
            self._number, self._current = 0, None
        else:
            await self._history.add_generation(self._current)

    async def _take_up(self, generation: ContractGeneration) -> None:
        is_known = self._current is not None and (
            generation.number == self._current.number
        )
        self._current, self._is_served, self._unserved = generation, False, None
        try:
            loaded = await asyncio.to_thread(load_generation, generation)
            self._unserved = loaded
            prepared = self._services.prepare(loaded, may_remove=True)
        except ConfigurationError as error:
            self.problems = [
                f"generation {generation.number}: {it}" for it in error.problems
            ]
            if not is_known:
                logger.error(  # noqa: TRY400 - a traceback would not help
                    "contracts_refused", extra={"problems": list(self.problems)}
                )
            return
        await self._services.apply(prepared, generation.number)
        self._set_served(generation)

    def _set_served(self, generation: ContractGeneration) -> None:
        self._number, self._current = generation.number, generation
        self._is_served, self._unserved = True, None
        self.problems = ()
