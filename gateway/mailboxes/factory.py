"""Opens the mailbox store: in Redis, in a file of this machine, or in memory."""

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

from msgspec import structs

from gateway.background import BackgroundTasks
from gateway.domain.broadcast_store import BroadcastStore
from gateway.domain.contract_history import ContractHistory
from gateway.domain.delivery_store import DeliveryStore, RecipientIndex
from gateway.domain.errors import StoreUnavailable
from gateway.domain.ports import CancellationBus, Clock, SharedCooldowns
from gateway.mailboxes.contract_history import RedisContractHistory
from gateway.mailboxes.failover import FailoverMailboxStore
from gateway.mailboxes.memory.broadcasts import MemoryBroadcastStore
from gateway.mailboxes.memory.dead_letters import DEFAULT_MEMORY_LIMITS
from gateway.mailboxes.memory.deliveries import MemoryDeliveryStore
from gateway.mailboxes.memory.mailboxes import MemoryMailboxStore
from gateway.mailboxes.memory.recipients import MemoryRecipientIndex
from gateway.mailboxes.no_broadcasts import NoBroadcasts
from gateway.mailboxes.polling_lease import LocalPollingLease, RedisPollingLease
from gateway.mailboxes.redis.client.cluster import ClusterClient
from gateway.mailboxes.redis.client.connection_factory import (
    is_unprotected,
    make_checked_connection_factory,
)
from gateway.mailboxes.redis.client.server_checks import inspect_server
from gateway.mailboxes.redis.keys import RedisKeys
from gateway.mailboxes.redis.lua.scripts import load_scripts
from gateway.mailboxes.redis.mailboxes import RedisMailboxStore
from gateway.mailboxes.redis.store_clock import StoreClock
from gateway.mailboxes.serialization import DEFAULT_SHARD_LIMITS
from gateway.mailboxes.shared_cooldowns import LocalCooldowns, RedisCooldowns
from gateway.mailboxes.signatures import StoreSignatures
from gateway.mailboxes.sqlite.coordination import (
    SqliteCooldowns,
    SqlitePollingLease,
)
from gateway.mailboxes.sqlite.database import Synchronous
from gateway.mailboxes.sqlite.mailboxes import SqliteMailboxStore
from gateway.mailboxes.sqlite.store import SqliteFile, open_sqlite_store
from gateway.mailboxes.stream_cancellation import (
    LocalCancellationBus,
    RedisCancellationBus,
)

logger = logging.getLogger(__name__)

WorkerPollingLease = LocalPollingLease | RedisPollingLease | SqlitePollingLease

WorkerMailboxes = MemoryMailboxStore | SqliteMailboxStore | FailoverMailboxStore


class OpenedMailboxes(NamedTuple):
    """The opened mailbox store, and what else is kept in the same place.

    Attributes:
        mailboxes: the mailbox store.
        cancellation_bus: tells all workers that a user stopped a streamed reply.
        make_polling_lease: returns this worker's lease for fetching the updates of a
            bot, given the bot's user id.
        make_cooldowns: returns the shared cool-downs of a bot's chats, given the bot's
            user id.
        clock: the clock by which times are stored: with Redis that of its server, which
            all gateways share, otherwise that of this machine.
        deliveries: the store of deliveries.
        recipients: the index of users to whom deliveries may go.
        contract_history: the contracts that all gateways with this Redis serve; None
            without Redis.
        broadcasts: the store of broadcasts; with a file, one that refuses to create
            any.
    """

    mailboxes: WorkerMailboxes
    cancellation_bus: CancellationBus
    make_polling_lease: Callable[[int], WorkerPollingLease]
    make_cooldowns: Callable[[int], SharedCooldowns]
    clock: Clock
    deliveries: DeliveryStore
    recipients: RecipientIndex
    contract_history: ContractHistory | None
    broadcasts: BroadcastStore


@asynccontextmanager
async def open_mailboxes(  # noqa: PLR0913 - most by name
    url: str | None,
    clock: Clock,
    signatures: StoreSignatures,
    *,
    key_prefix: str,
    limit: int,
    max_sessions: int,
    put_timeout: float,
    dead_letter_seconds: float,
    background: BackgroundTasks,
    data_dir: Path | None = None,
    synchronous: Synchronous = "normal",
) -> AsyncIterator[OpenedMailboxes]:
    """Open the mailbox store until the end of the block.

    With a URL the mailboxes are in Redis, and in memory while Redis fails; otherwise
    with `data_dir` in a file; otherwise in memory. Redis need not answer at the start:
    that is only logged, as are settings of Redis that put updates at risk.

    Args:
        url: the Redis URL; None to keep the mailboxes on this machine.
        clock: the clock of this machine.
        signatures: signs entries for Redis and verifies entries from it.
        key_prefix: the first part of every key and channel in Redis.
        limit: the maximum number of updates in a mailbox; at least 1.
        max_sessions: the maximum number of user states in memory.
        put_timeout: how many seconds a put waits for a failing store.
        dead_letter_seconds: how many seconds dead letters are kept.
        background: runs the background tasks; all of them end with the block.
        data_dir: the directory of the file with the mailboxes, unless there is a URL;
            None to keep them in memory.
        synchronous: when a commit to the file reaches the disk.

    Raises:
        ConfigurationError: the URL is invalid, or the file cannot be used.
    """
    if url is None and data_dir is not None:
        async with open_sqlite_store(
            SqliteFile(data_dir, synchronous),
            clock,
            limit=limit,
            busy_seconds=put_timeout,
            dead_letters=structs.replace(
                DEFAULT_SHARD_LIMITS, retention_seconds=dead_letter_seconds
            ),
        ) as opened:
            yield OpenedMailboxes(
                opened.mailboxes,
                opened.mailboxes.cancellation_bus,
                partial(SqlitePollingLease, opened.runner),
                partial(SqliteCooldowns, opened.runner),
                clock,
                opened.deliveries,
                opened.recipients,
                None,
                NoBroadcasts(),
            )
        return
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
            logger.warning(
                "mailboxes_in_memory_only",
                extra={
                    "reason": "without DATA_DIR or REDIS_URL a crash loses sessions,"
                    " and unfinished updates that a webhook received"
                },
            )
            deliveries = MemoryDeliveryStore(memory_store, clock, limit=limit)
            yield OpenedMailboxes(
                memory_store,
                LocalCancellationBus(),
                lambda _: LocalPollingLease(),
                lambda _: LocalCooldowns(),
                clock,
                deliveries,
                MemoryRecipientIndex(max_sessions),
                None,
                MemoryBroadcastStore(deliveries, clock),
            )
        else:
            await _log_durability_warnings(url)
            scripts, keys = load_scripts(), RedisKeys(key_prefix)
            client = ClusterClient(
                url,
                scripts.sources,
                clock,
                on_server_time=store_clock.record_server_time,
                background=background,
            )
            redis_store = RedisMailboxStore(
                client,
                keys,
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
                    keys.cancellation_channel,
                    client.make_connection,
                    client,
                    signatures,
                    background,
                ) as cancellation_bus,
            ):
                # Otherwise the first updates would be timed by this machine's clock,
                # and later ones by the clock of Redis.
                await client.wait_first_attempt()
                yield OpenedMailboxes(
                    mailboxes,
                    cancellation_bus,
                    partial(RedisPollingLease, client, keys, scripts.hold_lease),
                    partial(
                        RedisCooldowns,
                        client,
                        keys,
                        scripts.record_cooldown,
                        store_clock,
                    ),
                    store_clock,
                    redis_store.deliveries,
                    redis_store.recipients,
                    RedisContractHistory(
                        client, keys, scripts.add_generation, signatures
                    ),
                    redis_store.broadcasts,
                )
    finally:
        if memory_store.in_memory:
            logger.error(
                "stopped_with_unfinished_updates",
                extra={"updates": memory_store.in_memory},
            )


async def _log_durability_warnings(url: str) -> None:
    """Log the properties of this Redis that put accepted updates at risk."""
    make_connection = make_checked_connection_factory(url)
    if is_unprotected(url):
        logger.warning(
            "redis_unprotected",
            extra={
                "reason": "Redis has no password: anyone who can connect to it can read"
                " and delete the messages of users; set a password in REDIS_URL"
            },
        )
    try:
        for warning in (await inspect_server(make_connection)).warnings:
            logger.warning("redis_weakens_durability", extra={"reason": warning})
    except StoreUnavailable as error:
        logger.warning("redis_unavailable_at_start", extra={"reason": str(error)})
