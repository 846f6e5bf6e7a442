"""The one stream of events, from which pages and scenarios see what happens.

Concurrency: one event loop. Publishing never waits: an event goes into the bounded
queue of each listener. A listener that does not keep up is closed instead of growing;
its browser comes back by itself and gets a new snapshot.
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import msgspec

LISTENER_LIMIT = 2_000
"""Events that may wait for one listener, more than a page can show.

Mostly 1 or 2 MB; more only if the bot's messages are long.
"""


class StreamClosed(Exception):
    """The listener was closed, because it did not keep up."""


class Listener:
    """One open stream."""

    def __init__(self, close: Callable[[], None]) -> None:
        self._close = close
        self._waiting: list[bytes] = []
        self._news = asyncio.Event()
        self._closed = False

    def put(self, event: bytes) -> None:
        """Queue an event; close the stream if there is no room."""
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
        """Wait for events and take all of them. Empty: there were none in this time.

        Args:
            within: seconds.

        Raises:
            StreamClosed: the stream must end.
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
    """Hands each event to everybody who listens."""

    def __init__(self) -> None:
        self._listeners: set[Listener] = set()

    @property
    def has_listeners(self) -> bool:
        """True: somebody listens."""
        return bool(self._listeners)

    def publish(self, kind: str, **fields: object) -> None:
        """Tell all listeners; without one it costs nothing.

        Args:
            kind: the event's `type`.
            fields: what else is in it.
        """
        if self._listeners:
            event = encode(kind, **fields)
            for listener in tuple(self._listeners):
                listener.put(event)

    @contextmanager
    def listen(self, close: Callable[[], None]) -> Iterator[Listener]:
        """Listen inside of the block.

        Args:
            close: ends the connection at once; called if the listener is too slow.
        """
        listener = Listener(close)
        self._listeners.add(listener)
        try:
            yield listener
        finally:
            self._listeners.discard(listener)


def encode(kind: str, **fields: object) -> bytes:
    """Write an event in the form of text/event-stream."""
    return b"data: " + msgspec.json.encode({"type": kind, **fields}) + b"\n\n"
