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

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Iterable
from itertools import islice

from gateway.domain.ports import Clock
from gateway.domain.update import Envelope
from gateway.mailboxes.commands import Commands, Submits, look_at

logger = logging.getLogger(__name__)

KEPT_SECONDS = 5
"""How long an accepted update is kept: Redis writes its file once a second."""

SETTLE_SECONDS = 1.0
"""For so long nothing is claimed, while all workers put again what they kept."""


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
        # In the order of their times. An ordered dictionary, because a plain one that
        # is taken from at the front walks over all that was deleted there before.
        self._kept: OrderedDict[tuple[str, int], tuple[float, Envelope]] = OrderedDict()
        self._settled_at = 0.0
        self._markers: dict[int, bytes] = {}
        transport.on_restart = self.begin
        transport.on_return = self._note_return

    @property
    def settling(self) -> bool:
        """True: nothing may be claimed."""
        return self._clock.uptime() < self._settled_at

    def keep(self, envelope: Envelope) -> None:
        """Keep an update that was accepted."""
        now = self._clock.uptime()
        self._kept[envelope.lane, envelope.update_id] = now, envelope
        for key in list(
            islice(self._kept, 2)
        ):  # two for one, so that they become fewer
            if self._kept[key][0] < now - KEPT_SECONDS:
                del self._kept[key]

    def forget(self, lane: str, update_id: int) -> None:
        """Let go of an update that was done."""
        self._kept.pop((lane, update_id), None)

    def compare(self, markers: Iterable[tuple[int, bytes]]) -> None:
        """Look at the shards' markers: a new one says that Redis was emptied."""
        changed = False
        for shard, marker in markers:
            changed |= self._markers.get(shard, marker) != marker
            self._markers[shard] = marker
        if changed:
            logger.error("redis was emptied: what was not done is lost")
            self.begin()

    def _settle(self) -> None:
        """Claim nothing for a while."""
        self._settled_at = self._clock.uptime() + SETTLE_SECONDS

    def _note_return(self, seconds: float) -> None:
        """Settle after an outage that was long enough for puts to be given up."""
        if self._patience is not None and seconds >= self._patience:
            self._settle()

    def begin(self) -> None:
        """Put again what was accepted lately, and claim nothing for a while."""
        now = self._clock.uptime()
        self._settle()
        oldest = now - KEPT_SECONDS
        recent = [kept for time, kept in self._kept.values() if time >= oldest]
        logger.warning("putting updates again", extra={"updates": len(recent)})
        loop = asyncio.get_running_loop()
        for envelope in reversed(recent):
            command = self._commands.put(envelope, "", bounded=False)
            command.reply.add_done_callback(look_at)
            loop.call_later(KEPT_SECONDS, command.reply.cancel)
            self._transport.submit(command, first=True)
