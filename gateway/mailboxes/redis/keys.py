"""The keys in Redis: the data of each mailbox and shard, and when it expires.

Every key is `<prefix>:{<shard>}:<kind>`. The prefix is a setting, so that several
environments can share one Redis. The braces around the number of the shard are a hash
tag. It keeps all keys of a mailbox, and of other mailboxes of its shard, on the same
node of a Redis Cluster. "key" is the ordering key of a mailbox. The kinds that exist
once per user are letters, because Redis keeps a key of every idle user.

    m:key             sorted set  mailbox: the score is the `update_id`, the member is
                                  the envelope, which starts with the id, so that no two
                                  members are equal. The score of a delivery is a little
                                  higher than that of the mail before it. No expiry, as
                                  this is accepted mail; removed with the last of it.
    s:key             string      state of the user. Expires.
    pending           sorted set  the ordering key of each mailbox with updates, with
                                  the Redis time in ms from which any worker may acquire
                                  its lease (the end of the current lease or of a pause;
                                  otherwise the time of the put or release). No expiry;
                                  an entry is removed with the last update of its
                                  mailbox.
    leases            hash        the ordering key with the token of its lease; "!" and
                                  the ordering key with "update_id losses crashes", the
                                  counts of lost owners, from the first loss until the
                                  next commit. For a suspected update with a lease the
                                  value goes on with " -" and the token until its first
                                  step begins, and with " +" and the token during each
                                  step. No expiry; entries are removed with the last
                                  update of their mailbox.
    dead_letters      stream      updates for an operator to look at. Limited in number
                                  and age; expires some time after the last entry.
    rejected_letters  stream      bodies that never were updates, malformed or forged.
                                  They have a limit of their own, so that a flood of
                                  them displaces no updates. Expires like
                                  "dead_letters".
    generation        string      random, created by the first scan. If it changes or
                                  disappears, Redis was emptied. No expiry.
    write_probe       string      empty, written to test whether Redis accepts writes.
                                  Expires within a second.
    polling_lease:bot string      the token of the worker that fetches the updates of
                                  the bot with this id, or, for 0, that reports
                                  deliveries. Expires unless it is renewed.
    cooldown:bot/chat string      the time in ms until which a bot must not call the
                                  chat after a 429. Expires then.
    d:id              string      record of the delivery with this id, in the shard of
                                  its ordering key; see `lua/delivery_record.lua`.
                                  Expires some time after the end of the delivery.
    i:id              string      fingerprint and ordering key of the delivery with this
                                  id, in the shard of the id. Expires after the record.
    c:digest          string      the id of the last delivery with this ordering key,
                                  caller and collapse key. Expires with the delivery.
    scheduled         sorted set  id and ordering key of each delivery that waits for
                                  its time, with that time in ms. The times of bulk
                                  deliveries are `BULK_OFFSET_MS` later, so that only
                                  the pacer finds them. No expiry; the mail is in the
                                  record.
    reports           sorted set  id and ordering key of each delivery whose end is to
                                  be reported, with the time of its end in ms. Expires
                                  with the records.
    contracts         hash        in shard 0, the latest signed generations of the
                                  contracts by number, and in "current" the number of
                                  the one that all gateways serve. No expiry.
    broadcasts        sorted set  the ids of all broadcasts, with the times in ms at
                                  which their keys expire; in the first shard, like the
                                  next two. An entry is removed after that time.
    open_broadcasts   hash        the ids and states of the broadcasts that have
                                  something left to do. No expiry.
    b:id              hash        a broadcast: its signed definition, its state and when
                                  that changed. This key and the next three expire
                                  some time after the broadcast.
    w:id:part         set         the chat ids of recipients of a broadcast who wait. It
                                  is in the shard of the recipients. A shard has many
                                  such sets, because Redis stores small ones compactly.
    n:id              hash        the numbers of recipients of a broadcast in this shard
                                  by what became of them; see
                                  `lua/recipient_counts.lua`.
    f:id              list        recipients of a broadcast in this shard whose delivery
                                  was blocked, failed or is doubtful, with the reasons.
    recipients:bot:n  hash        internal user ids of a bot, with the signed Telegram
                                  ids of the users. There are many such hashes, because
                                  Redis stores small ones compactly. No expiry.

An ordering key is in "pending" if and only if its mailbox has updates, with one
exception: if the last update is removed by `remove_update`, the entry stays until the
next `acquire`. An ordering key is in "leases" only if it is in "pending". A mailbox in
"pending" but not in "leases" has updates and no lease. A mailbox without updates leaves
one key, the state.
"""

from typing import NamedTuple
from zlib import crc32

from gateway.mailboxes.redis.client.shards import SHARD_COUNT

RECIPIENT_PARTS = 256
"""The number of hashes with the recipients of a bot in each shard. With a million users
each has about 60 entries; Redis stores up to 128 compactly."""

WAITING_PARTS = 64
"""The number of sets with the waiting recipients of a broadcast in each shard. With
`MAX_RECIPIENTS` each has about 370 members; Redis stores up to 512 compactly."""


class ShardKeys(NamedTuple):
    """The keys of one shard, and for keys that contain an id, their prefixes.

    The docstring of the module says what each key contains.
    """

    number: int
    pending: bytes
    leases: bytes
    dead_letters: bytes
    rejected_letters: bytes
    generation: bytes
    write_probe: bytes
    mailbox_prefix: bytes
    state_prefix: bytes
    polling_lease_prefix: bytes
    cooldown_prefix: bytes
    record_prefix: bytes
    idempotency_prefix: bytes
    collapse_prefix: bytes
    scheduled: bytes
    reports: bytes
    recipients_prefix: bytes
    broadcasts: bytes
    open_broadcasts: bytes
    broadcast_prefix: bytes
    waiting_prefix: bytes
    counts_prefix: bytes
    failures_prefix: bytes

    def mailbox_key(self, ordering_key: bytes) -> bytes:
        """Return the key of the sorted set with the mail of a mailbox."""
        return self.mailbox_prefix + ordering_key

    def state_key(self, ordering_key: bytes) -> bytes:
        """Return the key of the string with a user's state."""
        return self.state_prefix + ordering_key

    def waiting_key(self, broadcast_id: bytes, ordering_key: bytes) -> bytes:
        """Return the key of the set in which a recipient of a broadcast waits.

        Args:
            broadcast_id: the id of the broadcast.
            ordering_key: the key of the recipient's mailbox, which must be in this
                shard.
        """
        part = crc32(ordering_key) // SHARD_COUNT % WAITING_PARTS
        return b"%b%b:%d" % (self.waiting_prefix, broadcast_id, part)

    def list_waiting_keys(self, broadcast_id: bytes) -> tuple[bytes, ...]:
        """Return the keys of the sets in which a broadcast's recipients wait."""
        return tuple(
            b"%b%b:%d" % (self.waiting_prefix, broadcast_id, part)
            for part in range(WAITING_PARTS)
        )


class RedisKeys:
    """Names the keys in Redis of all gateways with the same prefix.

    Args:
        prefix: the first part of every key and channel. It must not contain a colon or
            a brace.

    Attributes:
        shards: the keys of each shard.
        contracts: the number of the shard, and the key of the hash, with the
            generations of the contracts.
        cancellation_channel: the Pub/Sub channel for cancellations of streamed replies.
            In a Cluster every node forwards it.
    """

    def __init__(self, prefix: str) -> None:
        self.shards = tuple(
            _make_shard_keys(prefix, number) for number in range(SHARD_COUNT)
        )
        self.contracts = 0, f"{prefix}:{{0}}:contracts".encode()
        self.cancellation_channel = f"{prefix}:cancellations".encode()

    def get_shard(self, ordering_key: bytes) -> ShardKeys:
        """Return the keys of the shard to which an ordering key, or an id, belongs."""
        return self.shards[compute_shard_number(ordering_key)]

    def get_recipients(self, bot_id: int, internal_user_id: str) -> tuple[int, bytes]:
        """Return the number of the shard and the key of the hash that contains a user.

        Args:
            bot_id: the bot's user id.
            internal_user_id: the internal id of the user.
        """
        checksum = crc32(f"{bot_id}:{internal_user_id}".encode())
        shard = self.shards[checksum % SHARD_COUNT]
        part = checksum // SHARD_COUNT % RECIPIENT_PARTS
        return shard.number, b"%b%d:%d" % (shard.recipients_prefix, bot_id, part)

    def get_polling_lease(self, bot_id: int) -> tuple[int, bytes]:
        """Return the number of the shard and the key of a bot's polling lease."""
        bot = b"%d" % bot_id
        shard = self.get_shard(bot)
        return shard.number, shard.polling_lease_prefix + bot

    def get_cooldown(self, bot_id: int, chat_id: int) -> tuple[int, bytes]:
        """Return the number of the shard and the key of the cool-down of a chat."""
        chat = b"%d/%d" % (bot_id, chat_id)
        shard = self.get_shard(chat)
        return shard.number, shard.cooldown_prefix + chat


def get_shard_number(ordering_key: str) -> int:
    """Return the number of the shard to which an ordering key belongs."""
    return compute_shard_number(ordering_key.encode())


def compute_shard_number(ordering_key: bytes) -> int:
    """Return the number of the shard to which an encoded ordering key belongs."""
    return crc32(ordering_key) % SHARD_COUNT


def _make_shard_keys(prefix: str, number: int) -> ShardKeys:
    def make_key(kind: str) -> bytes:
        return f"{prefix}:{{{number}}}:{kind}".encode()

    return ShardKeys(
        number,
        pending=make_key("pending"),
        leases=make_key("leases"),
        dead_letters=make_key("dead_letters"),
        rejected_letters=make_key("rejected_letters"),
        generation=make_key("generation"),
        write_probe=make_key("write_probe"),
        mailbox_prefix=make_key("m:"),
        state_prefix=make_key("s:"),
        polling_lease_prefix=make_key("polling_lease:"),
        cooldown_prefix=make_key("cooldown:"),
        record_prefix=make_key("d:"),
        idempotency_prefix=make_key("i:"),
        collapse_prefix=make_key("c:"),
        scheduled=make_key("scheduled"),
        reports=make_key("reports"),
        recipients_prefix=make_key("recipients:"),
        broadcasts=make_key("broadcasts"),
        open_broadcasts=make_key("open_broadcasts"),
        broadcast_prefix=make_key("b:"),
        waiting_prefix=make_key("w:"),
        counts_prefix=make_key("n:"),
        failures_prefix=make_key("f:"),
    )
