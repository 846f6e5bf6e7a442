"""What is done when Redis came back without its last moments, or was emptied.

A Redis that writes its file every second has lost up to a second when its host crashes.
So every worker keeps what it accepted in the last seconds, and puts it again, without
claiming anything. Meanwhile nothing is claimed, so that all workers have put theirs
before the first update of any lane is taken: the order of a lane is that of its ids.

The same moment is left after an outage in which workers took updates into their memory:
each brings them to Redis first, see `failover/mailboxes.py`.

What was not lost is there already. What this worker has done is not put again: if Redis
lost that, it lost both the update and the commit.
"""

import logging
from collections import OrderedDict
from collections.abc import Iterable
from itertools import islice

from gateway.domain.ports import Clock
from gateway.domain.update import Envelope
from gateway.mailboxes.redis.commands import (
    CommandFactory,
    RedisClient,
    RedisCommand,
    consume_exception,
)
from gateway.mailboxes.redis.keys import SHARD_COUNT

logger = logging.getLogger(__name__)

REPLAY_WINDOW_SECONDS = 5
"""How long an accepted update is kept: Redis writes its file once a second."""

REPLAY_PAUSE_SECONDS = 2.0
"""For so long nothing is claimed, while all workers put again what they kept.

They see a server again at different times: an attempt to connect takes a second at
most, the pause between two of them a quarter.
"""


UpdateKey = tuple[str, int]
"""Lane and update_id."""

AcceptedUpdates = OrderedDict[UpdateKey, tuple[float, Envelope]]
"""When what was accepted, in this order."""


class ReplayBuffer:
    """Keeps what was accepted lately."""

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
        # By shard, so that one that is away holds up the letting go of no other; in the
        # order of their times. Ordered dictionaries, because a plain one that is taken
        # from at the front walks over all that was deleted there before.
        self._accepted: list[AcceptedUpdates] = [
            OrderedDict() for _ in range(SHARD_COUNT)
        ]
        self._replaying: dict[UpdateKey, RedisCommand] = {}
        self._paused_until = 0.0
        self._generations: dict[int, bytes] = {}
        client.set_health_callbacks(self.replay, self._pause_after_outage)

    @property
    def is_paused(self) -> bool:
        """True: nothing may be claimed."""
        return self._clock.uptime() < self._paused_until

    def add(self, envelope: Envelope, shard: int) -> None:
        """Keep an update that was accepted into a shard.

        Those of the same shard that came just before an outage were kept until now:
        it is over, and what was lost is being put again already.
        """
        accepted = self._accepted[shard]
        now = self._clock.uptime()
        accepted[envelope.ordering_key, envelope.update_id] = now, envelope
        # Two are let go for one that comes, so that they become fewer.
        for oldest in list(islice(accepted, 2)):
            time, _ = accepted[oldest]
            if time < now - REPLAY_WINDOW_SECONDS:
                del accepted[oldest]

    def remove(self, ordering_key: str, update_id: int, shard: int) -> None:
        """Let go of an update that was done."""
        self._accepted[shard].pop((ordering_key, update_id), None)

    def detect_data_loss(self, generations: Iterable[tuple[int, bytes]]) -> None:
        """Look at the shards' markers: a new one says that Redis was emptied."""
        was_emptied = False
        for shard, generation in generations:
            was_emptied |= self._generations.get(shard, generation) != generation
            self._generations[shard] = generation
        if was_emptied:
            logger.error("redis was emptied: what was not done is lost")
            self.replay(self._clock.uptime())

    def _pause_leasing(self) -> None:
        """Claim nothing for a while."""
        self._paused_until = self._clock.uptime() + REPLAY_PAUSE_SECONDS

    def _pause_after_outage(self, outage_seconds: float) -> None:
        """Settle after an outage that was long enough for puts to be given up."""
        if self._put_timeout is not None and outage_seconds >= self._put_timeout:
            self._pause_leasing()

    def replay(self, last_answer_time: float) -> None:
        """Put again what was accepted lately, and claim nothing for a while.

        Args:
            last_answer_time: when the Redis that lost its last moments answered last.
        """
        self._pause_leasing()
        oldest = last_answer_time - REPLAY_WINDOW_SECONDS
        # From before, and on their way still: that server was not the last to fail.
        replaying = {
            key: command
            for key, command in self._replaying.items()
            if not command.reply.done()
        }
        recent = {
            key: self._commands.put(envelope, "", enforce_limit=False)
            for accepted in self._accepted
            for key, envelope in self._restart_window(accepted, oldest)
            if key not in replaying
        }
        self._replaying = replaying | recent
        logger.warning("putting updates again", extra={"updates": len(self._replaying)})
        for command in reversed(recent.values()):
            command.reply.add_done_callback(consume_exception)
            self._client.submit(command, first=True)

    def _restart_window(
        self, accepted: AcceptedUpdates, oldest: float
    ) -> list[tuple[UpdateKey, Envelope]]:
        """Keep what came since then as if it came now: it may be lost once more."""
        now = self._clock.uptime()
        recent = [
            (key, envelope)
            for key, (time, envelope) in accepted.items()
            if time >= oldest
        ]
        for key, envelope in recent:
            accepted[key] = now, envelope
            accepted.move_to_end(key)
        return recent
