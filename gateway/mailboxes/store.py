"""Opens the mailboxes: in Redis where there is one, else in this process."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple

from gateway.domain.errors import MailboxesUnavailable
from gateway.domain.messenger import Stops
from gateway.domain.ports import Clock
from gateway.mailboxes.cluster import ClusterTransport
from gateway.mailboxes.connect import first_connector
from gateway.mailboxes.fallback import FallbackMailboxes
from gateway.mailboxes.inspection import inspect
from gateway.mailboxes.memory import MemoryMailboxes
from gateway.mailboxes.redis import RedisMailboxes
from gateway.mailboxes.scripts import load_scripts
from gateway.mailboxes.stops import LocalStops, RedisStops

logger = logging.getLogger(__name__)

Opened = MemoryMailboxes | FallbackMailboxes


class Store(NamedTuple):
    """What was opened: the mailboxes, and what goes past them."""

    mailboxes: Opened
    stops: Stops


@asynccontextmanager
async def open_mailboxes(
    url: str | None, clock: Clock, *, limit: int, sessions: int, patience: float
) -> AsyncIterator[Store]:
    """Open mailboxes inside of the block.

    Args:
        url: the Redis, as redis-py reads it. None: none.
        clock: measures leases and lifetimes.
        limit: how many updates a mailbox may hold; at least 1.
        sessions: how many states are kept in memory at most.
        patience: for how many seconds a put waits for a Redis that fails.

    Raises:
        Faults: the address is wrong.
    """
    memory = MemoryMailboxes(clock, limit=limit, sessions=sessions)
    try:
        if url is None:
            logger.warning("mailboxes are in memory: a crash loses what is not done")
            yield Store(memory, LocalStops())
        else:
            await _inspect(url)
            scripts = load_scripts()
            transport = ClusterTransport(url, scripts, clock)
            durable = RedisMailboxes(
                transport, scripts, clock, limit=limit, patience=patience
            )
            async with (
                transport,
                FallbackMailboxes(durable, memory, transport, clock) as mailboxes,
                RedisStops(transport.connect, transport) as stops,
            ):
                yield Store(mailboxes, stops)
    finally:
        if memory.queued:
            logger.error(
                "stopped before all was done", extra={"updates": memory.queued}
            )


async def _inspect(url: str) -> None:
    """Warn of what weakens the promise that nothing accepted is lost."""
    connect = first_connector(url)
    try:
        for warning in await inspect(connect):
            logger.warning("redis weakens the promise", extra={"reason": warning})
    except MailboxesUnavailable:
        logger.warning("redis does not answer at the start")
