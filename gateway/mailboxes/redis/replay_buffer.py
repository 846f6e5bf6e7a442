"""What is done when Redis came back without its last moments, or was emptied.

A Redis that writes its file every second has lost up to a second when its host crashes.
So every worker keeps what it accepted in the last seconds, and puts it again, without
claiming anything. Meanwhile nothing is claimed, so that all workers have put theirs
before the first update of any lane is taken: the order of a lane is that of its ids.

The same moment is left after an outage in which workers took updates into their memory:
each brings them to Redis first, see `fallback.py`.

What was not lost is there already. What this worker has done is not put again: if Redis
lost that, it lost both the update and the commit.
"""

import logging
from collections import OrderedDict
from collections.abc import Iterable
from itertools import islice

from gateway.domain.ports import Clock
from gateway.domain.update import Envelope
from gateway.mailboxes.redis.commands import Command, Commands, Submits, look_at
from gateway.mailboxes.redis.keys import SHARDS

logger = logging.getLogger(__name__)

KEPT_SECONDS = 5
"""How long an accepted update is kept: Redis writes its file once a second."""

SETTLE_SECONDS = 2.0
"""For so long nothing is claimed, while all workers put again what they kept.

They see a server again at different times: an attempt to connect takes a second at
most, the pause between two of them a quarter.
"""


Key = tuple[str, int]
"""Lane and update_id."""

Kept = OrderedDict[Key, tuple[float, Envelope]]
"""When what was accepted, in this order."""


class Recovery:
    """Keeps what was accepted lately."""

    def __init__(
        self,
        transport: Submits,
        commands: Commands,
        clock: Clock,
        patience: float | None,
    ) -> None:
        self._transport = transport
        self._patience = patience
        self._commands = commands
        self._clock = clock
        # By shard, so that one that is away holds up the letting go of no other; in the
        # order of their times. Ordered dictionaries, because a plain one that is taken
        # from at the front walks over all that was deleted there before.
        self._kept: list[Kept] = [OrderedDict() for _ in range(SHARDS)]
        self._putting: dict[Key, Command] = {}
        self._settled_at = 0.0
        self._markers: dict[int, bytes] = {}
        transport.listen(self.begin, self._note_return)

    @property
    def settling(self) -> bool:
        """True: nothing may be claimed."""
        return self._clock.uptime() < self._settled_at

    def keep(self, envelope: Envelope, shard: int) -> None:
        """Keep an update that was accepted into a shard.

        Those of the same shard that came just before an outage were kept until now:
        it is over, and what was lost is being put again already.
        """
        kept = self._kept[shard]
        now = self._clock.uptime()
        kept[envelope.ordering_key, envelope.update_id] = now, envelope
        # Two are let go for one that comes, so that they become fewer.
        for oldest in list(islice(kept, 2)):
            time, _ = kept[oldest]
            if time < now - KEPT_SECONDS:
                del kept[oldest]

    def forget(self, ordering_key: str, update_id: int, shard: int) -> None:
        """Let go of an update that was done."""
        self._kept[shard].pop((ordering_key, update_id), None)

    def compare(self, markers: Iterable[tuple[int, bytes]]) -> None:
        """Look at the shards' markers: a new one says that Redis was emptied."""
        changed = False
        for shard, marker in markers:
            changed |= self._markers.get(shard, marker) != marker
            self._markers[shard] = marker
        if changed:
            logger.error("redis was emptied: what was not done is lost")
            self.begin(self._clock.uptime())

    def _settle(self) -> None:
        """Claim nothing for a while."""
        self._settled_at = self._clock.uptime() + SETTLE_SECONDS

    def _note_return(self, seconds: float) -> None:
        """Settle after an outage that was long enough for puts to be given up."""
        if self._patience is not None and seconds >= self._patience:
            self._settle()

    def begin(self, answered: float) -> None:
        """Put again what was accepted lately, and claim nothing for a while.

        Args:
            answered: when the Redis that lost its last moments answered last.
        """
        self._settle()
        oldest = answered - KEPT_SECONDS
        # From before, and on their way still: that server was not the last to fail.
        putting = {
            key: command
            for key, command in self._putting.items()
            if not command.reply.done()
        }
        recent = {
            key: self._commands.put(envelope, "", enforce_limit=False)
            for kept in self._kept
            for key, envelope in self._keep_longer(kept, oldest)
            if key not in putting
        }
        self._putting = putting | recent
        logger.warning("putting updates again", extra={"updates": len(self._putting)})
        for command in reversed(recent.values()):
            command.reply.add_done_callback(look_at)
            self._transport.submit(command, first=True)

    def _keep_longer(self, kept: Kept, oldest: float) -> list[tuple[Key, Envelope]]:
        """Keep what came since then as if it came now: it may be lost once more."""
        now = self._clock.uptime()
        again = [(key, it) for key, (time, it) in kept.items() if time >= oldest]
        for key, envelope in again:
            kept[key] = now, envelope
            kept.move_to_end(key)
        return again
