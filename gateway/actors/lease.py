"""The lease that an actor works under, as the actor sees it."""

from collections.abc import Awaitable
from typing import Protocol

from gateway.domain.ports import MailboxLease


class ActorLease(Protocol):
    """A mailbox lease that is kept alive."""

    @property
    def mailbox_lease(self) -> MailboxLease:
        """The lease as granted by the store."""

    async def ensure_valid(self) -> None:
        """Return when the lease is known to be valid, which is usually at once.

        Await this before every call with an effect. An actor whose lease was lost is
        cancelled here. The step of a suspected update ends here, because the update
        waits for something else now.
        """

    async def await_pause(self, pause: Awaitable[None]) -> None:
        """Await the pause before a retry, then return as `ensure_valid` does.

        The actor does not count against the limit of active actors meanwhile.
        """

    async def begin_step(self) -> None:
        """Wait until a step of a suspected update may start, and record the start."""

    async def end_step(self) -> None:
        """Record the end of the running step of a suspected update, if there is one."""

    def should_release(self, handled: int) -> bool:
        """Return whether to release the lease after this number of updates."""
