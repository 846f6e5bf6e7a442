"""Checks of how long things take: mailboxes without an owner, and failovers."""

from tests.chaos.excuses import (
    CUTTING,
    ENDING,
    LEASE,
    STORE,
    TURN,
    near,
    of_kinds,
    touch,
)
from tests.chaos.history import Effect, History, Kind
from tests.chaos.verdict import Verdict

SCAN_SECONDS = 0.6
"""Seconds between two scans of a worker, at most."""

BUSY = 1.0
"""Seconds more that a scan may take on a machine with more processes than cores."""

FAILOVER = 5.0
"""Seconds after which somebody else went on with the mailboxes of a killed worker."""


def waiting(history: History, verdict: Verdict) -> None:
    """I8: no mailbox waits unowned for long, while anybody could own it.

    It counts from the end of its lease, so the lease itself is not in the limit.
    """
    verdict.add("unowned too long", ())
    store = of_kinds(history, STORE | CUTTING | ENDING | {"nobody"})
    for seen in history.waiting:
        since = seen.time - seen.seconds
        excused = [
            span
            for span in touch(store, since - TURN, seen.time)
            if span.kind in STORE or span.kind == "nobody"
        ]
        if seen.seconds > SCAN_SECONDS + 1 + BUSY and not excused:
            where = near(history, seen.time)
            line = f"{seen.ordering_key}: {seen.seconds:.2f} s {where}"
            verdict.add("unowned too long", [line])


def failover(history: History, verdict: Verdict) -> None:
    """After a kill that nothing else disturbs, the mailboxes go on elsewhere soon."""
    verdict.add("failover too slow", ())
    for kill in of_kinds(history, {"kill"}):
        near = touch(history.spans, kill.start - LEASE, kill.start + FAILOVER)
        if near != [kill]:
            continue
        seconds = max(_resumed(history, kill.start, kill.workers), default=0.0)
        verdict.failovers.append(seconds)
        if seconds > FAILOVER:
            verdict.add("failover too slow", [f"{seconds:.2f} s"])


def _resumed(
    history: History, time: float, workers: frozenset[int] | None
) -> list[float]:
    """Return after how many seconds each mailbox that a killed worker held went on.

    It held a mailbox if it made the mailbox's last call before its end, or accepted the
    update, and an update accepted before the end was called for (again) after it.
    """
    last: dict[str, Effect] = {}
    resumed: dict[str, float] = {}
    for effect in history.effects:
        if effect.kind is not Kind.CALL:
            continue
        if effect.time <= time:
            last[effect.ordering_key] = effect
            continue
        update = history.posted[effect.update_id]
        if update.accepted is None or update.accepted > time:
            continue
        owner = (
            last[effect.ordering_key].worker
            if effect.ordering_key in last
            else update.worker
        )
        if workers is None or owner in workers:
            resumed.setdefault(effect.ordering_key, effect.time - time)
    return list(resumed.values())
