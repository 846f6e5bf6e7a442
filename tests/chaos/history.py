"""What happened in a run, as noted by the harness alone.

All times are seconds by `time.monotonic` of the one process that sends, serves and
breaks things, so that they can be compared without doubt.
"""

import math
from collections import Counter
from enum import StrEnum

from msgspec import Struct, field


class Kind(StrEnum):
    """What can be seen of the work on an update."""

    CALL = "call"
    """A service was called."""
    SEND = "send"
    """A message reached the user."""


class Posted(Struct):
    """An update that was sent to the webhook.

    Attributes:
        update_id: as Telegram assigned it.
        ordering_key: the user.
        sent: when it was sent for the first time.
        accepted: when the answer 200 was read. None: never.
        worker: which worker gave that answer.
        attempts: how often it was sent.
    """

    update_id: int
    ordering_key: str
    sent: float
    accepted: float | None = None
    worker: int = -1
    attempts: int = 0


class Effect(Struct):
    """A trace of an update outside of the gateway.

    Attributes:
        kind: which.
        update_id: the update.
        ordering_key: its user.
        worker: who caused it.
        time: when it arrived.
        end: when it was answered or given up.
        request_id: the idempotency key that a call carried. Empty for messages.
    """

    kind: Kind
    update_id: int
    ordering_key: str
    worker: int
    time: float
    end: float = math.inf
    request_id: str = ""


class Span(Struct):
    """A fault, from its first moment to its last.

    Attributes:
        kind: its name.
        start: its first moment.
        end: its last.
        workers: whom it hit. None: all of them.
    """

    kind: str
    start: float
    end: float = math.inf
    workers: frozenset[int] | None = None

    def hits(self, worker: int) -> bool:
        """Return whether it hit a worker."""
        return self.workers is None or worker in self.workers


class Waiting(Struct):
    """A mailbox that nobody owned when the store was looked at.

    Attributes:
        ordering_key: of the mailbox.
        time: when it was looked at.
        seconds: for how long anybody might have acquired it.
    """

    ordering_key: str
    time: float
    seconds: float


class Answer(Struct):
    """An answer of the webhook.

    Attributes:
        time: when it came.
        seconds: how long it took.
        status: what it said.
    """

    time: float
    seconds: float
    status: int


class Left(Struct):
    """What the store held when all was done.

    Attributes:
        states: the ids that each mailbox's state remembers.
        pending: entries of pending mailboxes and of leases.
        mailboxes: mailboxes that still exist.
        dead: ids in the dead letters, with the reasons.
    """

    states: dict[str, list[int]] = field(default_factory=dict)
    pending: int = 0
    mailboxes: int = 0
    dead: list[tuple[int, str]] = field(default_factory=list)


class History(Struct):
    """All of it.

    Attributes:
        posted: updates by id, in the order in which they were made.
        effects: in the order of their times.
        outcomes: what workers logged about updates: id and outcome.
        spans: the faults.
        waiting: mailboxes that waited at moments of looking.
        answers: of the webhook.
        broken: attempts to post that got no answer.
        left: the end.
        memory: when workers took updates into their memory, as they logged it.
        lost_leases: which workers logged that they lost the lease of which user.
        logged: how often workers logged something worse than information.
        exits: exit codes of workers that were asked to end.
    """

    posted: dict[int, Posted] = field(default_factory=dict)
    effects: list[Effect] = field(default_factory=list)
    outcomes: list[tuple[int, str]] = field(default_factory=list)
    spans: list[Span] = field(default_factory=list)
    waiting: list[Waiting] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    broken: int = 0
    left: Left = field(default_factory=Left)
    memory: list[Span] = field(default_factory=list)
    lost_leases: set[tuple[int, str]] = field(default_factory=set)
    logged: Counter[str] = field(default_factory=Counter)
    exits: list[int] = field(default_factory=list)

    def effects_of(self, kind: Kind) -> dict[int, list[Effect]]:
        """Return the effects of a kind by update, each in the order of their times."""
        by_update: dict[int, list[Effect]] = {}
        for effect in self.effects:
            if effect.kind is kind:
                by_update.setdefault(effect.update_id, []).append(effect)
        return by_update

    def firsts(self, kind: Kind) -> dict[str, list[Effect]]:
        """Return the first effect of each update by mailbox, in the order of time."""
        by_key: dict[str, list[Effect]] = {}
        for effects in self.effects_of(kind).values():
            by_key.setdefault(effects[0].ordering_key, []).append(effects[0])
        for effects in by_key.values():
            effects.sort(key=lambda effect: effect.time)
        return by_key
