"""A text that is still being written."""

import asyncio
import contextlib

REFRESH_SECONDS = 20.0
"""A text that does not grow is shown again: drafts vanish after 30 s (Bot API,
sendMessageDraft)."""


class StreamBuffer:
    """A text that grows until it is whole. One task writes it, one other waits for it.

    Attributes:
        length: how many characters there are.
        shown_length: how many of them the user saw.
    """

    def __init__(self) -> None:
        self.length = 0
        self.shown_length = 0
        self._pieces: list[str] = []
        self._changed = asyncio.Event()
        self._closed = asyncio.Event()

    def __str__(self) -> str:
        if len(self._pieces) > 1:
            self._pieces = ["".join(self._pieces)]
        return self._pieces[0] if self._pieces else ""

    def append(self, piece: str) -> None:
        """Append a piece."""
        self._pieces.append(piece)
        self.length += len(piece)
        self._changed.set()

    def close(self) -> None:
        """Say that it is whole."""
        self._closed.set()
        self._changed.set()

    async def wait_for_more(self) -> bool:
        """Wait until there is something to show. False: the text is whole."""
        if self.length == self.shown_length:
            self._changed.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(REFRESH_SECONDS if self.shown_length else None):
                if not self._closed.is_set():
                    await self._changed.wait()
        return not self._closed.is_set()

    async def wait_until_closed(self, deadline: float) -> None:
        """Wait until the text is whole, at most until then by the loop's time."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(deadline):
                await self._closed.wait()
