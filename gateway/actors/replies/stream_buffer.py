"""A text that is still being written."""

import asyncio
import contextlib

REFRESH_SECONDS = 20.0
"""A text that does not grow is shown again: drafts vanish after 30 s (Bot API,
sendMessageDraft)."""


class Growing:
    """A text that grows until it is whole. One task writes it, one other waits for it.

    Attributes:
        length: how many characters there are.
        shown: how many of them the user saw.
    """

    def __init__(self) -> None:
        self.length = 0
        self.shown = 0
        self._pieces: list[str] = []
        self._more = asyncio.Event()
        self._whole = asyncio.Event()

    def __str__(self) -> str:
        if len(self._pieces) > 1:
            self._pieces = ["".join(self._pieces)]
        return self._pieces[0] if self._pieces else ""

    def add(self, piece: str) -> None:
        """Append a piece."""
        self._pieces.append(piece)
        self.length += len(piece)
        self._more.set()

    def end(self) -> None:
        """Say that it is whole."""
        self._whole.set()
        self._more.set()

    async def grown(self) -> bool:
        """Wait until there is something to show. False: the text is whole."""
        if self.length == self.shown:
            self._more.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(REFRESH_SECONDS if self.shown else None):
                if not self._whole.is_set():
                    await self._more.wait()
        return not self._whole.is_set()

    async def ended_by(self, time: float) -> None:
        """Wait until the text is whole, at most until then by the loop's time."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(time):
                await self._whole.wait()
