import pytest

from gateway.domain.message_handles import MessageHandle, MessageHandles

HANDLE = MessageHandle(1234567890, -1001234567890123, 2**31 - 1)


def test_a_handle_is_read_back() -> None:
    handles = MessageHandles(["secret"])
    encoded = handles.encode(HANDLE)
    assert len(encoded) <= 128
    assert handles.decode(encoded) == HANDLE


def test_handles_of_a_previous_secret_stay_valid() -> None:
    encoded = MessageHandles(["old"]).encode(HANDLE)
    assert MessageHandles(["new", "old"]).decode(encoded) == HANDLE
    assert MessageHandles(["new"]).decode(encoded) is None


@pytest.mark.parametrize("index", range(0, 64, 7))
def test_a_changed_handle_is_refused(index: int) -> None:
    handles = MessageHandles(["secret"])
    encoded = handles.encode(HANDLE)
    other = "A" if encoded[index % len(encoded)] != "A" else "B"
    position = index % len(encoded)
    changed = encoded[:position] + other + encoded[position + 1 :]
    assert handles.decode(changed) is None


@pytest.mark.parametrize("text", ["", "x", "é", "AAAA", "-" * 200])
def test_what_is_no_handle_is_refused(text: str) -> None:
    assert MessageHandles(["secret"]).decode(text) is None
