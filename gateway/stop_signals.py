"""Receives the signals that ask a process to stop.

Concurrency: one task inside the block of `receive_stop_signals`, which ends it. It does
no more than to call a function that cannot wait.
"""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Callable
from functools import partial

import anyio

from gateway.background import BackgroundTasks

_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
"""SIGHUP comes when the terminal is closed."""


@contextlib.asynccontextmanager
async def receive_stop_signals(
    background: BackgroundTasks,
    handle: Callable[[signal.Signals], None],
    *,
    once: bool = False,
) -> AsyncIterator[None]:
    """Call a function for each signal inside the block.

    Args:
        background: runs the task that receives the signals.
        handle: the function.
        once: call it for the first signal only; the second one ends the process.
    """
    is_receiving = asyncio.Event()
    async with background.running(
        "receive signals", partial(_receive, handle, once, is_receiving)
    ):
        await is_receiving.wait()
        yield


async def _receive(
    handle: Callable[[signal.Signals], None], once: bool, is_receiving: asyncio.Event
) -> None:
    with anyio.open_signal_receiver(*_STOP_SIGNALS) as signals:
        is_receiving.set()
        async for number in signals:
            handle(number)
            if once:
                break
    for number in _STOP_SIGNALS:
        # The receiver leaves a handler for SIGINT that raises KeyboardInterrupt.
        signal.signal(number, signal.SIG_DFL)
