"""Dead letters held in memory: bounded in number and in size."""

import contextlib
from collections import deque
from collections.abc import Sequence

from gateway.domain.update import DeadLetter

DEAD_LETTERS = 1000
"""How many dead letters are kept; the oldest go first."""

DEAD_LETTER_BYTES = 16 << 20
"""How many bytes of bodies they may hold together; again the oldest go first."""


class KeptLetters:
    """The dead letters of one process, as long as it lives."""

    def __init__(self) -> None:
        self._letters: deque[DeadLetter] = deque()
        self._bytes = 0
        self.count = 0
        """How many there were, those included that are gone."""

    def __len__(self) -> int:
        """Give how many are kept."""
        return len(self._letters)

    @property
    def all(self) -> Sequence[DeadLetter]:
        """Those that are kept, oldest first."""
        return tuple(self._letters)

    def keep(self, letter: DeadLetter) -> None:
        """Keep one more."""
        self._letters.append(letter)
        self._bytes += len(letter.body)
        self.count += 1
        while len(self._letters) > DEAD_LETTERS or self._bytes > DEAD_LETTER_BYTES:
            self.withdraw(self._letters[0])

    def withdraw(self, letter: DeadLetter) -> None:
        """Remove one, if it is still there."""
        with contextlib.suppress(ValueError):
            self._letters.remove(letter)
            self._bytes -= len(letter.body)
