"""Replays accepted updates to a Redis that lost its last writes or was emptied.

A Redis that syncs its file once a second loses up to a second of writes if its host
crashes. Every worker therefore keeps the updates that it accepted in the last seconds,
and puts them again after such a loss. During this replay pause no worker acquires a
lease: all workers have to put their updates before any update is processed, because the
updates of a mailbox are processed in the order of their ids.

There is the same pause after an outage long enough that workers may have stored updates
in memory, so that each worker can move them to Redis first; see `failover.py`.

Repeating the put of an update that was not lost has no effect. Updates that this worker
has finished are not replayed: the commit is later than the put, so a Redis that lost
the update has also lost the commit.

Other changes are added as functions that make commands: see `delivery_replays.py`.
"""

import logging
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from itertools import chain, islice

from gateway.domain.ports import Clock
from gateway.domain.update import Envelope
from gateway.mailboxes.redis.client.command import (
    RedisClient,
    RedisCommand,
    consume_exception,
)
from gateway.mailboxes.redis.client.shards import SHARD_COUNT
from gateway.mailboxes.redis.commands import CommandFactory

logger = logging.getLogger(__name__)

REPLAY_WINDOW_SECONDS = 5
"""How long an accepted update is kept. Redis syncs its file once a second."""

REPLAY_PAUSE_SECONDS = 2.0
"""How long no lease is acquired while all workers replay.

Workers notice the return of a server at different times: an attempt to connect takes at
most a second, the delay between two attempts at most a quarter of a second.
"""


ReplayKey = tuple[str, int | str]
"""The ordering key, and the id of an update or another name."""

MakeCommands = Callable[[], Sequence[RedisCommand]]
"""Makes the commands that repeat a change, in their order."""

RecentChanges = OrderedDict[ReplayKey, tuple[float, Envelope | MakeCommands]]
"""Accepted updates and other changes with their times, oldest first."""


class ReplayBuffer:
    """Keeps recently accepted updates and other changes, to send them to Redis again.

    It does so when Redis may have lost its last writes, and then starts a replay pause.

    Args:
        client: the connections to Redis. The buffer sets their health callbacks.
        commands: builds the puts.
        clock: measures the replay window and the replay pause.
        put_timeout: seconds after which an update whose put has not succeeded goes to
            memory; None if puts have no timeout.

    Attributes:
        replay_count: the number of replays so far.
    """

    def __init__(
        self,
        client: RedisClient,
        commands: CommandFactory,
        clock: Clock,
        put_timeout: float | None,
    ) -> None:
        self._client = client
        self._put_timeout = put_timeout
        self._commands = commands
        self._clock = clock
        # By shard: only a further put to the same shard removes old entries, so those
        # of a failing shard are kept. Ordered by time. A plain dict would be slow here:
        # finding its first entry steps over all deleted ones before it.
        self._accepted: list[RecentChanges] = [
            OrderedDict() for _ in range(SHARD_COUNT)
        ]
        self._replaying: dict[ReplayKey, Sequence[RedisCommand]] = {}
        self.replay_count = 0
        self._paused_until = 0.0
        self._generations: dict[int, bytes] = {}
        client.set_health_callbacks(self.replay, self._pause_after_outage)

    @property
    def is_paused(self) -> bool:
        """Whether a replay pause is running, in which no lease may be acquired."""
        return self._clock.uptime() < self._paused_until

    def add(self, key: ReplayKey, change: Envelope | MakeCommands, shard: int) -> None:
        """Keep an accepted update or another change for `REPLAY_WINDOW_SECONDS`.

        Up to two changes that were kept for longer are dropped. That is safe here: if
        the shard accepts a change, any outage of it is over and its replay has been
        submitted.

        Args:
            key: an earlier change with this key is replaced.
            change: the update, or a function that makes the commands which repeat the
                change. They must have no effect if the change was not lost.
            shard: the number of the shard of the mailbox.
        """
        accepted = self._accepted[shard]
        now = self._clock.uptime()
        accepted[key] = now, change
        accepted.move_to_end(key)  # it may replace an earlier change
        # At most two per added update, so that the number shrinks in small steps.
        for oldest in list(islice(accepted, 2)):
            time, _ = accepted[oldest]
            if time < now - REPLAY_WINDOW_SECONDS:
                del accepted[oldest]

    def remove(self, key: ReplayKey, shard: int) -> None:
        """Forget a change, because its update is finished or another replaces it.

        Has no effect if there is no change with this key.
        """
        self._accepted[shard].pop(key, None)

    def detect_data_loss(self, generations: Iterable[tuple[int, bytes]]) -> None:
        """Replay the recent changes if the generation of a shard has changed.

        Redis keeps a random generation in each shard. If it changes, Redis was emptied.

        Args:
            generations: the number and the present generation of each shard that was
                read.
        """
        was_emptied = False
        for shard, generation in generations:
            was_emptied |= self._generations.get(shard, generation) != generation
            self._generations[shard] = generation
        if was_emptied:
            logger.error("redis_emptied")
            self.replay(self._clock.uptime())

    def _pause_leasing(self) -> None:
        """Start a replay pause."""
        self._paused_until = self._clock.uptime() + REPLAY_PAUSE_SECONDS

    def _pause_after_outage(self, outage_seconds: float) -> None:
        """Start a replay pause if the outage lasted longer than the put timeout."""
        if self._put_timeout is not None and outage_seconds >= self._put_timeout:
            self._pause_leasing()

    def replay(self, last_answer_time: float) -> None:
        """Send the recent changes to Redis again, and start a replay pause.

        Does not wait for the replies.

        Args:
            last_answer_time: when Redis last answered before the loss, by
                `Clock.uptime`. Changes of the `REPLAY_WINDOW_SECONDS` before that are
                repeated.
        """
        self.replay_count += 1
        self._pause_leasing()
        oldest = last_answer_time - REPLAY_WINDOW_SECONDS
        # Puts of an earlier replay that are still unanswered, because another server
        # has failed since then.
        replaying = {
            key: commands
            for key, commands in self._replaying.items()
            if not all(command.reply.done() for command in commands)
        }
        recent = {
            key: self._make_commands(change)
            for accepted in self._accepted
            for key, change in self._restart_window(accepted, oldest)
            if key not in replaying
        }
        self._replaying = replaying | recent
        logger.warning("replaying_updates", extra={"updates": len(self._replaying)})
        for command in reversed([*chain.from_iterable(recent.values())]):
            command.reply.add_done_callback(consume_exception)
            self._client.submit(command, first=True)

    def _make_commands(self, change: Envelope | MakeCommands) -> Sequence[RedisCommand]:
        """Return the commands that repeat a change."""
        if isinstance(change, Envelope):
            return (self._commands.put(change, "", enforce_limit=False),)
        return change()

    def _restart_window(
        self, accepted: RecentChanges, oldest: float
    ) -> list[tuple[ReplayKey, Envelope | MakeCommands]]:
        """Return the changes made since a time, and keep them for a new window.

        They are treated as accepted now, because they may be lost once more.
        """
        now = self._clock.uptime()
        recent = [
            (key, change) for key, (time, change) in accepted.items() if time >= oldest
        ]
        for key, change in recent:
            accepted[key] = now, change
            accepted.move_to_end(key)
        return recent
