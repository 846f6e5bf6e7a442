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
from gateway.mailboxes.failover.mailboxes import FallbackMailboxes
from gateway.mailboxes.memory.dead_letters import IN_MEMORY
from gateway.mailboxes.memory.mailboxes import MemoryMailboxes
from gateway.mailboxes.redis.client.cluster import ClusterTransport
from gateway.mailboxes.redis.client.connection_factory import (
    first_connector,
    is_unprotected,
)
from gateway.mailboxes.redis.client.server_checks import inspect
from gateway.mailboxes.redis.lua.scripts import load_scripts
from gateway.mailboxes.redis.mailboxes import RedisMailboxes
from gateway.mailboxes.redis.store_clock import StoreClock
from gateway.mailboxes.serialization import PER_SHARD
from gateway.mailboxes.signatures import StoreSignatures
from gateway.mailboxes.stream_cancellation import LocalStops, RedisStops

logger = logging.getLogger(__name__)

Opened = MemoryMailboxes | FallbackMailboxes


class Store(NamedTuple):
    """What was opened.

    Attributes:
        mailboxes: the mailboxes.
        stops: what goes past them.
        clock: tells the time that all gateways with these mailboxes agree on.
    """

    mailboxes: Opened
    stops: CancellationBus
    clock: Clock


@asynccontextmanager
async def open_mailboxes(
    url: str | None,
    clock: Clock,
    signatures: StoreSignatures,
    *,
    limit: int,
    sessions: int,
    patience: float,
    letter_seconds: float,
    background: BackgroundTasks | None = None,
) -> AsyncIterator[Store]:
    """Open mailboxes inside of the block.

    Args:
        url: the Redis, as redis-py reads it. None: none.
        clock: this machine's own.
        signatures: signs what is stored in Redis, and verifies what comes back.
        limit: how many updates a mailbox may hold; at least 1.
        sessions: how many states are kept in memory at most.
        patience: for how many seconds a put waits for a Redis that fails.
        letter_seconds: for how long dead letters are kept.
        background: runs the tasks.

    Raises:
        Faults: the address is wrong.
    """
    store_clock = StoreClock(clock)
    memory = MemoryMailboxes(
        clock if url is None else store_clock,
        limit=limit,
        sessions=sessions,
        dead_letters=structs.replace(IN_MEMORY, seconds=letter_seconds),
    )
    try:
        if url is None:
            logger.warning("mailboxes are in memory: a crash loses what is not done")
            yield Store(memory, LocalStops(), clock)
        else:
            await _inspect(url)
            scripts = load_scripts()
            transport = ClusterTransport(
                url,
                scripts,
                clock,
                learn_time=store_clock.learn,
                background=background,
            )
            durable = RedisMailboxes(
                transport,
                scripts,
                store_clock,
                signatures,
                limit=limit,
                patience=patience,
                learn_time=store_clock.learn,
                dead_letters=structs.replace(PER_SHARD, seconds=letter_seconds),
            )
            async with (
                transport,
                FallbackMailboxes(
                    durable, memory, transport, clock, background
                ) as mailboxes,
                RedisStops(
                    transport.connect, transport, signatures, background
                ) as stops,
            ):
                # Else what comes in now would be judged by this machine's clock, and
                # a moment later by that of Redis.
                await transport.attempt()
                yield Store(mailboxes, stops, store_clock)
    finally:
        if memory.in_memory:
            logger.error(
                "stopped before all was done", extra={"updates": memory.in_memory}
            )


async def _inspect(url: str) -> None:
    """Warn of what weakens the promise that nothing accepted is lost."""
    connect = first_connector(url)
    if is_unprotected(url):
        logger.warning(
            "redis has no password: whoever reaches it reads what users wrote, and can"
            " delete it; set one in REDIS_URL"
        )
    try:
        for warning in await inspect(connect):
            logger.warning("redis weakens the promise", extra={"reason": warning})
    except StoreUnavailable as error:
        logger.warning(
            "redis cannot be used at the start", extra={"reason": str(error)}
        )
