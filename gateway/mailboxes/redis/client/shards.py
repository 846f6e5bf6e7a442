"""Shards: the units in which keys are distributed among the nodes of a Cluster.

Every key contains the number of its shard as a hash tag, such as `{7}`. All keys of a
shard are therefore in one slot of a Cluster, and one script may use several of them.
"""

from redis.crc import key_slot

SHARD_COUNT = 64
"""Must never change: otherwise existing keys would not be found again."""

SHARD_SLOTS = tuple(key_slot(b"{%d}" % number) for number in range(SHARD_COUNT))
"""The Cluster slot of each shard."""

TIME_SHARD = 0
"""The shard whose server provides the time."""
