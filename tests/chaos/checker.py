"""Reads a history and says what in it broke a promise.

What "in order" means is told in `order.py`, what is excused by which fault in
`excuses.py`.
"""

from collections.abc import Callable

from tests.chaos.delays import failover, waiting
from tests.chaos.excuses import (
    BOT_API,
    CUTTING,
    ENDING,
    LEASE,
    SERVICE,
    STORE,
    Memories,
    near,
    of_kinds,
    touch,
    undone,
)
from tests.chaos.history import History, Kind
from tests.chaos.order import order, overlaps, repeats
from tests.chaos.verdict import Verdict

_NO_OUTCOME = frozenset({"done", "duplicate"})
"""Logged for updates that have an effect to show."""


def check(history: History) -> Verdict:
    """Check all of it."""
    verdict = Verdict()
    checks: tuple[Callable[[History, Verdict], None], ...] = (
        *(_lost, _states, order, repeats, overlaps),
        *(_left, waiting, _answers, failover),
    )
    for each in checks:
        each(history, verdict)
    return verdict


def _lost(history: History, verdict: Verdict) -> None:
    """I1: each accepted update has an effect at the user or another outcome."""
    verdict.add("lost", ())
    done = {effect.update_id for effect in history.effects if effect.kind is Kind.SEND}
    done |= {
        update for update, outcome in history.outcomes if outcome not in _NO_OUTCOME
    }
    done |= {update for update, _ in history.left.dead}
    memories = Memories(history)
    kept = {ordering_key: set(ids) for ordering_key, ids in history.left.states.items()}
    ends = of_kinds(history, ENDING | CUTTING | STORE)
    failing = of_kinds(history, SERVICE | BOT_API)
    for update in history.posted.values():
        if update.accepted is None:
            verdict.add("lost", [f"{update.update_id} was never accepted"])
        elif update.update_id not in done:
            # Its line is gone with its worker; it had no effect because a service or
            # the Bot API failed. Without both there is no excuse.
            since, until = update.sent, update.accepted + 4 * LEASE
            in_state = update.update_id in kept.get(update.ordering_key, ())
            if memories.took(update) and touch(
                ends, update.accepted, update.accepted + 4 * LEASE
            ):
                verdict.in_memory["lost with its worker"] += 1
            elif (
                in_state and touch(ends, since, until) and touch(failing, since, until)
            ):
                verdict.unlogged += 1
            else:
                where = near(history, update.sent)
                line = f"{update.update_id} of {update.ordering_key} {where}"
                verdict.add("lost", [line])


def _states(history: History, verdict: Verdict) -> None:
    """I4: a state remembers what was accepted, all of it, each once."""
    verdict.add("state doubled", ())
    verdict.add("state lost", ())
    verdict.add("dead letters", (f"{i}: {why}" for i, why in history.left.dead))
    # What was given up is not remembered, so that it can be replayed.
    aside = {update for update, outcome in history.outcomes if outcome == "refused"}
    aside |= {update for update, _ in history.left.dead}
    memories = Memories(history)
    needless = (near(history, span.start) for span in memories.needless)
    verdict.add("in memory without need", needless)
    rolled_back = undone(history)
    ordering_keys: dict[str, set[int]] = {}
    for update in history.posted.values():
        ordering_keys.setdefault(update.ordering_key, set()).add(update.update_id)
    for ordering_key, ids in ordering_keys.items():
        state = history.left.states.get(ordering_key, [])
        if len(set(state)) < len(state):
            verdict.add("state doubled", [ordering_key])
        missing = ids - aside - set(state)
        verdict.rolled_back += len(missing & rolled_back)
        missing -= rolled_back
        gone = {i for i in missing if memories.near(history.posted[i].accepted or 0)}
        verdict.in_memory["not in the state"] += len(gone)
        if missing := missing - gone:
            where = near(history, history.posted[min(missing)].sent)
            verdict.add("state lost", [f"{ordering_key}: {sorted(missing)} {where}"])


def _left(history: History, verdict: Verdict) -> None:
    """I4: nothing is left of what was done."""
    pending, mailboxes = history.left.pending, history.left.mailboxes
    verdict.add("pending entries left", [str(pending)] if pending else ())
    verdict.add("mailboxes left", [str(mailboxes)] if mailboxes else ())


def _answers(history: History, verdict: Verdict) -> None:
    """I9: whatever is answered is answered 200."""
    bad = {answer.status for answer in history.answers} - {200}
    verdict.add("answers other than 200", map(str, sorted(bad)))
