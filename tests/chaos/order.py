"""Checks of what is done when: in order, one at a time, once.

What "in order" means (I2). Two updates u < v of a mailbox are inverted if v's first
effect comes before u's although u was *present* when v was taken. Nobody outside sees
when an update is taken, so u counts as present only where there is no doubt. u was
accepted (its 200 was read)

- before v was sent for the first time: then u was in the mailbox before v was, and
  whoever took v could have taken u; or
- before the first effect of another update w of the mailbox whose first effect comes
  before v's: an owner takes the next update after it has done the last, so whoever took
  v did so after w's effect.

Otherwise u may have come after v was taken (accepted late, by repetition, while v went
through the other queue of the same user): that is no inversion.
"""

from itertools import pairwise

from tests.chaos.excuses import Excuses, Memories, near
from tests.chaos.history import Effect, History, Kind
from tests.chaos.verdict import Verdict


def order(history: History, verdict: Verdict) -> None:
    """I2: first effects are in order. See the top of this module."""
    verdict.add("inversions", ())
    memories = Memories(history)
    for kind in Kind:
        for ordering_key, firsts in history.firsts(kind).items():
            for lower, higher in _inverted(history, firsts):
                if memories.excuse(history.posted[lower], history.posted[higher]):
                    verdict.in_memory["out of order"] += 1
                    continue
                where = near(history, history.posted[higher].sent)
                line = f"{ordering_key}: {higher} before {lower} ({kind}) {where}"
                verdict.add("inversions", [line])


def _inverted(history: History, firsts: list[Effect]) -> list[tuple[int, int]]:
    found = []
    for place, effect in enumerate(firsts):
        u = history.posted.get(effect.update_id)
        if u is None or u.accepted is None:
            continue
        for before, v in enumerate(firsts[:place]):
            if v.update_id < u.update_id:
                continue
            certain = history.posted[v.update_id].sent
            if before:
                certain = max(certain, firsts[before - 1].time)
            if u.accepted < certain:
                found.append((u.update_id, v.update_id))
    return found


def repeats(history: History, verdict: Verdict) -> None:
    """I5: an effect comes again only where a fault excuses it, under the same key."""
    verdict.add("repeated without a fault", ())
    verdict.add("another request_id", ())
    excuses = Excuses(history)
    for kind in Kind:
        for update, effects in history.effects_of(kind).items():
            keys = {effect.request_id for effect in effects}
            if len(keys) > 1:
                verdict.add("another request_id", [f"{update}: {sorted(keys)}"])
            if len(effects) > 1:
                excuse = excuses.of(effects)
                name = f"{kind}: {excuse or 'no fault'}"
                verdict.repeats[name] = verdict.repeats.get(name, 0) + 1
                if not excuse:
                    times = [(e.worker, round(e.time, 3)) for e in effects]
                    where = near(history, effects[0].time)
                    line = f"{update} ({kind}): {times} {where}"
                    verdict.add("repeated without a fault", [line])


def overlaps(history: History, verdict: Verdict) -> None:
    """I6: one update of a mailbox runs at a time, unless a fault took it away."""
    verdict.add("two turns at once", ())
    excuses = Excuses(history)
    by_key: dict[str, list[Effect]] = {}
    for effect in history.effects:
        if effect.kind is Kind.CALL:
            by_key.setdefault(effect.ordering_key, []).append(effect)
    for ordering_key, calls in by_key.items():
        for one, other in pairwise(sorted(calls, key=lambda call: call.time)):
            if other.time < one.end and not excuses.of([one, other]):
                ids = f"{one.update_id} and {other.update_id}"
                where = near(history, other.time)
                verdict.add("two turns at once", [f"{ordering_key}: {ids} {where}"])
