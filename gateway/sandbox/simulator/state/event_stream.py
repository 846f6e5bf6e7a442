"""The stream of events, such as new messages, that pages and scenarios follow.

Concurrency: one event loop. Publishing never waits: an event goes into the bounded
queue of each listener. A listener that does not keep up is closed; its browser
reconnects by itself and gets a new snapshot.
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import msgspec

LISTENER_LIMIT = 2_000
"""Maximum number of queued events for one listener, more than a page can show.

They take 1 or 2 MB, or more if the bot's messages are long.
"""


class StreamClosed(Exception):
    """The stream was closed because its listener did not take events fast enough."""


class Listener:
    """The events that one listener has not taken yet.

    Args:
        close: called if there are too many of them; closes the connection.
    """

    def __init__(self, close: Callable[[], None]) -> None:
        self._close = close
        self._waiting: list[bytes] = []
        self._news = asyncio.Event()
        self._closed = False

    def put(self, event: bytes) -> None:
        """Queue an encoded event, or close the stream if the queue is full."""
        if self._closed:
            return
        if len(self._waiting) >= LISTENER_LIMIT:
            self._closed = True
            self._waiting.clear()
            self._close()
        else:
            self._waiting.append(event)
        self._news.set()

    async def take(self, within: float) -> bytes:
        """Wait for events, and return all of them; b"" if there were none in time.

        Args:
            within: the maximum wait in seconds.

        Raises:
            StreamClosed: the stream was closed.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within):
                await self._news.wait()
        if self._closed:
            raise StreamClosed
        events = b"".join(self._waiting)
        self._waiting.clear()
        self._news.clear()
        return events


class EventStream:
    """Publishes each event to all listeners.

    Args:
        listeners: the listeners of another stream, which then get the events of both;
            None for own ones.
        fields: fields that are added to each event; None for none.
    """

    def __init__(
        self,
        listeners: set[Listener] | None = None,
        fields: Mapping[str, object] | None = None,
    ) -> None:
        self._listeners = set() if listeners is None else listeners
        self._fields = fields or {}

    def of_bot(self, bot_id: int) -> "EventStream":
        """Return a stream to the same listeners that adds `bot_id` to each event."""
        return EventStream(self._listeners, {"bot_id": bot_id})

    @property
    def has_listeners(self) -> bool:
        """Whether there are any listeners."""
        return bool(self._listeners)

    def publish(self, kind: str, **fields: object) -> None:
        """Send an event to all listeners. Without listeners it is not even encoded.

        Args:
            kind: the event's field `type`.
            fields: the other fields of the event.
        """
        if self._listeners:
            event = encode(kind, **self._fields, **fields)
            for listener in tuple(self._listeners):
                listener.put(event)

    @contextmanager
    def listen(self, close: Callable[[], None]) -> Iterator[Listener]:
        """Yield a listener that gets all events within the block.

        Args:
            close: closes the connection; called if the listener is too slow.
        """
        listener = Listener(close)
        self._listeners.add(listener)
        try:
            yield listener
        finally:
            self._listeners.discard(listener)


def encode(kind: str, **fields: object) -> bytes:
    """Encode an event as JSON in the format text/event-stream."""
    return b"data: " + msgspec.json.encode({"type": kind, **fields}) + b"\n\n"
