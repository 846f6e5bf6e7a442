"""Receives the bodies of updates, from the webhook or from long polling.

Telegram forgets an update once it was received. So an update that cannot be put into
its mailbox becomes a dead letter instead.

Concurrency: any number of bodies may be received at once.
"""

import logging
from collections.abc import Awaitable, Callable

from gateway.domain.errors import StoreUnavailable
from gateway.domain.ports import Clock
from gateway.domain.processing_record import Outcome, ProcessingRecord
from gateway.domain.update import DeadLetter, Envelope, Update
from gateway.observability.logging import RateLimitedLogger, summarize_error

logger = logging.getLogger(__name__)


class UpdateReceiver:
    """Parses the bodies of updates and puts the updates into their mailboxes.

    Args:
        parse: turns a body and its arrival time into an update; raises MalformedUpdate.
        accept: puts an update into its mailbox; the update is safely stored when this
            returns.
        add_dead_letter: stores a body that could not be processed.
        record_update: called with a record of each body that got into no mailbox.
        clock: the source of arrival times.
    """

    def __init__(
        self,
        *,
        parse: Callable[[bytes, float], Update],
        accept: Callable[[Envelope], Awaitable[None]],
        add_dead_letter: Callable[[DeadLetter], Awaitable[None]],
        record_update: Callable[[ProcessingRecord], None],
        clock: Clock,
    ) -> None:
        self._parse = parse
        self._accept = accept
        self._add_dead_letter = add_dead_letter
        self._record_update = record_update
        self._clock = clock
        self._limited_log = RateLimitedLogger(logger)

    async def receive(self, body: bytes) -> None:
        """Parse a body and store the update, in its mailbox or as a dead letter.

        An empty body is only logged and counted.

        Raises:
            StoreUnavailable: the update was not stored; Telegram has to send it again.
        """
        arrived_at = self._clock.now()
        try:
            update = self._parse(body, arrived_at)
        except Exception as error:  # noqa: BLE001 - a parser's bug must not lose a body
            self.report_bad_body("malformed", len(body), summarize_error(error))
            if body:
                await self._dead_letter_body(body, "malformed")
            return
        envelope = Envelope(
            update_id=update.update_id,
            ordering_key=update.ordering_key,
            arrived_at=arrived_at,
            body=body,
            update=update,
        )
        try:
            await self._accept(envelope)
        except StoreUnavailable:
            raise
        except Exception as error:  # noqa: BLE001 - a received update has to be stored
            await self._dead_letter_update(update, body, error)

    def report_bad_body(self, reason: str, size: int, error: str | None = None) -> None:
        """Log and count a body that is not an update. It is not stored here.

        Args:
            reason: a word for the problem, such as "malformed".
            size: the size of the body in bytes.
            error: a summary of the error, without user data; None if there was none.
        """
        self._limited_log.log(
            logging.ERROR, "update_body_invalid", reason=reason, size=size, error=error
        )
        self._record_update(ProcessingRecord(outcome=Outcome.MALFORMED, error=reason))

    async def _dead_letter_update(
        self, update: Update, body: bytes, error: Exception
    ) -> None:
        """Store an update that was not enqueued: Telegram will not send it again."""
        context = update.context
        logger.error(
            "update_not_enqueued",
            extra={"request_id": context.request_id, "error": summarize_error(error)},
        )
        self._record_update(
            ProcessingRecord(
                update_id=update.update_id,
                update_type=update.update_type,
                request_id=context.request_id,
                telegram_user_id=context.telegram_user_id or None,
                outcome=Outcome.CRASHED,
                error=type(error).__name__,
            )
        )
        await self._dead_letter_body(
            body, "crashed", update.update_id, update.ordering_key
        )

    async def _dead_letter_body(
        self,
        body: bytes,
        reason: str,
        update_id: int | None = None,
        ordering_key: str | None = None,
    ) -> None:
        await self._add_dead_letter(
            DeadLetter(
                update_id=update_id,
                ordering_key=ordering_key,
                reason=reason,
                dead_lettered_at=self._clock.now(),
                body=body,
            )
        )
