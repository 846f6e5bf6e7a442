"""What is shown of dead letters, and which of them."""

from typing import Any

from msgspec import Struct

from gateway.domain.update import DeadLetter


class DeadLetterSummary(Struct, frozen=True):
    """The facts about a dead letter that may be shown: nothing that a user wrote."""

    dead_letter_id: Any
    """The id in its store; `str` returns what people use."""
    update_id: int | None
    """None if the body could not be read."""
    ordering_key: str | None
    """None if the body could not be read."""
    reason: str
    dead_lettered_at: float
    """When it became a dead letter, in seconds since the epoch."""
    delivery_id: str | None = None
    """None if it is no delivery."""


class DeadLetterSelection(Struct, frozen=True):
    """The dead letters to list.

    Attributes:
        reason: their reason, or None for any.
        bot_ids: the ids of their bots, or None for any.
    """

    reason: str | None
    bot_ids: frozenset[str] | None

    def contains(self, dead_letter: DeadLetter) -> bool:
        """Return whether to list a dead letter."""
        if self.reason not in {None, dead_letter.reason}:
            return False
        if self.bot_ids is None or dead_letter.ordering_key is None:
            return True
        return dead_letter.ordering_key.partition("/")[0] in self.bot_ids


def summarize(dead_letter_id: object, dead_letter: DeadLetter) -> DeadLetterSummary:
    """Return what may be shown of a dead letter."""
    return DeadLetterSummary(
        dead_letter_id,
        dead_letter.update_id,
        dead_letter.ordering_key,
        dead_letter.reason,
        dead_letter.dead_lettered_at,
        None if dead_letter.delivery is None else dead_letter.delivery.delivery_id,
    )
