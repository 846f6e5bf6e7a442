"""The figures of a run, as a table."""

from collections import Counter
from collections.abc import Sequence

from tests.chaos.excuses import CUTTING, STORE, of_kinds, touch
from tests.chaos.history import History, Kind
from tests.chaos.verdict import Verdict

_SHOWN = 12
_OWN = frozenset({"nobody", "harness_late"})


def quantile(seconds: Sequence[float], part: float) -> float:
    """Return the value below which a part of the values lies. Empty: 0."""
    ordered = sorted(seconds)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))] if ordered else 0.0


def table(history: History, verdict: Verdict) -> list[str]:
    """Say in lines what happened and what was wrong with it."""
    accepted = [u for u in history.posted.values() if u.accepted is not None]
    firsts = {
        update: effects[0] for update, effects in history.effects_of(Kind.CALL).items()
    }
    delays = [
        max(0.0, firsts[u.update_id].time - u.sent)
        for u in accepted
        if u.update_id in firsts
    ]
    answers = [answer.seconds for answer in history.answers]
    failing = of_kinds(history, STORE | CUTTING)
    during = [
        answer.seconds
        for answer in history.answers
        if touch(failing, answer.time - answer.seconds, answer.time)
    ]
    longest = max((seen.seconds for seen in history.waiting), default=0.0)
    late = [s.end - s.start for s in history.spans if s.kind == "harness_late"]
    rows = {
        "updates accepted": f"{len(accepted)} of {len(history.posted)}",
        "faults": _counts(Counter(s.kind for s in history.spans if s.kind not in _OWN)),
        "harness late": f"{len(late)} times, {max(late, default=0):.1f} s at most",
        "posts without an answer": str(history.broken),
        "webhook p50, p99, max": _quantiles(answers),
        "the same while Redis fails": _quantiles(during),
        "first sent to first effect": _quantiles(delays),
        "outcomes logged": _counts(Counter(o for _, o in history.outcomes)),
        "outcomes lost with a worker": str(verdict.unlogged),
        "excused: memory": _counts(verdict.in_memory),
        "excused: rolled back": str(verdict.rolled_back),
        "effects repeated": _counts(Counter(verdict.repeats)),
        "failover after a lone kill": ", ".join(f"{s:.1f}" for s in verdict.failovers),
        "longest unowned": f"{longest:.1f} s",
        "exit codes": _counts(Counter(map(str, history.exits))),
        "logged": _counts(history.logged),
    }
    lines = [f"{name:28} {value or '-'}" for name, value in rows.items()]
    for name, found in verdict.violations.items():
        lines.append(f"{name:28} {len(found)}")
        lines += [f"    {line}" for line in found[:_SHOWN]]
    return lines


def _quantiles(seconds: Sequence[float]) -> str:
    values = (quantile(seconds, 0.5), quantile(seconds, 0.99), quantile(seconds, 1))
    return ", ".join(f"{1000 * value:.0f} ms" for value in values)


def _counts(counter: "Counter[str]") -> str:
    total = counter.total()
    each = ", ".join(f"{name} {count}" for name, count in counter.most_common())
    return f"{total} ({each})" if counter else "0"
