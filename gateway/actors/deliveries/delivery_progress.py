"""How far a delivery was sent, and the result that follows from it."""

from msgspec import Struct

from gateway.domain.delivery import DeliveryResult, DeliveryState, SentPart


class DeliveryProgress(Struct):
    """The progress of a delivery: which of its Bot API calls were made.

    Attributes:
        part: the number of the next call, from 0.
        sent_parts: the messages that Telegram accepted.
        is_in_doubt: whether the previous call was skipped because an owner that was
            lost may have made it.
        was_skipped: whether any call was skipped for that reason.
        maybe_repeated: whether a call was repeated that may have had its effect.
    """

    part: int = 0
    sent_parts: tuple[SentPart, ...] = ()
    is_in_doubt: bool = False
    was_skipped: bool = False
    maybe_repeated: bool = False

    def skip(self) -> None:
        """Continue with the next call, because a lost owner may have made this one."""
        self.part += 1
        self.is_in_doubt = self.was_skipped = True

    def end_sent(self) -> DeliveryResult:
        """Return the result of a delivery whose calls all have been made."""
        if self.was_skipped:
            return self.end(DeliveryState.DOUBTFUL, "response_lost")
        return self.end(DeliveryState.SENT)

    def end_expired(self) -> DeliveryResult:
        """Return the result of a delivery whose time is over."""
        if self.was_skipped:
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
