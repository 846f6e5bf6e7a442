"""What happens to updates that a full mailbox did not take.

Concurrency: one task per notice, at most 64 at a time; `close` cancels them. A notice
that fails is gone: it is a courtesy.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable

from gateway.actors.replies.reply_sender import Delivery
from gateway.actors.replies.user_notices import SLOW_DOWN, notice
from gateway.domain.ports import Clock
from gateway.domain.processing_record import Outcome, ProcessingRecord
from gateway.domain.update import Envelope, Update

logger = logging.getLogger(__name__)

TOLD_SECONDS = 60
"""A user whose mailbox stays full is told once in this time."""

MOST_NOTICES = 64
"""Notices under way at once. Under a flood the rest is only counted."""

MOST_TOLD = 10_000
"""Users remembered as told. More of them at once are an attack, not users."""


class Refusals:
    """Counts refused updates, and tells their users once."""

    def __init__(
        self,
        delivery: Delivery,
        *,
        clock: Clock,
        observe: Callable[[ProcessingRecord], None],
    ) -> None:
        self._delivery = delivery
        self._clock = clock
        self._observe = observe
        self._told: dict[str, float] = {}
        self._notices: set[asyncio.Task[None]] = set()

    def refuse(self, envelope: Envelope) -> None:
        """Count a refused update and tell its user, unless that was just done."""
        update = envelope.update
        record = ProcessingRecord(update_id=envelope.update_id, outcome=Outcome.REFUSED)
        if update is not None:
            record.update_type = update.update_type
            record.request_id = update.context.request_id
            record.telegram_user_id = update.context.telegram_user_id
            # Other kinds may come from chats in which the bot has no say.
            speaks = update.message is not None or bool(update.callback_query_id)
            speaks = speaks and not update.is_unwanted  # a bot might answer the notice
            room = len(self._notices) < MOST_NOTICES
            if speaks and room and self._first(envelope.ordering_key):
                task = asyncio.create_task(self._tell(update), name="refusal")
                self._notices.add(task)
                task.add_done_callback(self._notices.discard)
        self._observe(record)

    async def close(self) -> None:
        """Cancel the notices that are under way."""
        for task in self._notices:
            task.cancel()
        await asyncio.gather(*self._notices, return_exceptions=True)

    def _first(self, ordering_key: str) -> bool:
        now = self._clock.uptime()
        if now - self._told.get(ordering_key, -TOLD_SECONDS) < TOLD_SECONDS:
            return False
        if len(self._told) >= MOST_TOLD:
            self._told.clear()
        self._told[ordering_key] = now
        return True

    async def _tell(self, update: Update) -> None:
        with contextlib.suppress(Exception):
            await self._delivery.send(
                update, notice(update, SLOW_DOWN), ProcessingRecord(), None
            )
