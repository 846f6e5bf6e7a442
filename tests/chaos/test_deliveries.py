"""Short runs of the chaos with deliveries."""

from tests.chaos.deliveries import Faults, run


async def test_deliveries_survive_kills() -> None:
    """None is lost, and one is sent twice only if nobody can know whether it was."""
    figures = await run(sends=300, workers=2, faults=Faults(kill=100))
    assert figures.is_good, figures
    assert figures.kills
    assert figures.sends >= 300


async def test_without_the_comparison_of_keys_the_run_finds_repeated_messages() -> None:
    figures = await run(
        sends=400, workers=1, faults=Faults(), module="tests.chaos.no_idempotency"
    )
    assert figures.repeated_unmarked + figures.repeated_dropped
    assert figures.wrong_answers
