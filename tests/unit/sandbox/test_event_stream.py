"""The stream of events: complete for who keeps up, bounded for who does not."""

import pytest

from gateway.sandbox.simulator.state import event_stream as module
from gateway.sandbox.simulator.state.event_stream import EventStream, StreamClosed


def nothing() -> None:
    """Close nothing."""


async def test_a_listener_gets_what_happens_from_then_on() -> None:
    """In the order in which it happened, in the form of text/event-stream."""
    events = EventStream()
    events.publish("missed")
    with events.listen(nothing) as listener:
        events.publish("first", number=1)
        events.publish("second")
        taken = await listener.take(1)
    assert taken == b'data: {"type":"first","number":1}\n\ndata: {"type":"second"}\n\n'
    assert not events.has_listeners


async def test_nothing_is_given_where_nothing_happens() -> None:
    """So that the caller can show that it is still there."""
    with EventStream().listen(nothing) as listener:
        assert await listener.take(0.01) == b""


async def test_a_slow_listener_is_closed_and_others_are_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its queue does not grow beyond the limit."""
    monkeypatch.setattr(module, "LISTENER_LIMIT", 3)
    events, closed = EventStream(), []
    with (
        events.listen(lambda: closed.append("slow")) as slow,
        events.listen(lambda: closed.append("fast")) as fast,
    ):
        for number in range(5):
            events.publish("event", number=number)
            assert f'"number":{number}'.encode() in await fast.take(1)
        with pytest.raises(StreamClosed):
            await slow.take(1)
    assert closed == ["slow"]
