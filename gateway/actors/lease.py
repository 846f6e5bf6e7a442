"""The lease that an actor works under, as the actor sees it."""

from collections.abc import Awaitable
from typing import Protocol

from gateway.domain.ports import MailboxLease


class ActorLease(Protocol):
    """A claim that somebody keeps alive."""

    @property
    def mailbox_lease(self) -> MailboxLease:
        """The claim."""

    async def ensure_valid(self) -> None:
        """Return when the lease is known to last: at once in the usual case.

        Awaited before every call with an effect. Whoever lost the lane meanwhile is
        cancelled in here. The step of a suspected update ends here: it waits for
        others now.
        """

    async def await_pause(self, pause: Awaitable[None]) -> None:
        """Await the pause before a retry, then return as `ensure_valid` does.

        The actor takes no place meanwhile.
        """

    async def begin_step(self) -> None:
        """Wait until a suspected update may be processed, and note that it is."""

    async def end_step(self) -> None:
        """Note that a suspected update is not processed any more, if it was."""

    def should_release(self, handled: int) -> bool:
        """Tell whether the lane is to be given back after so many updates."""
