"""The slots for actors, and the mailboxes that wait for one."""

from gateway.actors.admission import MAX_CONSECUTIVE_UPDATES, AdmissionControl
from gateway.domain.mailbox_lease import MailboxLease
from tests.factories import build_accepted
from tests.support.fakes import FakeClock

LEASE_SECONDS = 3.0


class Slots:
    """Slots for three actors, and the leases of those that run."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.running: list[MailboxLease] = []
        self.admission = AdmissionControl(self.running, self.clock, 3)

    def run(self, count: int = 1) -> MailboxLease:
        """Start actors, and return the lease of the last one."""
        for _ in range(count):
            expires_at = self.clock.uptime() + LEASE_SECONDS
            lease = MailboxLease("7", "token", None, build_accepted(), expires_at)
            self.running.append(lease)
        return self.running[-1]


def test_actors_and_requests_for_a_lease_take_slots() -> None:
    slots = Slots()
    assert slots.admission.free_slots == 3
    slots.run(2)
    assert slots.admission.free_slots == 1
    slots.admission.pending_acquisitions += 1
    assert slots.admission.free_slots == 0


def test_paused_actors_take_slots_only_beyond_as_many_as_there_are_slots() -> None:
    slots = Slots()
    pauses = [slots.admission.pause(slots.run()) for _ in range(5)]
    for number, pause in enumerate(pauses, start=1):
        pause.__enter__()
        assert slots.admission.paused_actors == number
        assert slots.admission.free_slots == 3 - 5 + min(number, 3)
    for pause in pauses:
        pause.__exit__(None, None, None)
    assert slots.admission.paused_actors == 0
    assert slots.admission.free_slots == -2


def test_an_actor_whose_lease_expired_during_a_commit_takes_no_slot() -> None:
    slots = Slots()
    slots.run().is_committing = True
    slots.run()
    slots.admission.recount_stalled_commits()
    assert slots.admission.free_slots == 1
    slots.clock.move(LEASE_SECONDS)
    slots.admission.recount_stalled_commits()
    assert slots.admission.free_slots == 2
    slots.running[0].is_committing = False
    slots.admission.recount_stalled_commits()
    assert slots.admission.free_slots == 1


def test_a_waiting_mailbox_asks_for_a_scan_only_if_a_slot_is_free() -> None:
    slots = Slots()
    slots.run(3)
    slots.admission.add_to_backlog()
    assert slots.admission.has_backlog
    assert not slots.admission.slot_freed.is_set()
    with slots.admission.pause(slots.running[0]):
        assert slots.admission.slot_freed.is_set()


def test_an_actor_makes_way_after_its_share_or_if_too_many_run() -> None:
    slots = Slots()
    slots.run(3)
    assert not slots.admission.should_make_way(MAX_CONSECUTIVE_UPDATES - 1)
    assert slots.admission.should_make_way(MAX_CONSECUTIVE_UPDATES)
    slots.run()
    assert slots.admission.should_make_way(1)
