"""The keys in Redis: the data of each mailbox and shard, and when it expires.

"s" is the number of a shard, "key" the ordering key of a mailbox.

    m:{s}:key  sorted set  mailbox: the score is the `update_id`, the member is the
                           envelope, which starts with the id, so that no two members
                           are equal. No expiry, as these are accepted updates; removed
                           with the last update.
    s:{s}:key  string      state of the user. Expires.
    p:{s}      sorted set  pending: the ordering key of each mailbox with updates, with
                           the Redis time in ms from which any worker may acquire its
                           lease (the end of the current lease or of a pause; otherwise
                           the time of the put or release). No expiry; an entry is
                           removed with the last update of its mailbox.
    c:{s}      hash        leases: the ordering key with the token of its lease; "!" and
                           the ordering key with "update_id losses crashes", the counts
                           of lost owners, from the first loss until the next commit.
                           For a suspected update with a lease the value goes on with
                           " -" and the token until its first step begins, and with
                           " +" and the token during each step. No expiry; entries are
                           removed with the last update of their mailbox.
    d:{s}      stream      dead letters: updates for an operator to look at. Limited in
                           number and age; expires some time after the last entry.
    r:{s}      stream      rejected letters: bodies that never were updates, malformed
                           or forged. They have a limit of their own, so that a flood
                           of them displaces no updates. Expires like "d".
    k:{s}      string      generation: random, created by the first scan. If it changes
                           or disappears, Redis was emptied. No expiry.
    w:{s}      string      write probe: empty, written to test whether Redis accepts
                           writes. Expires within a second.

An ordering key is in "p" if and only if its mailbox has updates, with one exception: if
the last update is removed by `remove_update`, the entry stays until the next `acquire`.
An ordering key is in "c" only if it is in "p". A mailbox in "p" but not in "c" has
updates and no lease. A mailbox without updates leaves one key, the state.

The braces around the shard are a hash tag. It keeps all keys of a mailbox, and of other
mailboxes of its shard, on the same node of a Redis Cluster.
"""

from typing import NamedTuple
from zlib import crc32

from gateway.mailboxes.redis.client.shards import SHARD_COUNT


class ShardKeys(NamedTuple):
    """The keys and key prefixes of one shard."""

    number: int
    pending: bytes
    leases: bytes
    dead_letters: bytes
    rejected_letters: bytes
    generation: bytes
    write_probe: bytes
    mailbox_prefix: bytes
    state_prefix: bytes

    def mailbox_key(self, ordering_key: bytes) -> bytes:
        """Return the key of a mailbox."""
        return self.mailbox_prefix + ordering_key

    def state_key(self, ordering_key: bytes) -> bytes:
        """Return the key of a user's state."""
        return self.state_prefix + ordering_key


def _make_shard_keys(number: int) -> ShardKeys:
    (
        pending,
        leases,
        dead_letters,
        rejected_letters,
        generation,
        write_probe,
        mailbox,
        state,
    ) = (
        b"%b:{%d}" % (kind, number)
        for kind in (b"p", b"c", b"d", b"r", b"k", b"w", b"m", b"s")
    )
    prefixes = mailbox + b":", state + b":"
    return ShardKeys(
        number,
        pending,
        leases,
        dead_letters,
        rejected_letters,
        generation,
        write_probe,
        *prefixes,
    )


ALL_SHARDS = tuple(_make_shard_keys(number) for number in range(SHARD_COUNT))


def get_shard(ordering_key: bytes) -> ShardKeys:
    """Return the shard of an ordering key."""
    return ALL_SHARDS[crc32(ordering_key) % SHARD_COUNT]


def get_shard_number(ordering_key: str) -> int:
    """Return the number of the shard of an ordering key."""
    return get_shard(ordering_key.encode()).number
