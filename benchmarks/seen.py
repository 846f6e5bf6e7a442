"""What the stand-ins saw: they count, benchmarks read it.

Concurrency: nothing is awaited between reading and changing a count.
"""

import sys
import time
from array import array
from collections import defaultdict

from msgspec import Struct

from benchmarks.load import Mark


class Counts(Struct):
    """How things are.

    Attributes:
        answered: marked messages that came back to the Bot API.
        unmarked: other messages, such as apologies of the gateway.
        repeated: of the answered ones, those that came once more since `take`.
        calls: calls of the conversation service.
        resolved: calls of the profile service.
        hanging: calls that hang in the conversation service now.
    """

    answered: int = 0
    unmarked: int = 0
    repeated: int = 0
    calls: int = 0
    resolved: int = 0
    hanging: int = 0

    @property
    def messages(self) -> int:
        """All messages that came to the Bot API."""
        return self.answered + self.unmarked


class Taken(Struct):
    """What was seen since it was taken last.

    Attributes:
        seconds: by group, from the post to the webhook to the Bot API.
        least_hanging: how many calls hung, at least, whenever a message that does not
            hang reached the service or came back.
    """

    seconds: dict[str, list[float]]
    least_hanging: int


class Seen:
    """What both stand-ins saw."""

    def __init__(self) -> None:
        self.counts = Counts()
        self._seconds: dict[str, array[float]] = defaultdict(lambda: array("d"))
        self._least_hanging = sys.maxsize
        self._texts: set[str] = set()

    def passed(self) -> None:
        """Note that a message that does not hang came by."""
        self._least_hanging = min(self._least_hanging, self.counts.hanging)

    def answered(self, text: str) -> None:
        """Note a message that came to the Bot API."""
        now = time.monotonic()
        try:
            mark = Mark.read(text)
        except ValueError:
            self.counts.unmarked += 1
            return
        if not mark.hang:
            self.passed()
        self.counts.answered += 1
        self.counts.repeated += text in self._texts
        self._texts.add(text)
        self._seconds[mark.group].append(now - mark.sent)

    def take(self) -> Taken:
        """Give what was seen, and forget it."""
        seconds = {group: times.tolist() for group, times in self._seconds.items()}
        taken = Taken(seconds, self._least_hanging)
        self._seconds.clear()
        self._texts.clear()
        self._least_hanging = sys.maxsize
        return taken
