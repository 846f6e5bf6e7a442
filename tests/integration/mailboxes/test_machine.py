"""The model test: every implementation passes it, and no faulty one does."""

from collections.abc import Collection, Sequence

import pytest
from hypothesis import Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from gateway.domain.broadcast import BroadcastRecipient
from gateway.domain.delivery import (
    Delivery,
    DeliveryRecord,
    DeliveryResult,
    DeliveryState,
    SentPart,
)
from gateway.domain.delivery_store import DeliveryPutResult
from gateway.domain.mailbox_lease import MailboxLease
from gateway.domain.ports import PutResult
from gateway.domain.update import Envelope
from gateway.mailboxes.memory.deliveries import MemoryDeliveryStore
from gateway.mailboxes.memory.mailbox import Mailbox
from gateway.mailboxes.memory.mailboxes import MemoryMailboxStore
from tests.integration.mailboxes.delivery_machine import DeliveryMachine
from tests.integration.mailboxes.machine import machine_over
from tests.support.stores import OpenStore, memory


class IgnoresTokens(MemoryMailboxStore):
    """Takes every lease for the current one, which is what I3 forbids."""

    def find_leased_mailbox(self, lease: MailboxLease) -> Mailbox | None:
        return self._leased.get(lease.ordering_key)


class CommitsUnderAnyToken(MemoryMailboxStore):
    """Compares tokens everywhere but in a commit."""

    async def commit(
        self,
        lease: MailboxLease,
        update_id: int,
        state: bytes,
        *,
        dead_letter_reason: str | None = None,
        release: bool = False,
        recipient: BroadcastRecipient | None = None,
    ) -> Envelope | None:
        """Commit under the current token, whatever the lease's is."""
        mailbox = self._leased.get(lease.ordering_key)
        token = mailbox.token if mailbox else lease.token
        current = MailboxLease(lease.ordering_key, token, None, lease.next_update, 0)
        following = await super().commit(
            current,
            update_id,
            state,
            dead_letter_reason=dead_letter_reason,
            release=release,
        )
        lease.expires_at = current.expires_at or lease.expires_at
        return following


class AcquiresHeldMailboxes(MemoryMailboxStore):
    """Lets a second worker in before the lease has ended, which I6 forbids."""

    async def acquire(self, ordering_key: str) -> MailboxLease | None:
        """Acquire a mailbox that anybody may hold."""
        mailbox = self._leased.get(ordering_key)
        if mailbox is not None:
            mailbox.claimable_at = 0
        return await super().acquire(ordering_key)


class AcquiresWaitingMailboxesOnPut(MemoryMailboxStore):
    """Lets a put pass by the mailboxes that wait longer."""

    async def put(
        self, envelope: Envelope, *, acquire: bool = True, enforce_limit: bool = True
    ) -> MailboxLease | PutResult:
        """Acquire the mailbox, also if it is waiting."""
        placed = await super().put(
            envelope, acquire=acquire, enforce_limit=enforce_limit
        )
        acquired = await self.acquire(envelope.ordering_key) if acquire else None
        return acquired if isinstance(acquired, MailboxLease) else placed


class ServesInOrderOfArrival(MemoryMailboxStore):
    """Orders by arrival and not by `update_id`, which I2 forbids."""

    async def put(
        self, envelope: Envelope, *, acquire: bool = True, enforce_limit: bool = True
    ) -> MailboxLease | PutResult:
        """Append an update at the end."""
        placed = await super().put(
            envelope, acquire=acquire, enforce_limit=enforce_limit
        )
        mailbox = (
            self._leased.get(envelope.ordering_key)
            or self._unleased[envelope.ordering_key]
        )
        mailbox.mail.sort(key=lambda update: int(update.body))
        mailbox.positions[:] = [update.update_id for update in mailbox.mail]
        return placed


class ReplacesWhatIsPutAgain(MemoryMailboxStore):
    """Takes an update that is put again for a new one."""

    async def put(
        self, envelope: Envelope, *, acquire: bool = True, enforce_limit: bool = True
    ) -> MailboxLease | PutResult:
        """Overwrite the update that is there."""
        placed = await super().put(
            envelope, acquire=acquire, enforce_limit=enforce_limit
        )
        mailbox = self._leased.get(envelope.ordering_key)
        if placed is PutResult.DUPLICATE and mailbox is not None:
            mailbox.remove(envelope.update_id)
            mailbox.add(envelope, None)
        return placed


class LosesMailOnRelease(MemoryMailboxStore):
    """Takes a release for the end of the update, which I1 forbids."""

    async def release(self, lease: MailboxLease) -> None:
        """Drop the update that was being worked on."""
        if self.find_leased_mailbox(lease) is not None:
            await self.commit(lease, lease.next_update.update_id, b"", release=True)


class ForgetsTheState(MemoryMailboxStore):
    """Removes an update without saving what became of it, which I4 forbids."""

    async def commit(
        self,
        lease: MailboxLease,
        update_id: int,
        state: bytes,
        *,
        dead_letter_reason: str | None = None,
        release: bool = False,
        recipient: BroadcastRecipient | None = None,
    ) -> Envelope | None:
        """Save nothing."""
        return await super().commit(
            lease,
            update_id,
            b"",
            dead_letter_reason=dead_letter_reason,
            release=release,
        )


class ReportsNoLostLease(MemoryMailboxStore):
    """Renews what can be renewed and is silent about the rest."""

    async def renew(self, leases: Collection[MailboxLease]) -> Collection[MailboxLease]:
        """Report nothing."""
        await super().renew(leases)
        return []


class CountsReleasesAsDeaths(MemoryMailboxStore):
    """Takes an owner that gave the mailbox back for one that vanished."""

    async def release(self, lease: MailboxLease) -> None:
        """Leave the mailbox as a dead owner does."""
        mailbox = self.find_leased_mailbox(lease)
        if mailbox is not None:
            mailbox.record_owner_loss()
        await super().release(lease)


class ForgetsDeaths(MemoryMailboxStore):
    """Lets a poison update end one worker after the other."""

    async def acquire(self, ordering_key: str) -> MailboxLease | None:
        """Acquire any mailbox, and count from the start."""
        mailbox = self._leased.get(ordering_key)
        if mailbox is not None:
            mailbox.owner_losses = 0
        return await super().acquire(ordering_key)


class BlamesWhatWaits(MemoryMailboxStore):
    """Takes a suspect that waits for its service for one that is processed."""

    async def record_step(self, lease: MailboxLease, *, running: bool) -> None:
        """Note that a step begins, also where one ends."""
        await super().record_step(lease, running=True)


class BlamesWhatHasNotBegun(MemoryMailboxStore):
    """Counts an owner loss of a suspect whose actor had not begun with it."""

    async def acquire(self, ordering_key: str) -> MailboxLease | None:
        """Acquire a mailbox as if its actor waited for a service already."""
        lease = await super().acquire(ordering_key)
        if lease is not None:
            await self.record_step(lease, running=False)
        return lease


class LetsNoSuspectPause(MemoryMailboxStore):
    """Gives a suspect to the next worker at once, however often that goes wrong."""

    async def acquire(self, ordering_key: str) -> MailboxLease | None:
        """Acquire a mailbox that pauses."""
        mailbox = self._leased.get(ordering_key)
        if mailbox is not None and not mailbox.token:
            mailbox.claimable_at = 0
        return await super().acquire(ordering_key)


class ForgetsWhatIsReleased(MemoryMailboxStore):
    """Gives a mailbox back so that nobody finds it, which I8 forbids."""

    async def claimable(
        self, limit: int, skipped_bots: Collection[str] = ()
    ) -> list[str]:
        """List only the mailboxes that were never released."""
        return [
            ordering_key
            for ordering_key in await super().claimable(limit, skipped_bots)
            if ordering_key in self._leased
        ]


EXAMPLES = {
    "memory": 100,
    "sqlite": 10,
    "fakeredis": 3,
    "redis": 20,
    "cluster": 10,
    "failed back": 10,
    "failed over": 30,
}
"""As many as a few seconds allow."""

CONTROL = settings(
    max_examples=5000,  # most are found within 100
    stateful_step_count=40,
    report_multiple_bugs=False,
    database=None,
    phases=[Phase.generate],
)

with_the_same_examples = seed(2)
"""Others find some faults a minute later."""

FAULTY = [
    IgnoresTokens,
    CommitsUnderAnyToken,
    AcquiresHeldMailboxes,
    AcquiresWaitingMailboxesOnPut,
    ServesInOrderOfArrival,
    ReplacesWhatIsPutAgain,
    LosesMailOnRelease,
    ForgetsTheState,
    ReportsNoLostLease,
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


@pytest.mark.usefixtures("long_pauses")
@pytest.mark.parametrize("faulty", FAULTY)
def test_a_faulty_implementation_is_found_out(faulty: type[MemoryMailboxStore]) -> None:
    """The control: the model test fails where a promise is broken."""
    with pytest.raises(AssertionError):
        run_state_machine_as_test(
            with_the_same_examples(machine_over(memory(faulty))),
            settings=CONTROL,
        )


class IgnoresIdempotencyKeys(MemoryDeliveryStore):
    """Takes a repeated request for a new one."""

    async def put_delivery(
        self, delivery: Delivery, *, acquire: bool = True, begins: bool = False
    ) -> MailboxLease | DeliveryPutResult:
        """Store a delivery whose key was used."""
        self._entries.pop(delivery.delivery_id, None)
        return await super().put_delivery(delivery, acquire=acquire, begins=begins)


class TakesAnyRequestForTheSame(MemoryDeliveryStore):
    """Compares no fingerprints."""

    async def put_delivery(
        self, delivery: Delivery, *, acquire: bool = True, begins: bool = False
    ) -> MailboxLease | DeliveryPutResult:
        """Report that a used key was used with the same request."""
        entry = self._entries.get(delivery.delivery_id)
        if entry is not None:
            return DeliveryPutResult.REPEATED
        return await super().put_delivery(delivery, acquire=acquire, begins=begins)


class ForgetsEndedDeliveries(MemoryDeliveryStore):
    """Forgets a record at once and not after a day."""

    async def commit_delivery(
        self,
        lease: MailboxLease,
        delivery_id: str,
        state: bytes,
        result: DeliveryResult,
        *,
        dead_letter_reason: str | None = None,
        release: bool = False,
        recipient: BroadcastRecipient | None = None,
    ) -> Envelope | None:
        """Forget the delivery."""
        following = await super().commit_delivery(
            lease,
            delivery_id,
            state,
            result,
            dead_letter_reason=dead_letter_reason,
            release=release,
        )
        self._entries.pop(delivery_id, None)
        self._ended.pop(delivery_id, None)
        return following


class HidesDoubt(MemoryDeliveryStore):
    """Lets a new owner repeat a call that may have had its effect."""

    async def begin_part(
        self,
        lease: MailboxLease,
        delivery_id: str,
        part: int,
        sent_parts: Sequence[SentPart],
        *,
        resolves_doubt: bool = False,
    ) -> DeliveryRecord:
        """Begin, whoever began before."""
        before = await super().begin_part(
            lease, delivery_id, part, sent_parts, resolves_doubt=True
        )
        before.is_part_begun = False
        return before


class SendsUnderAnyLease(MemoryDeliveryStore):
    """Lets an owner that was lost begin a call."""

    async def begin_part(
        self,
        lease: MailboxLease,
        delivery_id: str,
        part: int,
        sent_parts: Sequence[SentPart],
        *,
        resolves_doubt: bool = False,
    ) -> DeliveryRecord:
        """Begin as the present owner."""
        mailbox = self._mailboxes.find_mailbox(lease.ordering_key)
        token = mailbox.token if mailbox else lease.token
        current = MailboxLease(lease.ordering_key, token, None, lease.next_update, 0)
        return await super().begin_part(
            current, delivery_id, part, sent_parts, resolves_doubt=resolves_doubt
        )


class CancelsWhatWasBegun(MemoryDeliveryStore):
    """Says that nothing was sent, though something was."""

    async def cancel_delivery(self, delivery_id: str) -> DeliveryRecord | None:
        """Cancel, whatever the state is."""
        entry = self._entries.get(delivery_id)
        if entry is not None and entry.record.state is DeliveryState.SENDING:
            entry.record.state = DeliveryState.ACCEPTED
        return await super().cancel_delivery(delivery_id)


class EntersAheadOfMail(MemoryDeliveryStore):
    """Lets a scheduled delivery pass by what was accepted before."""

    async def enter_due_deliveries(self, limit: int) -> int:
        """Enter, and move to the front."""
        entered = await super().enter_due_deliveries(limit)
        for ordering_key in self._mailboxes:
            mailbox = self._mailboxes.find_mailbox(ordering_key)
            if entered and mailbox is not None and len(mailbox.mail) > 1:
                mailbox.mail.insert(0, mailbox.mail.pop())
        return entered


class ReplacesNothing(MemoryDeliveryStore):
    """Sends everything, whatever its collapse key is."""

    async def put_delivery(
        self, delivery: Delivery, *, acquire: bool = True, begins: bool = False
    ) -> MailboxLease | DeliveryPutResult:
        """Store a delivery beside the one that it should replace."""
        self._last_collapsible.clear()
        return await super().put_delivery(delivery, acquire=acquire, begins=begins)


FAULTY_WITH_DELIVERIES = [
    IgnoresIdempotencyKeys,
    TakesAnyRequestForTheSame,
    ForgetsEndedDeliveries,
    HidesDoubt,
    SendsUnderAnyLease,
    CancelsWhatWasBegun,
    EntersAheadOfMail,
    ReplacesNothing,
]


def test_any_order_of_calls_with_deliveries_does_what_the_model_does(
    open_delivery_store: OpenStore, request: pytest.FixtureRequest
) -> None:
    """Nothing is lost, sent twice or out of order, whatever callers and workers do."""
    examples = EXAMPLES[request.node.callspec.params["open_delivery_store"]]
    run_state_machine_as_test(
        machine_over(open_delivery_store, DeliveryMachine),
        settings=settings(max_examples=examples, stateful_step_count=40),
    )


@pytest.mark.usefixtures("long_pauses")
@pytest.mark.parametrize("faulty", FAULTY_WITH_DELIVERIES)
def test_a_faulty_store_of_deliveries_is_found_out(
    faulty: type[MemoryDeliveryStore],
) -> None:
    """The control: the model test fails where a promise about deliveries is broken."""
    machine = machine_over(memory(deliveries=faulty), DeliveryMachine)
    with pytest.raises(AssertionError):
        run_state_machine_as_test(with_the_same_examples(machine), settings=CONTROL)
