"""What holds for mailboxes in memory alone: bounds and counts."""

import tracemalloc

import pytest

from gateway.domain.mailbox_lease import LEASE_SECONDS, MailboxLease
from gateway.domain.update import DeadLetter
from gateway.mailboxes.memory.dead_letters import (
    DEFAULT_MEMORY_LIMITS,
    MemoryDeadLetters,
)
from gateway.mailboxes.memory.mailboxes import MemoryMailboxStore
from tests.factories import build_envelope
from tests.support.fakes import FakeClock

MANY = 100_000


@pytest.fixture
def clock() -> FakeClock:
    """Return a clock that stands still."""
    return FakeClock()


@pytest.fixture
def memory(clock: FakeClock) -> MemoryMailboxStore:
    """Return empty mailboxes with room for ten sessions."""
    return MemoryMailboxStore(clock, limit=64, max_sessions=10)


async def serve(
    memory: MemoryMailboxStore, ordering_key: str, state: bytes = b"state"
) -> MailboxLease:
    """Put one update of a user and finish it."""
    lease = await memory.put(build_envelope(1, ordering_key))
    assert isinstance(lease, MailboxLease)
    await memory.commit(lease, 1, state)
    return lease


async def test_what_memory_holds_ends_with_the_process(
    memory: MemoryMailboxStore,
) -> None:
    """It says so, and how much it is."""
    assert memory.in_memory == 0
    await memory.put(build_envelope(1))
    assert memory.in_memory == 1


async def test_the_oldest_sessions_go_first(memory: MemoryMailboxStore) -> None:
    """Users beyond the bound are served, and begin a new session."""
    for number in range(12):
        await serve(memory, str(number))
    assert memory.session_count == 10
    states = [(await serve(memory, ordering_key)).state for ordering_key in ("0", "11")]
    assert states == [None, b"state"]


async def test_tokens_of_two_processes_never_meet(clock: FakeClock) -> None:
    """A lease of a worker before a restart opens nothing after it."""
    processes = [MemoryMailboxStore(clock, limit=64, max_sessions=10) for _ in range(2)]
    tokens = {
        (await serve(memory, str(ordering_key))).token
        for memory in processes
        for ordering_key in range(50)
    }
    assert len(tokens) == 100


async def test_the_newest_dead_letters_are_kept(memory: MemoryMailboxStore) -> None:
    """Their number is bounded; the count goes on."""
    most = DEFAULT_MEMORY_LIMITS.max_updates
    for number in range(most + 5):
        await memory.add_dead_letter(
            DeadLetter(
                update_id=number,
                ordering_key="7",
                reason="crashed",
                dead_lettered_at=0,
                body=b"",
            )
        )
    kept = [dead_letter.update_id for dead_letter in memory.dead_letters.entries]
    assert kept == list(range(5, most + 5))
    assert memory.dead_letter_count == most + 5


async def test_dead_letters_are_bounded_by_their_size(
    memory: MemoryMailboxStore,
) -> None:
    """A hundred bodies of the largest size must not fill the memory."""
    body = b" " * (1 << 20)
    for number in range(100):
        await memory.add_dead_letter(
            DeadLetter(
                update_id=number,
                ordering_key="7",
                reason="crashed",
                dead_lettered_at=0,
                body=body,
            )
        )
    kept = [dead_letter.update_id for dead_letter in memory.dead_letters.entries]
    assert kept == list(range(84, 100))
    assert memory.dead_letter_count == 100


async def test_queued_updates_and_mailboxes_are_counted(
    memory: MemoryMailboxStore,
) -> None:
    """For the metrics; acquired mailboxes count as well."""
    lease = await memory.put(build_envelope(1, "7"))
    assert isinstance(lease, MailboxLease)
    await memory.put(build_envelope(2, "7"))
    await memory.put(build_envelope(2, "7"))
    await memory.put(build_envelope(3, "8"), acquire=False)
    assert (memory.in_memory, memory.mailbox_count) == (3, 2)
    await memory.commit(lease, 1, b"state")
    await memory.commit(lease, 2, b"state")
    assert (memory.in_memory, memory.mailbox_count) == (1, 1)


async def test_a_lease_ends_at_its_end(
    memory: MemoryMailboxStore, clock: FakeClock
) -> None:
    """In the very moment at which it is listed as waiting it can be acquired."""
    await memory.put(build_envelope(1, "7"))
    clock.move(LEASE_SECONDS)
    assert await memory.claimable(10) == ["7"]
    assert await memory.acquire("7") is not None


async def test_the_longest_wait_is_known(
    memory: MemoryMailboxStore, clock: FakeClock
) -> None:
    """I11 is measured by it: it counts mailboxes without a lease or with an old one."""
    assert memory.longest_wait == 0
    lease = await memory.put(build_envelope(1, "7"))
    assert isinstance(lease, MailboxLease)
    clock.move(LEASE_SECONDS)
    assert memory.longest_wait == 0
    clock.move(2)
    assert memory.longest_wait == 2
    await memory.put(build_envelope(1, "8"), acquire=False)
    clock.move(1)
    assert memory.longest_wait == 3
    await memory.renew([lease])
    assert memory.longest_wait == 1
    await memory.acquire("8")
    assert memory.longest_wait == 0


async def test_a_hundred_thousand_users_leave_nothing_but_their_sessions(
    memory: MemoryMailboxStore,
) -> None:
    """No mailbox, no lease, no place in an order: the memory is as it was before."""
    for ordering_key in range(20):
        await serve(memory, str(ordering_key))
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    for ordering_key in range(MANY):
        await serve(memory, str(ordering_key))
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (memory.in_memory, memory.mailbox_count, memory.session_count) == (0, 0, 10)
    assert after - before < 20_000  # a fifth of a byte per user


def test_any_dead_letter_can_be_withdrawn() -> None:
    """And no other goes with it, whichever is the oldest."""
    dead_letters = MemoryDeadLetters()
    one, two, three = (
        DeadLetter(
            update_id=number,
            ordering_key=None,
            reason="",
            dead_lettered_at=0,
            body=b"?",
        )
        for number in range(3)
    )
    for dead_letter in (one, two, three):
        dead_letters.add(dead_letter, now=0)
    dead_letters.remove(two)
    dead_letters.remove(two)
    assert dead_letters.entries == (one, three)
