"""The states in memory: bounded in number and in time."""

from gateway.domain.user_state import STATE_TTL
from gateway.mailboxes.memory.user_states import UserStateCache


def test_the_users_served_longest_ago_are_forgotten_first() -> None:
    """Beyond the bound; a user who came back counts as new."""
    states = UserStateCache(2)
    states.save("a", b"a1", 0)
    states.save("b", b"b1", 1)
    states.save("a", b"a2", 2)
    states.save("c", b"c1", 3)
    assert [states.get(ordering_key, 3) for ordering_key in "abc"] == [
        b"a2",
        None,
        b"c1",
    ]
    assert len(states) == 2


def test_a_state_ends_with_its_lifetime() -> None:
    states = UserStateCache(10)
    states.save("a", b"a1", 0)
    assert states.get("a", STATE_TTL - 1) == b"a1"
    assert states.get("a", STATE_TTL) is None


def test_expired_states_go_as_others_come() -> None:
    """Two for one, so that they become fewer and no single save is slow."""
    states = UserStateCache(1000)
    for number in range(100):
        states.save(f"old {number}", b"", 0)
    for number in range(99):
        states.save(f"new {number}", b"", STATE_TTL)
        assert len(states) == max(100 - number - 1, number + 1)
    assert states.get("new 0", STATE_TTL) == b""


def test_the_bound_may_be_zero() -> None:
    states = UserStateCache(0)
    states.save("a", b"a1", 0)
    assert len(states) == 0
