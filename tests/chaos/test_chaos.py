"""Real processes under faults: the short form of `make chaos`."""

import asyncio
import os
from pathlib import Path

from tests.chaos.checker import check
from tests.chaos.figures import table
from tests.chaos.history import Kind
from tests.chaos.poison import POISON
from tests.chaos.run import Plan, play, run
from tests.chaos.world import Setup, World
from tests.flow.process import SERVICES
from tests.waiting import wait_until, wait_until_found

SEED = int(os.environ.get("CHAOS_SEED", "2026"))
FIRST_ID = 500_000_001


async def test_nothing_is_lost_repeated_or_out_of_order_under_faults(
    tmp_path: Path,
) -> None:
    """Eight faults of different kinds, several at a time, break no promise."""
    setup = Setup(seed=SEED, workers=3, users=60, rate=120)
    own = ("kill", "freeze", "term", "redis_kill", "script_flush", "deaf")
    plan = Plan(faults=8, kinds=(*own, "service_refuse", "bot_limit"), at_once=(3, 4))

    history = await run(tmp_path, setup, plan)

    verdict = check(history)
    assert not verdict.broken, "\n".join([f"seed {SEED}", *table(history, verdict)])
    assert len({span.kind for span in history.spans} - {"nobody", "harness_late"}) >= 6
    assert len(history.posted) > 300


async def test_a_replica_takes_over_and_breaks_no_promise(tmp_path: Path) -> None:
    """It lacks what its master accepted last; that is put again, in order."""
    setup = Setup(seed=SEED, workers=2, users=60, rate=200, watched=True)

    history = await run(tmp_path, setup, Plan(faults=1, kinds=("failover",)))

    verdict = check(history)
    assert not verdict.broken, "\n".join([f"seed {SEED}", *table(history, verdict)])
    assert history.logged["warning: putting updates again"] >= 2


async def test_without_the_comparison_of_tokens_the_checker_finds_faults(
    tmp_path: Path,
) -> None:
    """A paused worker that may commit under an old token is caught: it is a control."""
    setup = Setup(
        seed=SEED, workers=2, users=60, rate=200, module="tests.chaos.no_fencing"
    )
    plan = Plan(faults=3, kinds=("freeze",), at_once=(1, 1))

    history = await run(tmp_path, setup, plan)

    broken = check(history).broken
    assert {"state lost", "lost", "two turns at once", "state doubled"} & set(broken)


async def test_slow_updates_wait_for_their_service_all_at_once_after_kills(
    tmp_path: Path,
) -> None:
    """While they wait they end nobody, so none is given up or waits for another."""
    setup = Setup(
        seed=SEED,
        workers=1,
        users=60,
        rate=60,
        settings={f"{name}_TIMEOUT": "100" for name in SERVICES},
    )
    kills = 2

    async def kill_while_calls_hang(made: World) -> None:
        """Kill the worker each time it has called the service for every user."""
        (worker,) = made.workers
        worker.services.hanging = 100
        await wait_until_found(lambda: _busy(made, 18))
        made.sender.stop()
        for number in range(1, kills + 1):
            await _called(made, number)
            with made.fault("kill", worker):
                await worker.kill()
                await made.start(worker)
        await _called(made, kills + 1)
        worker.services.hanging = 0
        await worker.services.stop()  # it cuts the calls, which are repeated then
        await worker.services.start()

    history = await play(tmp_path, setup, kill_while_calls_hang)

    assert history.left.dead == []
    assert history.left.lanes == 0
    calls = history.effects_of(Kind.CALL)
    assert set(calls) == set(history.posted)
    assert max(map(len, calls.values())) > kills


async def test_an_update_that_ends_its_workers_takes_no_other_along(
    tmp_path: Path,
) -> None:
    """It goes to the dead letters alone, and everything else is served."""
    marked: list[int] = []

    def text(update_id: int) -> str:
        """Mark the first message beyond the first fifty updates."""
        if not marked and update_id >= FIRST_ID + 50:
            marked.append(update_id)
        return POISON if update_id in marked else "hi"

    setup = Setup(
        seed=SEED,
        workers=2,
        users=40,
        rate=40,
        module="tests.chaos.poison",
        text=text,
    )

    async def revive(made: World) -> None:
        """Start workers again until the poison is given up."""
        keeping = [asyncio.create_task(_keep_alive(made, n)) for n in range(2)]
        try:
            await wait_until(lambda: marked)
            await wait_until_found(lambda: _given_up(made))
            await wait_until(lambda: all(w.gate.open for w in made.workers))
        finally:
            for task in keeping:
                task.cancel()
            await asyncio.gather(*keeping, return_exceptions=True)

    history = await play(tmp_path, setup, revive)

    (poison,) = marked
    assert history.left.dead == [(poison, "poison")]
    verdict = check(history)
    assert set(verdict.broken) == {"dead letters"}, "\n".join(table(history, verdict))
    assert len([span for span in history.spans if span.kind == "poison"]) >= 4
    assert poison not in history.effects_of(Kind.CALL)


async def _busy(made: World, lanes: int) -> bool:
    return await made.store.lanes() >= lanes


async def _called(made: World, times: int) -> None:
    """Wait until a service was called so often for the first update of each user."""

    async def called() -> bool:
        seen = made.history.effects_of(Kind.CALL).values()
        often = sum(len(effects) >= times for effects in seen)
        return often == await made.store.lanes() > 0

    await wait_until_found(called)


async def _given_up(made: World) -> bool:
    return bool((await made.store.left()).dead)


async def _keep_alive(made: World, number: int) -> None:
    worker = made.workers[number]
    while True:
        await worker.ended()
        with made.fault("poison", worker):
            await made.start(worker)
