"""An update that ends every worker that processes it."""

import asyncio
from pathlib import Path

from gateway.background import cancel_and_wait
from tests.chaos.checker import check
from tests.chaos.figures import table
from tests.chaos.harness import ChaosHarness, Setup
from tests.chaos.history import Kind
from tests.chaos.poison import POISON
from tests.chaos.run import SEED, play
from tests.support.waiting import wait_until, wait_until_found

FIRST_ID = 500_000_001


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
        # What a gateway takes into its memory is lost when it is killed.
        settings={"STORE_PATIENCE": "60"},
        text=text,
    )

    async def revive(made: ChaosHarness) -> None:
        """Start workers again until the poison is given up."""
        keeping = [asyncio.create_task(_keep_alive(made, n)) for n in range(2)]
        try:
            await wait_until(lambda: marked)
            await wait_until_found(lambda: _given_up(made))
            await wait_until(lambda: all(w.gate.open for w in made.workers))
        finally:
            await cancel_and_wait(*keeping)

    history = await play(tmp_path, setup, revive)

    (poison,) = marked
    assert history.left.dead == [(poison, "poison")]
    verdict = check(history)
    assert set(verdict.broken) == {"dead letters"}, "\n".join(table(history, verdict))
    assert len([span for span in history.spans if span.kind == "poison"]) >= 4
    assert poison not in history.effects_of(Kind.CALL)


async def _given_up(made: ChaosHarness) -> bool:
    return bool((await made.store.left()).dead)


async def _keep_alive(made: ChaosHarness, number: int) -> None:
    worker = made.workers[number]
    while True:
        await worker.ended()
        with made.fault("poison", worker):
            await made.start(worker)
