"""The text of a streamed reply, as far as it was received."""

import asyncio
import contextlib

REFRESH_SECONDS = 20.0
"""The interval after which an unchanged text is shown again, because drafts vanish
after 30 s (Bot API, sendMessageDraft)."""


class StreamBuffer:
    """The received text of a streamed reply. One task writes it, another waits for it.

    Attributes:
        length: the number of characters received.
        shown_length: the number of characters that the user saw.
    """

    def __init__(self) -> None:
        self.length = 0
        self.shown_length = 0
        self._chunks: list[str] = []
        self._changed = asyncio.Event()
        self._closed = asyncio.Event()

    def __str__(self) -> str:
        if len(self._chunks) > 1:
            self._chunks = ["".join(self._chunks)]
        return self._chunks[0] if self._chunks else ""

    def append(self, chunk: str) -> None:
        """Append a chunk of the text."""
        self._chunks.append(chunk)
        self.length += len(chunk)
        self._changed.set()

    def close(self) -> None:
        """Mark the text as complete."""
        self._closed.set()
        self._changed.set()

    async def wait_for_more(self) -> bool:
        """Wait until there is more text to show, or until the text is complete.

        Returns whether there is more text to show.
        """
        if self.length == self.shown_length:
            self._changed.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(REFRESH_SECONDS if self.shown_length else None):
                if not self._closed.is_set():
                    await self._changed.wait()
        return not self._closed.is_set()

    async def wait_until_closed(self, deadline: float) -> None:
        """Wait until the text is complete, or until `deadline` in the loop's time."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(deadline):
                await self._closed.wait()
