"""The names of the keys in Redis: what is kept of a lane, and for how long.

    m:{s}:<lane>  sorted set  the mail: score `update_id`, member the envelope, which
                              begins with the id, so that no two members are equal.
                              No expiry: accepted mail. Gone with its last update.
    s:{s}:<lane>  string      the state. Expires.
    p:{s}         sorted set  pending: every lane of the shard that has mail, with the
                              Redis time in ms from which anybody may claim it (the end
                              of the lease or of a pause; else the time of the put or
                              the release).
                              No expiry: goes with the mail.
    c:{s}         hash        claims: lane to token; "!" and lane to "update_id deaths
                              crashes", from the death of an owner to the next commit.
                              Behind it, of a suspected update that is claimed: " -"
                              and the token until its first step begins, " +" and the
                              token during each step.
                              No expiry: goes with the mail.
    d:{s}         stream      dead letters: updates, for a person. Bounded in number
                              and in time; expires a while after the last one.
    r:{s}         stream      rejected letters: what never was an update, malformed or
                              forged. Bounded by itself, so that a flood of them
                              displaces no updates. Expires in the same way.
    k:{s}         string      marker: random, made by the first sweep. Another one, or
                              none, says that Redis was emptied. No expiry.
    w:{s}         string      probe: empty, written to see whether Redis takes it.
                              Expires within a second.

A lane is in p exactly when its mail is not empty (one whose last update was withdrawn
stays until it is claimed next), and in c only if it is in p. Free
lane: not in p. Unclaimed lane: in p and not in c. Of an idle lane one key is left.

The shard s has a hash tag around it, so that all the keys of a lane, and whatever is
asked of several lanes of a shard, are on one node of a Redis Cluster.
"""

from typing import NamedTuple
from zlib import crc32

from redis.crc import key_slot

SHARD_COUNT = 64
"""Never changes: a lane's mail has to be found again."""


class ShardKeys(NamedTuple):
    """The keys that the lanes of a shard share."""

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
        """Give the key of a lane's mailbox."""
        return self.mailbox_prefix + ordering_key

    def state_key(self, ordering_key: bytes) -> bytes:
        """Give the key of a lane's state."""
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
    """Give the shard that a lane belongs to."""
    return ALL_SHARDS[crc32(ordering_key) % SHARD_COUNT]


def get_shard_number(ordering_key: str) -> int:
    """Give the number of the shard that a lane belongs to."""
    return get_shard(ordering_key.encode()).number


def get_slot(shard: int) -> int:
    """Give the slot of a Redis Cluster that a shard is in."""
    return key_slot(ALL_SHARDS[shard].pending)
