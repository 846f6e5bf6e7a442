"""What the command line shows of dead letters, and which of them it lists."""

from typing import Any

from msgspec import Struct

from gateway.domain.update import DeadLetter


class DeadLetterSummary(Struct, frozen=True):
    """The facts about a dead letter that may be shown: nothing that a user wrote."""

    dead_letter_id: Any
    """The id in its store; `str` returns the text by which people refer to the dead
    letter."""
    update_id: int | None
    """None if the body could not be read."""
    ordering_key: str | None
    """None if the body could not be read."""
    reason: str
    dead_lettered_at: float
    """When it became a dead letter, in seconds since the epoch."""
    delivery_id: str | None = None
    """The id of the delivery, or None if it is an update."""


class DeadLetterSelection(Struct, frozen=True):
    """Says which dead letters to list.

    Attributes:
        reason: list only dead letters with this reason; None for any reason.
        bot_ids: list only dead letters of the bots with these ids; None for all bots.
    """

    reason: str | None
    bot_ids: frozenset[str] | None

    def contains(self, dead_letter: DeadLetter) -> bool:
        """Return whether a dead letter has a selected reason and a selected bot.

        A dead letter that belongs to no bot, because its body could not be read, is
        always taken to belong to a selected one.
        """
        if self.reason not in {None, dead_letter.reason}:
            return False
        if self.bot_ids is None or dead_letter.ordering_key is None:
            return True
        return dead_letter.ordering_key.partition("/")[0] in self.bot_ids


def summarize(dead_letter_id: object, dead_letter: DeadLetter) -> DeadLetterSummary:
    """Return what may be shown of a dead letter.

    Args:
        dead_letter_id: its id in its store.
        dead_letter: the dead letter.
    """
    return DeadLetterSummary(
        dead_letter_id,
        dead_letter.update_id,
        dead_letter.ordering_key,
        dead_letter.reason,
        dead_letter.dead_lettered_at,
        None if dead_letter.delivery is None else dead_letter.delivery.delivery_id,
    )
