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
