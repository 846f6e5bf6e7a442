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
    """Open the mailbox store of the gateway for the duration of the block.

    It is in Redis, or in the file of DATA_DIR. Without both it is an empty store in the
    memory of this process.

    Args:
        settings: the gateway's settings.

    Raises:
        ConfigurationError: the address of the Redis is invalid, or the file cannot be
            used.
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
            data_dir=settings.data_dir,
            synchronous=settings.data_synchronous,
            background=background,
        ) as store,
    ):
        yield store
