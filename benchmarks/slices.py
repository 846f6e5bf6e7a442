"""A load in slices, and what a slice took."""

from typing import NamedTuple

from msgspec import Struct


class Load(NamedTuple):
    """A load.

    Attributes:
        name: for people.
        rate: updates per second; None: as fast as they are answered.
        updates: in a slice.
        slices: per round.
    """

    name: str
    rate: float | None
    updates: int
    slices: int


class Slice(Struct):
    """What some updates took; times in seconds.

    Attributes:
        own: processor time of all processes of the contender.
        redis: processor time of its Redis.
        took: on the wall.
        updates: how many.
        answers: each from when it was due until the webhook had answered.
        replies: each from when it was due until the Bot API got the message.
    """

    own: float = 0
    redis: float = 0
    took: float = 0
    updates: int = 0
    answers: list[float] = []
    replies: list[float] = []

    def plus(self, other: "Slice") -> "Slice":
        """Add another."""
        return Slice(
            self.own + other.own,
            self.redis + other.redis,
            self.took + other.took,
            self.updates + other.updates,
            self.answers + other.answers,
            self.replies + other.replies,
        )


class Work(Struct):
    """What a contender was seen to do, in all slices."""

    updates: int = 0
    messages: int = 0
    calls: int = 0
    resolved: int = 0
    redis_commands: int = 0
