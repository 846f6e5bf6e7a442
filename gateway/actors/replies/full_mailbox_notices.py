"""Handles updates that were refused because the mailbox is full.

Concurrency: one task per notice, at most 64 at a time; `close` cancels them. A notice
that fails is not retried, because it is only a courtesy.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable

from gateway.actors.replies.reply_sender import ReplySender
from gateway.actors.replies.user_notices import RATE_LIMITED_TEXT, build_notice
from gateway.background import cancel_and_wait
from gateway.domain.ports import Clock
from gateway.domain.processing_record import Outcome, ProcessingRecord
from gateway.domain.update import ButtonPress, Envelope, Update, UserMessage

logger = logging.getLogger(__name__)

NOTICE_INTERVAL_SECONDS = 60
"""The minimum time between two notices to the same user."""

MAX_PENDING_NOTICES = 64
"""The maximum number of notices that are sent at the same time. Others are dropped."""

MAX_NOTIFIED_USERS = 10_000
"""The maximum number of users whose last notice is remembered. With more, which must be
an attack, all are forgotten."""


class FullMailboxNotifier:
    """Counts updates that a full mailbox refused, and sends their users a notice.

    Args:
        reply_sender: sends the notices.
        clock: the time.
        observe_update: counts and logs each refused update.
    """

    def __init__(
        self,
        reply_sender: ReplySender,
        *,
        clock: Clock,
        observe_update: Callable[[ProcessingRecord], None],
    ) -> None:
        self._reply_sender = reply_sender
        self._clock = clock
        self._observe_update = observe_update
        self._notified_at: dict[str, float] = {}
        self._notice_tasks: set[asyncio.Task[None]] = set()

    def report_refused(self, envelope: Envelope) -> None:
        """Count a refused update, and start to send its user a notice.

        A user gets at most one notice in NOTICE_INTERVAL_SECONDS, and only for a
        message or a pressed button. Other bots get none.

        Args:
            envelope: the update. If it was not parsed, it is only counted.
        """
        update = envelope.update
        record = ProcessingRecord(update_id=envelope.update_id, outcome=Outcome.REFUSED)
        if update is not None:
            record.update_type = update.update_type
            record.request_id = update.context.request_id
            record.telegram_user_id = update.context.telegram_user_id or None
            # Other updates may come from chats in which the bot cannot write.
            can_notify = isinstance(update, (UserMessage, ButtonPress))
            # Another bot might reply to the notice.
            can_notify = can_notify and not update.is_unwanted
            has_capacity = len(self._notice_tasks) < MAX_PENDING_NOTICES
            if (
                can_notify
                and has_capacity
                and self._is_notice_due(envelope.ordering_key)
            ):
                task = asyncio.create_task(
                    self._send_notice(update), name="full mailbox notice"
                )
                self._notice_tasks.add(task)
                task.add_done_callback(self._notice_tasks.discard)
        self._observe_update(record)

    async def close(self) -> None:
        """Cancel the notices that are being sent, and wait until their tasks end."""
        await cancel_and_wait(*self._notice_tasks)

    def _is_notice_due(self, ordering_key: str) -> bool:
        now = self._clock.uptime()
        if (
            now - self._notified_at.get(ordering_key, -NOTICE_INTERVAL_SECONDS)
            < NOTICE_INTERVAL_SECONDS
        ):
            return False
        if len(self._notified_at) >= MAX_NOTIFIED_USERS:
            self._notified_at.clear()
        self._notified_at[ordering_key] = now
        return True

    async def _send_notice(self, update: Update) -> None:
        with contextlib.suppress(Exception):
            await self._reply_sender.send(
                update,
                build_notice(update, RATE_LIMITED_TEXT),
                ProcessingRecord(),
                None,
            )
