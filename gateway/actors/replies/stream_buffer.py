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
        shown_length: the number of characters that the preview shows the user; the
            task that waits sets it.
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
        """Append a chunk of the text, and wake the task that waits for it."""
        self._chunks.append(chunk)
        self.length += len(chunk)
        self._changed.set()

    def close(self) -> None:
        """Mark the text as complete, and wake the task that waits for it."""
        self._closed.set()
        self._changed.set()

    async def wait_for_more(self) -> bool:
        """Wait until there is text to show, or until the text is complete.

        There is text to show if some has arrived, or if the same text was shown
        REFRESH_SECONDS ago.

        Returns:
            True if there is text to show; False if the text is complete, and is sent as
            the reply.
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
