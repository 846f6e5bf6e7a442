"""Opens the mailboxes: in Redis where there is one, else in this process."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple

from msgspec import structs

from gateway.background import BackgroundTasks
from gateway.domain.errors import StoreUnavailable
from gateway.domain.messenger import CancellationBus
from gateway.domain.ports import Clock
from gateway.mailboxes.failover.mailboxes import FailoverMailboxStore
from gateway.mailboxes.memory.dead_letters import DEFAULT_MEMORY_LIMITS
from gateway.mailboxes.memory.mailboxes import MemoryMailboxStore
from gateway.mailboxes.redis.client.cluster import ClusterClient
from gateway.mailboxes.redis.client.connection_factory import (
    is_unprotected,
    make_checked_connection_factory,
)
from gateway.mailboxes.redis.client.server_checks import check_durability
from gateway.mailboxes.redis.lua.scripts import load_scripts
from gateway.mailboxes.redis.mailboxes import RedisMailboxStore
from gateway.mailboxes.redis.store_clock import StoreClock
from gateway.mailboxes.serialization import DEFAULT_SHARD_LIMITS
from gateway.mailboxes.signatures import StoreSignatures
from gateway.mailboxes.stream_cancellation import (
    LocalCancellationBus,
    RedisCancellationBus,
)

logger = logging.getLogger(__name__)

WorkerMailboxes = MemoryMailboxStore | FailoverMailboxStore


class OpenedMailboxes(NamedTuple):
    """What was opened.

    Attributes:
        mailboxes: the mailboxes.
        cancellation_bus: what goes past them.
        clock: tells the time that all gateways with these mailboxes agree on.
    """

    mailboxes: WorkerMailboxes
    cancellation_bus: CancellationBus
    clock: Clock


@asynccontextmanager
async def open_mailboxes(
    url: str | None,
    clock: Clock,
    signatures: StoreSignatures,
    *,
    limit: int,
    max_sessions: int,
    put_timeout: float,
    dead_letter_seconds: float,
    background: BackgroundTasks | None = None,
) -> AsyncIterator[OpenedMailboxes]:
    """Open mailboxes inside of the block.

    Args:
        url: the Redis, as redis-py reads it. None: none.
        clock: this machine's own.
        signatures: signs what is stored in Redis, and verifies what comes back.
        limit: how many updates a mailbox may hold; at least 1.
        max_sessions: how many states are kept in memory at most.
        put_timeout: for how many seconds a put waits for a Redis that fails.
        dead_letter_seconds: for how long dead letters are kept.
        background: runs the tasks.

    Raises:
        ConfigurationError: the address is wrong.
    """
    store_clock = StoreClock(clock)
    memory_store = MemoryMailboxStore(
        clock if url is None else store_clock,
        limit=limit,
        max_sessions=max_sessions,
        dead_letters=structs.replace(
            DEFAULT_MEMORY_LIMITS, retention_seconds=dead_letter_seconds
        ),
    )
    try:
        if url is None:
            logger.warning("mailboxes are in memory: a crash loses what is not done")
            yield OpenedMailboxes(memory_store, LocalCancellationBus(), clock)
        else:
            await _log_durability_warnings(url)
            scripts = load_scripts()
            client = ClusterClient(
                url,
                scripts,
                clock,
                on_server_time=store_clock.record_server_time,
                background=background,
            )
            redis_store = RedisMailboxStore(
                client,
                scripts,
                store_clock,
                signatures,
                limit=limit,
                put_timeout=put_timeout,
                on_server_time=store_clock.record_server_time,
                dead_letters=structs.replace(
                    DEFAULT_SHARD_LIMITS, retention_seconds=dead_letter_seconds
                ),
            )
            async with (
                client,
                FailoverMailboxStore(
                    redis_store, memory_store, client, clock, background
                ) as mailboxes,
                RedisCancellationBus(
                    client.make_connection, client, signatures, background
                ) as cancellation_bus,
            ):
                # Else what comes in now would be judged by this machine's clock, and
                # a moment later by that of Redis.
                await client.wait_first_attempt()
                yield OpenedMailboxes(mailboxes, cancellation_bus, store_clock)
    finally:
        if memory_store.in_memory:
            logger.error(
                "stopped before all was done", extra={"updates": memory_store.in_memory}
            )


async def _log_durability_warnings(url: str) -> None:
    """Warn of what weakens the promise that nothing accepted is lost."""
    make_connection = make_checked_connection_factory(url)
    if is_unprotected(url):
        logger.warning(
            "redis has no password: whoever reaches it reads what users wrote, and can"
            " delete it; set one in REDIS_URL"
        )
    try:
        for warning in await check_durability(make_connection):
            logger.warning("redis weakens the promise", extra={"reason": warning})
    except StoreUnavailable as error:
        logger.warning(
            "redis cannot be used at the start", extra={"reason": str(error)}
        )
