"""The signals that ask a process to stop."""

import os
import signal
from collections.abc import Iterator

import pytest

from gateway.background import BackgroundTasks
from gateway.stop_signals import receive_stop_signals
from tests.support.waiting import wait_until

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """Leave the handlers of pytest as they were."""
    kept = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    yield
    for number, handler in kept.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", STOP_SIGNALS)
async def test_each_signal_is_handled(number: signal.Signals) -> None:
    handled: list[signal.Signals] = []
    async with (
        BackgroundTasks() as background,
        receive_stop_signals(background, handled.append),
    ):
        for count in (1, 2):
            os.kill(os.getpid(), number)
            await wait_until(lambda: len(handled) == count)  # noqa: B023 - awaited here
    assert handled == [number, number]


@pytest.mark.parametrize("number", STOP_SIGNALS)
async def test_after_the_first_of_one_signal_any_other_ends_the_process(
    number: signal.Signals,
) -> None:
    handled: list[signal.Signals] = []
    async with (
        BackgroundTasks() as background,
        receive_stop_signals(background, handled.append, once=True),
    ):
        assert signal.getsignal(number) is not signal.SIG_DFL
        os.kill(os.getpid(), number)
        await wait_until(lambda: handled == [number])
        actions = [signal.getsignal(each) for each in STOP_SIGNALS]
        assert actions == [signal.SIG_DFL] * len(STOP_SIGNALS)
