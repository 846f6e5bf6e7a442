"""The checker finds what is wrong with a history, and nothing where nothing is."""

import pytest

from tests.chaos.checker import check
from tests.chaos.history import (
    Answer,
    Effect,
    History,
    Kind,
    Left,
    Posted,
    Span,
    Waiting,
)
from tests.chaos.verdict import Verdict

ORDERING_KEY = "1001"


def good(*ids: int, gap: float = 10) -> History:
    """Make a history in which every update is sent, done and remembered."""
    history = History(left=Left(states={ORDERING_KEY: list(ids)}))
    for number, update_id in enumerate(ids):
        sent = 100 + number * gap
        history.posted[update_id] = Posted(
            update_id, ORDERING_KEY, sent, sent + 0.01, 0, 1
        )
        history.effects += effects(update_id, sent + 0.02)
        history.outcomes.append((update_id, "done"))
        history.answers.append(Answer(sent + 0.01, 0.01, 200))
    return history


def effects(update_id: int, time: float, worker: int = 0) -> list[Effect]:
    """Make the call and the message of an update."""
    key = f"7-{update_id}"
    return [
        Effect(Kind.CALL, update_id, ORDERING_KEY, worker, time, time + 0.03, key),
        Effect(Kind.SEND, update_id, ORDERING_KEY, worker, time + 0.04, time + 0.04),
    ]


def fault(kind: str, start: float, end: float, *workers: int) -> Span:
    """Make a fault of some workers, or of all."""
    return Span(kind, start, end, frozenset(workers) if workers else None)


def broken(history: History) -> set[str]:
    """Name the promises that a history breaks."""
    return set(check(history).broken)


def without_effects(history: History, update_id: int) -> None:
    """Take out what is to be seen of an update."""
    history.effects = [e for e in history.effects if e.update_id != update_id]
    history.outcomes = [o for o in history.outcomes if o[0] != update_id]


def test_a_good_history_breaks_nothing() -> None:
    """Else no verdict would mean anything."""
    assert broken(good(1, 2, 3)) == set()


def test_an_update_without_an_effect_is_lost() -> None:
    """Neither the state nor a call alone makes it done: the user saw nothing."""
    history = good(1, 2)
    history.effects = [
        e for e in history.effects if e.update_id != 2 or e.kind is Kind.CALL
    ]
    assert broken(history) == {"lost"}


def test_an_update_that_was_never_accepted_is_lost() -> None:
    """The sender repeats until it gets its 200."""
    history = good(1, 2)
    history.posted[2].accepted = None
    assert broken(history) == {"lost"}


@pytest.mark.parametrize("outcome", ["service_timeout", "send_failed", "expired"])
def test_another_outcome_is_no_loss(outcome: str) -> None:
    """An update ends in exactly one outcome, not always in an answer."""
    history = good(1, 2)
    without_effects(history, 2)
    history.outcomes.append((2, outcome))
    assert broken(history) == set()


def test_a_failover_may_undo_what_its_replica_did_not_get() -> None:
    """What was done just before; what was done earlier stays in the state."""
    history = good(1, 2)
    history.left.states[ORDERING_KEY] = [1]
    history.spans = [fault("failover", 110.5, 112)]
    verdict = check(history)
    assert (set(verdict.broken), verdict.rolled_back) == (set(), 1)
    history.left.states[ORDERING_KEY] = [2]
    assert broken(history) == {"state lost"}


def test_a_lost_outcome_needs_two_faults_as_an_excuse() -> None:
    """The line may go with its worker, but the effect must be missing for a reason."""
    history = good(1, 2)
    without_effects(history, 2)
    history.spans = [fault("kill", 110.1, 111, 0)]
    assert broken(history) == {"lost"}
    history.spans.append(fault("service_refuse", 110, 111))
    assert check(history).unlogged == 1


def test_a_state_that_forgot_an_update_is_found() -> None:
    """The state and the removal change together."""
    history = good(1, 2)
    history.left.states[ORDERING_KEY] = [2]
    assert broken(history) == {"state lost"}


def test_a_state_that_has_an_update_twice_is_found() -> None:
    history = good(1, 2)
    history.left.states[ORDERING_KEY] = [1, 2, 2]
    assert broken(history) == {"state doubled"}


def test_a_dead_letter_is_found() -> None:
    """Faults of the machinery must dead-letter nothing."""
    history = good(1, 2)
    history.left.dead = [(2, "crashed")]
    assert broken(history) == {"dead letters"}


def test_an_effect_before_that_of_a_lower_update_is_an_inversion() -> None:
    """The lower one was accepted before the higher one was sent."""
    history = good(1, 2)
    history.effects = effects(2, 110.02) + effects(1, 110.2)
    assert broken(history) == {"inversions"}


def test_a_lower_update_that_waited_during_a_turn_must_be_next() -> None:
    """Whoever took update 9 had done 8 before, and 1 was there by then."""
    history = good(1, 8, 9, gap=0)
    history.posted[1].accepted = 100.1
    history.effects = effects(8, 100.2) + effects(9, 100.3) + effects(1, 100.4)
    assert broken(history) == {"inversions"}


def test_a_lower_update_that_was_accepted_late_is_no_inversion() -> None:
    """It came by repetition, when the higher one had been taken already."""
    history = good(1, 2, gap=0)
    history.posted[1].accepted = 100.1
    history.effects = effects(2, 100.02) + effects(1, 100.2)
    assert broken(history) == set()


def test_a_repetition_without_a_fault_is_found() -> None:
    """Nobody but a fault may make an effect come again."""
    history = good(1, 2)
    history.effects += effects(2, 110.5, worker=1)
    assert broken(history) == {"repeated without a fault"}


@pytest.mark.parametrize(
    ("excused", "span"),
    [
        (True, fault("kill", 110.1, 111, 0)),
        (True, fault("freeze", 110.1, 115, 0)),
        (True, fault("redis_kill", 110.1, 110.5)),
        (False, fault("kill", 110.1, 111, 2)),
        (False, fault("kill", 113, 114, 0)),
        (False, fault("term", 110.1, 111, 0)),
        (False, fault("scale", 110.1, 111, 0)),
        (False, fault("script_flush", 110.1, 111)),
        (False, fault("delay", 110.1, 111, 0)),
    ],
)
def test_only_a_fault_that_hit_its_worker_excuses_a_repetition(
    excused: bool, span: Span
) -> None:
    """A graceful end excuses none, nor does what happened elsewhere or later."""
    history = good(1, 2)
    history.effects += effects(2, 114, worker=1)
    history.spans = [span]
    assert broken(history) == (set() if excused else {"repeated without a fault"})


def test_a_repetition_under_another_key_is_found() -> None:
    """A service knows a repetition by the request_id alone."""
    history = good(1, 2)
    history.spans = [fault("kill", 110.1, 111, 0)]
    history.effects += effects(2, 114, worker=1)
    history.effects[-2].request_id = "7-2-again"
    assert broken(history) == {"another request_id"}


def test_two_steps_of_a_mailbox_at_once_are_found() -> None:
    """The second call began before the first one ended."""
    history = good(1, 2, gap=0)
    history.effects = effects(1, 100.02) + effects(2, 100.03)
    assert broken(history) == {"two turns at once"}


def test_what_is_left_is_found() -> None:
    """A mailbox with updates and a lease without end would be there for ever."""
    history = good(1)
    history.left.pending, history.left.mailboxes = 1, 2
    assert broken(history) == {"pending entries left", "mailboxes left"}


def test_a_mailbox_that_nobody_takes_is_found() -> None:
    """Unless there is nobody who could."""
    history = good(1)
    history.waiting = [Waiting(ORDERING_KEY, 110, 0.5), Waiting(ORDERING_KEY, 113, 3.5)]
    assert broken(history) == {"unowned too long"}
    history.spans = [fault("nobody", 109, 112)]
    assert broken(history) == set()


def test_an_answer_other_than_200_is_found() -> None:
    """Telegram would repeat the update and hold back what is behind it."""
    history = good(1)
    history.answers.append(Answer(100, 0.1, 500))
    assert broken(history) == {"answers other than 200"}


@pytest.mark.parametrize(("seconds", "slow"), [(3.4, False), (5.5, True)])
def test_a_slow_failover_is_found(seconds: float, slow: bool) -> None:
    """It is measured where a kill was the only fault."""
    history = good(1, 2)
    history.spans = [fault("kill", 110.015, 112, 0)]
    for effect in history.effects[2:]:
        effect.worker = 1
        effect.time += seconds
    verdict: Verdict = check(history)
    assert set(verdict.broken) == ({"failover too slow"} if slow else set())
    assert verdict.failovers == [pytest.approx(seconds + 0.005)]


def test_memory_without_an_outage_is_found() -> None:
    """A worker that can reach Redis has no reason to serve from memory."""
    history = good(1)
    history.memory = [fault("memory", 100, 101, 0)]
    assert broken(history) == {"in memory without need"}
    history.spans = [fault("blackhole", 97.8, 100.5, 0)]
    assert broken(history) == set()


@pytest.mark.parametrize(("worker", "excused"), [(0, False), (1, True)])
def test_a_worker_without_redis_keeps_the_order_of_what_it_took(
    worker: int, excused: bool
) -> None:
    """It cannot know of what others took meanwhile."""
    history = good(1, 2)
    history.posted[2].worker = worker
    history.effects = effects(2, 110.02, worker) + effects(1, 110.2)
    history.spans = [fault("blackhole", 97, 111, 0)]
    history.memory = [fault("memory", 99.1, 111, 0)]
    assert broken(history) == (set() if excused else {"inversions"})
