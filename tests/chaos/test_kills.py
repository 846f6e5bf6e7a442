"""A worker that is killed while many updates wait for their service."""

from pathlib import Path

from tests.chaos.harness import ChaosHarness, Setup
from tests.chaos.history import Kind
from tests.chaos.run import SEED, play
from tests.support.waiting import wait_until, wait_until_found


async def test_slow_updates_wait_for_their_service_all_at_once_after_kills(
    tmp_path: Path,
) -> None:
    """While they wait they end nobody, so none is given up or waits for another."""
    setup = Setup(
        seed=SEED,
        workers=1,
        users=60,
        rate=60,
        service_timeout=100,
        # What a gateway takes into its memory is lost when it is killed.
        settings={"STORE_PATIENCE": "60"},
    )
    kills = 2

    async def kill_while_calls_hang(made: ChaosHarness) -> None:
        """Kill the worker each time it has called the service for every user."""
        (worker,) = made.workers
        worker.services.hanging = 100
        await wait_until_found(lambda: _busy(made, 18))
        made.sender.stop()
        # An update that is accepted after a kill would be called less often.
        posted = made.history.posted.values()
        await wait_until(lambda: all(it.accepted is not None for it in posted))
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
    assert history.left.pending == 0
    calls = history.effects_of(Kind.CALL)
    assert set(calls) == set(history.posted)
    assert max(map(len, calls.values())) > kills


async def _busy(made: ChaosHarness, mailboxes: int) -> bool:
    return await made.store.count_mailboxes() >= mailboxes


async def _called(made: ChaosHarness, times: int) -> None:
    """Wait until a service was called so often for the first update of each user."""

    async def called() -> bool:
        seen = made.history.effects_of(Kind.CALL).values()
        often = sum(len(effects) >= times for effects in seen)
        return often == await made.store.count_mailboxes() > 0

    await wait_until_found(called)
