"""What is remembered of a user."""

from hypothesis import given
from hypothesis import strategies as st
from msgspec import msgpack

from gateway.domain.user_state import UserState, decode_user_state, encode_user_state

NOW = 1_790_000_000.0


def test_a_state_survives_its_bytes() -> None:
    state = UserState(internal_user_id="u", tokens=0.5, album="a", album_allowed=True)
    state.mark_handled(5, NOW)
    assert decode_user_state(encode_user_state(state)) == state
    assert decode_user_state(encode_user_state(state)).is_duplicate(5)


def test_an_absent_or_unreadable_state_is_a_new_one() -> None:
    """A user is never stuck with bytes that nobody can read."""
    for stored in (None, b"", b"\xff\x00", b"\x93\x01\x02\x03", b"\x91\xa1\xff"):
        assert decode_user_state(stored) == UserState()


def test_new_states_do_not_share_their_lists() -> None:
    """What one user did is not remembered of another."""
    one, other = UserState(), UserState()
    one.mark_handled(1, NOW)
    assert not other.is_duplicate(1)


@given(st.lists(st.integers(0, 3), min_size=1, max_size=300))
def test_the_last_64_and_all_of_10_seconds_are_remembered(pauses: list[int]) -> None:
    """Nothing that may be repeated is forgotten, and not much more is kept."""
    state, now, handled = UserState(), NOW, []
    for update_id, pause in enumerate(pauses, start=1):
        now += pause / 4
        state.mark_handled(update_id, now)
        handled.append((update_id, now))
    for update_id, _ in handled[-64:]:
        assert state.is_duplicate(update_id)
    for update_id, at in handled:
        if now - at <= 10:
            assert state.is_duplicate(update_id)
    recent = sum(1 for _, at in handled if now - at <= 12)
    assert len(state.recent_ids) <= max(64, recent)
    assert len(state.recent_times) <= recent


def test_a_state_is_small() -> None:
    """A user with a full memory of ids takes some hundred bytes, not thousands."""
    state = UserState(internal_user_id="u-1234567890", session_until=NOW)
    for n in range(1000):
        state.mark_handled(431_500_000 + n * 1000, NOW + 60 * n)
    assert len(encode_user_state(state)) < 400


def test_a_state_of_an_older_version_is_read() -> None:
    """Without the fields that came later, and with more than are known."""
    fields = msgpack.decode(
        encode_user_state(UserState(internal_user_id="u", dead_lettered=3))
    )
    older = decode_user_state(msgpack.encode(fields[:-1]))
    assert older == UserState(internal_user_id="u", dead_lettered=3)
    assert decode_user_state(msgpack.encode([*fields, "later"])) == older


@given(st.lists(st.text(min_size=1, max_size=1024), max_size=80))
def test_kept_data_is_bounded_and_the_oldest_goes_first(data: list[str]) -> None:
    """At most 32 entries and 4 KB in all; the newest is always there."""
    state = UserState()
    for each in data:
        key = state.store_payload(each, beside=())
        assert key is not None
        assert (len(key), state.callback_payloads[key]) == (17, each)
    assert len(state.callback_payloads) <= 32
    kept = state.callback_payloads.items()
    size = sum(len(key) + len(each.encode()) for key, each in kept)
    assert size <= 4096
    newest = list(dict.fromkeys(reversed(data)))[: len(state.callback_payloads)]
    assert list(state.callback_payloads.values()) == newest[::-1]
