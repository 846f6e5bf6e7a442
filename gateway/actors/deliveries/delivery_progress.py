"""How far a delivery was sent, and the result that follows from it."""

from msgspec import Struct

from gateway.domain.delivery import DeliveryResult, DeliveryState, SentPart


class DeliveryProgress(Struct):
    """How far a delivery was sent.

    Attributes:
        part: the number of the next call.
        sent_parts: the messages that Telegram accepted.
        is_begun: whether the store knows that this owner makes the next call.
        resolves_doubt: whether an earlier owner was lost during a call.
        is_in_doubt: whether the previous call was skipped because it was in doubt.
        is_repeating: whether the next call was made before, and may have had its
            effect.
        was_skipped: whether any call was.
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
        """Whether any call was in doubt."""
        return self.was_skipped or self.maybe_repeated

    def repeat(self) -> None:
        """Make the present call again, although it is in doubt."""
        self.maybe_repeated = self.is_repeating = True

    def skip(self) -> None:
        """Continue with the next call, because the present one is in doubt."""
        self.part += 1
        self.is_begun = self.is_repeating = False
        self.is_in_doubt = self.was_skipped = True

    def advance(self, sent_parts: tuple[SentPart, ...]) -> None:
        """Continue with the next call, because Telegram accepted the present one."""
        self.sent_parts += sent_parts
        self.part += 1
        self.is_begun = self.is_repeating = self.is_in_doubt = False

    def end_sent(self) -> DeliveryResult:
        """Return the result of a delivery whose calls all have been made."""
        if self.was_skipped:
            return self.end(DeliveryState.DOUBTFUL, "response_lost")
        return self.end(DeliveryState.SENT)

    def end_expired(self) -> DeliveryResult:
        """Return the result of a delivery whose time is over."""
        if self.was_skipped or self.is_repeating:
            return self.end(DeliveryState.DOUBTFUL, "response_lost")
        return self.end(DeliveryState.EXPIRED, "expired")

    def end(
        self, state: DeliveryState, reason: str = "", description: str = ""
    ) -> DeliveryResult:
        """Return the result of a delivery that ends now."""
        return DeliveryResult(
            state=state,
            reason=reason,
            description=description,
            sent_parts=self.sent_parts,
            maybe_repeated=self.maybe_repeated,
        )
