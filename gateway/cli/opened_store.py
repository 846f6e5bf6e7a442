"""Opens the mailbox store for a command."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from gateway.background import BackgroundTasks
from gateway.clock import SystemClock
from gateway.config.settings import Settings
from gateway.mailboxes.factory import OpenedMailboxes, open_mailboxes
from gateway.mailboxes.signatures import StoreSignatures


@asynccontextmanager
async def open_store(settings: Settings) -> AsyncIterator[OpenedMailboxes]:
    """Open the mailbox store in Redis for the duration of the block.

    Without a Redis it is an empty store in the memory of this process, even if the
    gateway has a DATA_DIR.

    Args:
        settings: the gateway's settings.

    Raises:
        ConfigurationError: the address of the Redis is invalid.
    """
    async with (
        BackgroundTasks() as background,
        open_mailboxes(
            settings.store_url,
            SystemClock(),
            StoreSignatures(settings.store_secrets),
            key_prefix=settings.redis_key_prefix,
            limit=settings.mailbox_limit,
            max_sessions=settings.session_limit,
            put_timeout=settings.store_patience,
            dead_letter_seconds=settings.dead_letter_retention,
            background=background,
        ) as store,
    ):
        yield store
