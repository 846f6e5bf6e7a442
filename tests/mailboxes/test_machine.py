"""The model test: every implementation passes it, and no faulty one does."""

from collections.abc import Collection

import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from gateway.domain.ports import Claim, Placed
from gateway.domain.update import Envelope
from gateway.mailboxes.memory.mailbox import Mailbox
from gateway.mailboxes.memory.mailboxes import MemoryMailboxes
from tests.mailboxes.machine import machine_over
from tests.mailboxes.stores import OpenStore, memory


class IgnoresTokens(MemoryMailboxes):
    """Takes every claim for the current one, which is what I3 forbids."""

    def _held(self, claim: Claim) -> Mailbox | None:
        return self._claimed.get(claim.lane)


class CommitsUnderAnyToken(MemoryMailboxes):
    """Compares tokens everywhere but in a commit."""

    async def commit(
        self,
        claim: Claim,
        update_id: int,
        state: bytes,
        *,
        dead: str = "",
        give_back: bool = False,
    ) -> Envelope | None:
        """Commit under the current token, whatever the claim's is."""
        mailbox = self._claimed.get(claim.lane)
        token = mailbox.token if mailbox else claim.token
        current = Claim(claim.lane, token, None, claim.head, 0)
        following = await super().commit(
            current, update_id, state, dead=dead, give_back=give_back
        )
        claim.until = current.until or claim.until
        return following


class ClaimsHeldLanes(MemoryMailboxes):
    """Lets a second worker in before the lease has ended, which I6 forbids."""

    async def claim(self, lane: str) -> Claim | None:
        """Claim a lane that anybody may hold."""
        mailbox = self._claimed.get(lane)
        if mailbox is not None:
            mailbox.due = 0
        return await super().claim(lane)


class ClaimsWaitingLanesOnPut(MemoryMailboxes):
    """Lets a put pass by the lanes that wait longer."""

    async def put(
        self, envelope: Envelope, *, claim: bool = True, bounded: bool = True
    ) -> Claim | Placed:
        """Claim the lane, also if it is waiting."""
        placed = await super().put(envelope, claim=claim, bounded=bounded)
        claimed = await self.claim(envelope.lane) if claim else None
        return claimed if isinstance(claimed, Claim) else placed


class ServesInOrderOfArrival(MemoryMailboxes):
    """Orders by arrival and not by `update_id`, which I2 forbids."""

    async def put(
        self, envelope: Envelope, *, claim: bool = True, bounded: bool = True
    ) -> Claim | Placed:
        """Append an update at the end."""
        placed = await super().put(envelope, claim=claim, bounded=bounded)
        mailbox = self._claimed.get(envelope.lane) or self._unclaimed[envelope.lane]
        mailbox.mail.sort(key=lambda update: int(update.body))
        return placed


class ReplacesWhatIsPutAgain(MemoryMailboxes):
    """Takes an update that is put again for a new one."""

    async def put(
        self, envelope: Envelope, *, claim: bool = True, bounded: bool = True
    ) -> Claim | Placed:
        """Overwrite the update that is there."""
        placed = await super().put(envelope, claim=claim, bounded=bounded)
        mailbox = self._claimed.get(envelope.lane)
        if placed is Placed.ALREADY and mailbox is not None:
            mailbox.take(envelope.update_id)
            mailbox.add(envelope, None)
        return placed


class LosesMailOnRelease(MemoryMailboxes):
    """Takes a release for the end of the update, which I1 forbids."""

    async def release(self, claim: Claim) -> None:
        """Drop the update that was being worked on."""
        if self._held(claim) is not None:
            await self.commit(claim, claim.head.update_id, b"", give_back=True)


class ForgetsTheState(MemoryMailboxes):
    """Removes an update without saving what became of it, which I4 forbids."""

    async def commit(
        self,
        claim: Claim,
        update_id: int,
        state: bytes,
        *,
        dead: str = "",
        give_back: bool = False,
    ) -> Envelope | None:
        """Save nothing."""
        return await super().commit(
            claim, update_id, b"", dead=dead, give_back=give_back
        )


class ReportsNoLostClaim(MemoryMailboxes):
    """Renews what can be renewed and is silent about the rest."""

    async def renew(self, claims: Collection[Claim]) -> Collection[Claim]:
        """Report nothing."""
        await super().renew(claims)
        return []


class CountsReleasesAsDeaths(MemoryMailboxes):
    """Takes an owner that gave the lane back for one that vanished."""

    async def release(self, claim: Claim) -> None:
        """Leave the lane as a dead owner does."""
        mailbox = self._held(claim)
        if mailbox is not None:
            mailbox.count_death()
        await super().release(claim)


class ForgetsDeaths(MemoryMailboxes):
    """Lets a poison update end one worker after the other."""

    async def claim(self, lane: str) -> Claim | None:
        """Claim any lane, and count from the start."""
        mailbox = self._claimed.get(lane)
        if mailbox is not None:
            mailbox.deaths = 0
        return await super().claim(lane)


class BlamesWhatWaits(MemoryMailboxes):
    """Takes a suspect that waits for its service for one that is processed."""

    async def note_step(self, claim: Claim, *, running: bool) -> None:
        """Note that a step begins, also where one ends."""
        await super().note_step(claim, running=True)


class BlamesWhatHasNotBegun(MemoryMailboxes):
    """Counts a death of a suspect whose actor had not begun with it."""

    async def claim(self, lane: str) -> Claim | None:
        """Claim a lane as if its actor waited for a service already."""
        claim = await super().claim(lane)
        if claim is not None:
            await self.note_step(claim, running=False)
        return claim


class LetsNoSuspectPause(MemoryMailboxes):
    """Gives a suspect to the next worker at once, however often that goes wrong."""

    async def claim(self, lane: str) -> Claim | None:
        """Claim a lane that pauses."""
        mailbox = self._claimed.get(lane)
        if mailbox is not None and not mailbox.token:
            mailbox.due = 0
        return await super().claim(lane)


class ForgetsWhatIsReleased(MemoryMailboxes):
    """Gives a lane back so that nobody finds it, which I8 forbids."""

    async def waiting(self, limit: int) -> list[str]:
        """List only the lanes that were never released."""
        return [lane for lane in await super().waiting(limit) if lane in self._claimed]


EXAMPLES = {
    "memory": 100,
    "fakeredis": 3,
    "redis": 20,
    "cluster": 10,
    "ashore": 10,
    "adrift": 30,
}
"""As many as a few seconds allow."""

FAULTY = [
    IgnoresTokens,
    CommitsUnderAnyToken,
    ClaimsHeldLanes,
    ClaimsWaitingLanesOnPut,
    ServesInOrderOfArrival,
    ReplacesWhatIsPutAgain,
    LosesMailOnRelease,
    ForgetsTheState,
    ReportsNoLostClaim,
    ForgetsWhatIsReleased,
    CountsReleasesAsDeaths,
    ForgetsDeaths,
    BlamesWhatWaits,
    BlamesWhatHasNotBegun,
    LetsNoSuspectPause,
]


def test_any_order_of_calls_does_what_the_model_does(
    open_store: OpenStore, request: pytest.FixtureRequest
) -> None:
    """Nothing is lost, doubled or out of order, whatever workers do."""
    examples = EXAMPLES[request.node.callspec.params["open_store"]]
    run_state_machine_as_test(
        machine_over(open_store),
        settings=settings(max_examples=examples, stateful_step_count=40),
    )


@pytest.mark.parametrize("faulty", FAULTY)
def test_a_faulty_implementation_is_found_out(faulty: type[MemoryMailboxes]) -> None:
    """The control: the model test fails where a promise is broken."""
    with pytest.raises(AssertionError):
        run_state_machine_as_test(
            machine_over(memory(faulty)),
            settings=settings(
                max_examples=5000,  # most are found within 100
                stateful_step_count=40,
                report_multiple_bugs=False,
                derandomize=True,
                database=None,
                phases=[Phase.generate],
            ),
        )
