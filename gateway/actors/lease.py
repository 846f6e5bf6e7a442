"""The lease that an actor works under, as the actor sees it."""

from typing import Protocol

from gateway.domain.ports import Claim


class Lease(Protocol):
    """A claim that somebody keeps alive."""

    @property
    def claim(self) -> Claim:
        """The claim."""

    async def hold(self) -> None:
        """Return when the lease is known to last: at once in the usual case.

        Awaited before every call with an effect. Whoever lost the lane meanwhile is
        cancelled in here.
        """

    def wanted_back(self, handled: int) -> bool:
        """Tell whether the lane is to be given back after so many updates."""


class Keeper(Protocol):
    """Whoever keeps the leases of all actors."""

    async def hold(self, claim: Claim) -> None:
        """Return when the lease of this claim is known to last."""

    def wanted_back(self, handled: int) -> bool:
        """Tell whether a lane is to be given back after so many updates."""


class KeptLease:
    """A lease that is renewed together with all others."""

    __slots__ = ("_keeper", "claim")

    def __init__(self, keeper: Keeper, claim: Claim) -> None:
        self._keeper = keeper
        self.claim = claim

    async def hold(self) -> None:
        """Return when the lease is known to last."""
        await self._keeper.hold(self.claim)

    def wanted_back(self, handled: int) -> bool:
        """Tell whether the lane is to be given back after so many updates."""
        return self._keeper.wanted_back(handled)
