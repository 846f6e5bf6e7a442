"""Receives the signals that ask a process to stop.

Concurrency: one task, which runs until the block of `receive_stop_signals` ends. It
only calls a function, which must not block.
"""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Callable
from functools import partial

import anyio

from gateway.background import BackgroundTasks

_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
"""A process gets SIGHUP when its terminal is closed."""


@contextlib.asynccontextmanager
async def receive_stop_signals(
    background: BackgroundTasks,
    handle: Callable[[signal.Signals], None],
    *,
    once: bool = False,
) -> AsyncIterator[None]:
    """Call a function when SIGTERM, SIGINT or SIGHUP arrives inside the block.

    Args:
        background: runs the task that receives the signals.
        handle: called with each signal. It must not block.
        once: True to call it for the first signal only: the next one ends the process.
            False to call it for every signal.
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
