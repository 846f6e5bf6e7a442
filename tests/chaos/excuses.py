"""Which faults excuse what: at-least-once leaves a little room, and no more."""

from collections.abc import Iterable

from tests.chaos.history import Effect, History, Kind, Posted, Span

LEASE = 3.0
"""Seconds after which a mailbox goes to somebody else."""

TURN = 1.0
"""Seconds within which an effect is committed on a busy machine, unless something is
slow on purpose."""

ENDING = frozenset({"kill", "freeze", "poison"})
"""Faults that take the mailboxes away from a worker."""

CUTTING = frozenset({"blackhole", "deaf", "reset"})
"""Faults between a worker and Redis."""

STORE = frozenset(
    {
        *("redis_term", "redis_kill", "redis_pause", "redis_long_pause"),
        *("failover", "harness_late"),
    }
)
"""Faults of Redis itself; and of the harness, through which all ways to it lead."""

SERVICE = frozenset({"service_hang", "service_refuse", "service_flap", "service_down"})
"""Faults of the services: gRPC repeats a call that was refused."""

BOT_API = frozenset({"bot_limit", "bot_error", "bot_slow"})
"""Faults of the Bot API."""

REPEATING = ENDING | CUTTING | STORE
"""Faults at which an update in flight may be done again. A graceful end, a delay and
lost scripts are none of them."""


def of_kinds(history: History, kinds: Iterable[str]) -> list[Span]:
    """Return the faults of some kinds."""
    wanted = frozenset(kinds)
    return [span for span in history.spans if span.kind in wanted]


def touch(spans: Iterable[Span], start: float, end: float) -> list[Span]:
    """Return the faults that share a moment with this time."""
    return [span for span in spans if span.start <= end and span.end >= start]


def undone(history: History) -> set[int]:
    """Return the updates of which a failover may have lost the commits.

    They are done, and their effects are to be seen, but their state is another's.
    """
    failovers = of_kinds(history, {"failover"})
    return {
        effect.update_id
        for effect in history.effects
        if effect.kind is Kind.SEND
        and touch(failovers, effect.time, effect.time + TURN)
    }


def near(history: History, time: float) -> str:
    """Say when something was, and which faults were near."""
    first = min((span.start for span in history.spans), default=time)
    spans = touch(history.spans + history.memory, time - LEASE, time + 2 * LEASE)
    faults = ", ".join(
        f"{span.kind} {sorted(span.workers or ())}"
        f" {span.start - first:.1f}-{span.end - first:.1f}"
        for span in spans
    )
    return f"[at {time - first:.1f} s; {faults}]"


PATIENCE = 2.0
"""Seconds without Redis after which a worker takes updates into its memory."""

SETTLING = 2.0
"""Seconds in which the updates of a memory come back to Redis."""


class Memories:
    """When workers served from memory, and whether they had a reason to.

    A worker that is cut off from Redis goes on alone: its mailboxes may be served by
    others too. So what it took meanwhile is done, while the worker lives, and in order
    with itself. There is no order with anything else, and no state that lasts.
    """

    def __init__(self, history: History) -> None:
        cuts = of_kinds(history, CUTTING | STORE)
        self.needless: list[Span] = []
        self._spans: list[Span] = []
        for span in history.memory:
            (worker,) = span.workers or (-1,)
            near = touch(cuts, span.start - PATIENCE - TURN, span.start)
            first = min((c.start for c in near if c.hits(worker)), default=span.start)
            needed = span.start - first > PATIENCE - TURN / 2
            (self._spans if needed else self.needless).append(span)

    def took(self, update: Posted) -> bool:
        """Return whether a worker took an update into its memory, as far as known."""
        return update.accepted is not None and any(
            span.hits(update.worker)
            for span in touch(self._spans, update.accepted - TURN, update.accepted)
        )

    def excuse(self, lower: Posted, higher: Posted) -> bool:
        """Return whether two updates may be done in the wrong order.

        Only the order of what a worker has in its own memory is in its hands, and only
        until it brings it back. What is in Redis meanwhile waits there.
        """
        if not (self.took(lower) or self.took(higher)):
            return False
        taken = lower.accepted or higher.sent
        together = lower.worker == higher.worker and any(
            span.hits(lower.worker) and span.end >= (higher.accepted or taken)
            for span in touch(self._spans, taken, taken)
        )
        return not (together and taken < higher.sent)

    def near(self, time: float) -> bool:
        """Return whether anybody served from memory then, or brought it back."""
        return bool(touch(self._spans, time - LEASE - SETTLING, time + TURN))


class Excuses:
    """Says for an effect that came again by which fault it may have."""

    def __init__(self, history: History) -> None:
        self._memories = Memories(history)
        # The faults that end leases come first: where several fit, it was one of them.
        self._repeating = [
            *of_kinds(history, ENDING),
            *of_kinds(history, REPEATING - ENDING),
        ]
        self._services = of_kinds(history, SERVICE)
        self._slow = of_kinds(history, SERVICE | BOT_API)

    def of(self, effects: list[Effect]) -> str:
        """Name the fault that excuses a repetition. Empty: there is none.

        An effect may come again if its update was in flight when a fault hit its worker
        or Redis: one of its effects lies within a turn before the fault, or in it, or
        just behind it (a worker that was paused finishes a call that it had begun).
        """
        for span in self._services:
            again = [e for e in effects if span.start <= e.time <= span.end + TURN]
            if len(again) > 1 and span.hits(again[0].worker):
                return span.kind
        for span in self._repeating:
            for effect in effects:
                in_time = self._before(span) <= effect.time <= self._behind(span)
                if in_time and span.hits(effect.worker):
                    return span.kind
        return "memory" if self._memories.near(effects[-1].time) else ""

    def _before(self, span: Span) -> float:
        slow = touch(self._slow, span.start - LEASE, span.start)
        return span.start - TURN - (LEASE if slow else 0)

    def _behind(self, span: Span) -> float:
        return span.end + TURN + (LEASE if span.kind in STORE else 0)
