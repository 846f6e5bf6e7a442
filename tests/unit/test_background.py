"""Tasks that go on for as long as the gateway does: none of them ends unseen."""

import asyncio
from collections.abc import Awaitable

import pytest

from gateway import background
from gateway.background import BackgroundTasks
from tests.support.failing import Once, failed
from tests.support.waiting import LIMIT, wait_until


async def test_a_task_that_fails_begins_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Each failure is logged at once and counted, without what it says of a user."""
    monkeypatch.setattr(background, "FIRST_DELAY_SECONDS", 0.001)
    tasks = BackgroundTasks()
    works = asyncio.Event()

    async def run() -> None:
        if tasks.failure_counts["task"] < 3:
            raise ValueError("words of a user")
        works.set()
        await asyncio.Event().wait()

    task = tasks.start("task", run)
    await asyncio.wait_for(works.wait(), LIMIT)
    assert failed(caplog) == ["task"] * 3
    assert tasks.failure_counts == {"task": 3}
    assert tasks.failing_tasks == ["task"]
    assert vars(caplog.records[0])["error"].startswith(
        "ValueError < test_background.py"
    )
    assert "words" not in caplog.text
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()


async def test_the_pauses_become_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Up to a limit, which a task may have of its own."""
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) % 12 == 0:
            raise asyncio.CancelledError

    async def run() -> None:
        raise ValueError

    monkeypatch.setattr(asyncio, "sleep", sleep)
    for longest in (30.0, 0.2):
        await asyncio.wait([BackgroundTasks().start("t", run, max_delay=longest)])
    assert pauses[:4] == [0.1, 0.2, 0.4, 0.8]
    assert pauses[11] == 30.0
    assert pauses[12:15] == [0.1, 0.2, 0.2]


async def test_a_cancelled_wait_is_a_failure_but_a_cancelled_task_is_not(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A future that somebody else cancels must not end a task without a word."""
    tasks = BackgroundTasks()
    future = asyncio.get_running_loop().create_future()
    future.cancel()
    waits: list[Awaitable[None]] = [future]

    async def run() -> None:
        await (waits.pop() if waits else asyncio.Event().wait())

    task = tasks.start("task", run)
    await wait_until(lambda: tasks.failure_counts["task"] == 1)
    assert failed(caplog) == ["task"]
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert tasks.failure_counts["task"] == 1


async def test_a_task_that_returns_is_done() -> None:
    """Some go on only for as long as there is something to do."""
    tasks = BackgroundTasks()
    await tasks.start("task", lambda: asyncio.sleep(0))
    assert (tasks.failure_counts, tasks.failing_tasks) == ({}, [])


async def test_a_failure_is_forgotten_after_a_while(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Health is of now; the counter remembers."""
    tasks = BackgroundTasks()
    monkeypatch.setattr(background, "FAILING_SECONDS", 0.0)
    task = tasks.start("task", Once(lambda: asyncio.sleep(0)))
    await task
    assert tasks.failure_counts == {"task": 1}
    assert tasks.failing_tasks == []
