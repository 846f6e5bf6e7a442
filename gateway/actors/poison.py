"""Suspected updates take their steps in small groups, and the store notes each step.

A step is what the gateway itself does with an update: reading and routing it, and
making messages of the answer. While an update waits for its service or for the Bot API
it takes no step, so hundreds of suspects may wait at the same time.

Concurrency: called by the actors of suspected updates, in one event loop. Whoever asked
first begins first. Nothing is awaited while the group changes. An actor that ends, for
whatever reason, is removed by `remove`.
"""

import asyncio
from collections import deque

from gateway.domain.ports import Claim, Mailboxes

GROUP = 16
"""So many suspects take a step at the same time in a worker. If it ends then, each of
them has seen a crash, and takes its further steps alone."""


class Probation:
    """Who may take a step now."""

    def __init__(self, mailboxes: Mailboxes) -> None:
        self._mailboxes = mailboxes
        self._queue: deque[tuple[Claim, asyncio.Future[None]]] = deque()
        self._stepping: set[Claim] = set()

    async def begin_step(self, claim: Claim) -> None:
        """Wait until a suspected update may take a step, and note that it begins."""
        if claim in self._stepping:
            return
        turn = asyncio.get_running_loop().create_future()
        self._queue.append((claim, turn))
        self._admit()
        await turn
        await self._mailboxes.note_step(claim, running=True)

    async def end_step(self, claim: Claim) -> None:
        """Note that the step ended, if there is one, and let others take theirs."""
        if claim in self._stepping:
            await self._mailboxes.note_step(claim, running=False)
            self.remove(claim)

    def remove(self, claim: Claim) -> None:
        """Let others take their steps: this update takes none any more."""
        if claim in self._stepping:
            self._stepping.remove(claim)
            self._admit()

    def _admit(self) -> None:
        while self._queue:
            claim, turn = self._queue[0]
            if not turn.cancelled():
                if not self._fits(claim):
                    return
                self._stepping.add(claim)
                turn.set_result(None)
            self._queue.popleft()

    def _fits(self, claim: Claim) -> bool:
        """Tell whether an update may take a step beside those that do so now."""
        if not self._stepping:
            return True
        alone = claim.crashes or any(other.crashes for other in self._stepping)
        return not alone and len(self._stepping) < GROUP
