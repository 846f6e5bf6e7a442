"""Keeps how far a delivery was sent, from which the result of the delivery follows."""

from msgspec import Struct

from gateway.domain.delivery import DeliveryResult, DeliveryState, SentPart


class DeliveryProgress(Struct):
    """How far a delivery was sent.

    Attributes:
        part: the index of the next call, from 0.
        sent_parts: the messages that Telegram accepted.
        is_begun: whether the store has recorded that this owner of the mailbox begins
            the next call.
        resolves_doubt: whether an earlier owner of the mailbox was lost during a call,
            which this owner repeats or skips.
        is_in_doubt: whether the previous call was skipped because it was in doubt.
        is_repeating: whether the next call was made before, and may have had its
            effect.
        was_skipped: whether any call was skipped because it was in doubt.
        maybe_repeated: whether a call was repeated that may have had its effect.
    """

    part: int = 0
    sent_parts: tuple[SentPart, ...] = ()
    is_begun: bool = False
    resolves_doubt: bool = False
    is_in_doubt: bool = False
    is_repeating: bool = False
    was_skipped: bool = False
    maybe_repeated: bool = False

    @property
    def had_doubt(self) -> bool:
        """Whether any call was skipped or repeated because it was in doubt."""
        return self.was_skipped or self.maybe_repeated

    def repeat(self) -> None:
        """Record that the present call, which is in doubt, will be made again."""
        self.maybe_repeated = self.is_repeating = True

    def skip(self) -> None:
        """Record that the present call is in doubt and that the next one follows it."""
        self.part += 1
        self.is_begun = self.is_repeating = False
        self.is_in_doubt = self.was_skipped = True

    def advance(self, sent_parts: tuple[SentPart, ...]) -> None:
        """Record that Telegram accepted the present call, so that the next one follows.

        Args:
            sent_parts: the messages that the present call has sent.
        """
        self.sent_parts += sent_parts
        self.part += 1
        self.is_begun = self.is_repeating = self.is_in_doubt = False

    def end_sent(self) -> DeliveryResult:
        """Return the result of a delivery after its last call.

        It is SENT; or DOUBTFUL if a call was skipped, which may have had its effect.
        """
        if self.was_skipped:
            return self.end(DeliveryState.DOUBTFUL, "response_lost")
        return self.end(DeliveryState.SENT)

    def end_expired(self) -> DeliveryResult:
        """Return the result of a delivery whose time is over.

        DOUBTFUL if a call may have had its effect without being known; else EXPIRED.
        """
        if self.was_skipped or self.is_repeating:
            return self.end(DeliveryState.DOUBTFUL, "response_lost")
        return self.end(DeliveryState.EXPIRED, "expired")

    def end(
        self, state: DeliveryState, reason: str = "", description: str = ""
    ) -> DeliveryResult:
        """Return the result of a delivery that ends now, with the messages sent so far.

        Args:
            state: the final state.
            reason: a word that says why, such as "expired"; empty if it was sent.
            description: Telegram's text about an error; empty if there is none.
        """
        return DeliveryResult(
            state=state,
            reason=reason,
            description=description,
            sent_parts=self.sent_parts,
            maybe_repeated=self.maybe_repeated,
        )
