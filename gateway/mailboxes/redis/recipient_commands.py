"""Builds the parts of commands that count how deliveries of broadcasts end."""

from gateway.domain.broadcast import RETENTION_SECONDS, BroadcastRecipient
from gateway.domain.delivery import DeliveryResult
from gateway.mailboxes.redis.client.command import Argument, RedisCommand
from gateway.mailboxes.redis.commands import call_script
from gateway.mailboxes.redis.keys import ShardKeys
from gateway.mailboxes.redis.lua.scripts import Script

RECIPIENT_RECORD_MS = 15_000
"""The lifetime of the record of a recipient's delivery after its end. It is only there
to recognize a repeated commit."""

MAX_SHARD_FAILURES = 200
"""The number of failures of a broadcast that are kept in each shard."""


def end_recipient(
    script: Script,
    shard: ShardKeys,
    ordering_key: bytes,
    delivery_id: str,
    *,
    recipient: BroadcastRecipient,
    result: DeliveryResult,
    encoded_result: bytes,
    uncommitted_token: str,
) -> RedisCommand:
    """Build the command that ends the delivery for a recipient, if Redis lost its end.

    Args:
        script: the script `end_recipient.lua`.
        shard: the keys of the recipient's shard.
        ordering_key: the key of the recipient's mailbox.
        delivery_id: the id of the delivery.
        recipient: the recipient.
        result: how the delivery ended.
        encoded_result: the signed end, from `encode_result`.
        uncommitted_token: see `DeliveryCommandFactory.end_delivery`.
    """
    (counts, failures, waiting), counted = make_count(
        shard, ordering_key, recipient, result
    )
    return call_script(
        script,
        shard,
        (
            shard.mailbox_prefix + ordering_key,
            shard.pending,
            shard.leases,
            shard.record_prefix + delivery_id.encode(),
            waiting,
            counts,
            failures,
        ),
        ordering_key,
        delivery_id,
        result.state.value,
        encoded_result,
        RECIPIENT_RECORD_MS,
        *counted,
        uncommitted_token,
    )


def make_count(
    shard: ShardKeys,
    ordering_key: bytes,
    recipient: BroadcastRecipient,
    result: DeliveryResult,
) -> tuple[tuple[bytes, bytes, bytes], tuple[Argument, ...]]:
    """Return what a script needs to count the end of the delivery for a recipient.

    Args:
        shard: the keys of the recipient's shard.
        ordering_key: the key of the recipient's mailbox.
        recipient: the recipient.
        result: how the delivery ended.

    Returns:
        Further KEYS of the script (counts, failures, waiting recipients) and further
        ARGV.
    """
    broadcast_id = recipient.broadcast_id.encode()
    keys = (
        shard.counts_prefix + broadcast_id,
        shard.failures_prefix + broadcast_id,
        shard.waiting_key(broadcast_id, ordering_key),
    )
    return keys, (
        recipient.chat_id,
        result.reason,
        compute_expiry(recipient.expires_at),
        MAX_SHARD_FAILURES,
    )


def compute_expiry(expires_at: float) -> bytes:
    """Return the time at which the keys of a broadcast expire, in ms since the epoch.

    Args:
        expires_at: when the broadcast expires, in seconds since the epoch.
    """
    return b"%.0f" % ((expires_at + RETENTION_SECONDS) * 1000)
