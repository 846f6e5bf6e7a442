"""Tasks that go on for as long as the gateway does: none of them ends unseen."""

import asyncio
import contextlib
from collections.abc import Awaitable

import pytest
from anyio import CancelScope, TaskHandle

from gateway import background
from gateway.background import BackgroundTasks, cancel_and_wait
from gateway.domain.errors import ConfigurationError
from tests.support.failing import Once, failed
from tests.support.waiting import LIMIT, wait_until


async def wait_forever() -> None:
    """Wait until cancelled."""
    await asyncio.Event().wait()


async def test_a_task_that_fails_begins_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Each failure is logged at once and counted, without what it says of a user."""
    monkeypatch.setattr(background, "FIRST_DELAY_SECONDS", 0.001)
    works = asyncio.Event()

    async def run() -> None:
        if tasks.failure_counts["task"] < 3:
            raise ValueError("words of a user")
        works.set()
        await asyncio.Event().wait()

    async with BackgroundTasks() as tasks:
        task = tasks.start("task", run)
        await asyncio.wait_for(works.wait(), LIMIT)
        assert failed(caplog) == ["task"] * 3
        assert tasks.failure_counts == {"task": 3}
        assert tasks.failing_tasks == ["task"]
        assert vars(caplog.records[0])["error"].startswith(
            "ValueError < test_background.py"
        )
        assert "words" not in caplog.text
        await cancel_and_wait(task)
        assert task.status is TaskHandle.Status.CANCELLED


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
        async with BackgroundTasks() as tasks:
            await tasks.start("t", run, max_delay=longest).wait()
    assert pauses[:4] == [0.1, 0.2, 0.4, 0.8]
    assert pauses[11] == 30.0
    assert pauses[12:15] == [0.1, 0.2, 0.2]


async def test_a_cancelled_wait_is_a_failure_but_a_cancelled_task_is_not(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A future that somebody else cancels must not end a task without a word."""
    future = asyncio.get_running_loop().create_future()
    future.cancel()
    waits: list[Awaitable[None]] = [future]

    async def run() -> None:
        await (waits.pop() if waits else asyncio.Event().wait())

    async with BackgroundTasks() as tasks:
        task = tasks.start("task", run)
        await wait_until(lambda: tasks.failure_counts["task"] == 1)
        assert failed(caplog) == ["task"]
        await cancel_and_wait(task)
        assert task.status is TaskHandle.Status.CANCELLED
    assert tasks.failure_counts["task"] == 1


async def test_a_task_that_returns_is_done() -> None:
    """Some go on only for as long as there is something to do."""
    async with BackgroundTasks() as tasks:
        await tasks.start("task", lambda: asyncio.sleep(0))
    assert (tasks.failure_counts, tasks.failing_tasks) == ({}, [])


async def test_a_failure_is_forgotten_after_a_while(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Health is of now; the counter remembers."""
    monkeypatch.setattr(background, "FAILING_SECONDS", 0.0)
    async with BackgroundTasks() as tasks:
        await tasks.start("task", Once(lambda: asyncio.sleep(0)))
    assert tasks.failure_counts == {"task": 1}
    assert tasks.failing_tasks == []


async def test_the_end_of_the_block_ends_what_is_left() -> None:
    """Also a task that is between two attempts, and one that cleans up for a while."""
    cleaned_up = asyncio.Event()

    async def run() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            with CancelScope(shield=True):
                await asyncio.sleep(0)
            cleaned_up.set()

    async def fail() -> None:
        raise ValueError

    async with BackgroundTasks() as tasks:
        handles = [tasks.start("task", run), tasks.start("failing", fail)]
        await wait_until(lambda: tasks.failure_counts["failing"] == 1)
    assert cleaned_up.is_set()
    assert {it.status for it in handles} == {TaskHandle.Status.CANCELLED}


async def test_an_error_of_the_block_stays_as_it_is() -> None:
    """Whoever started the gateway tells a wrong setting from anything else."""
    handles = []

    async def work() -> None:
        async with BackgroundTasks() as tasks:
            handles.append(tasks.start("task", wait_forever))
            raise ConfigurationError(["PORT: is in use"])

    with pytest.raises(ConfigurationError):
        await work()
    assert handles[0].status is TaskHandle.Status.CANCELLED


async def test_a_cancelled_block_ends_its_tasks() -> None:
    handles = []

    async def work() -> None:
        async with BackgroundTasks() as tasks:
            handles.append(tasks.start("task", wait_forever))
            await asyncio.Event().wait()

    working = asyncio.create_task(work())
    await wait_until(lambda: bool(handles))
    working.cancel()
    await asyncio.wait([working])
    assert working.cancelled()
    assert handles[0].status is TaskHandle.Status.CANCELLED


async def test_what_became_of_ended_tasks_is_no_error() -> None:
    """Their results are of no interest any more, and nothing is said of them later."""

    async def fail() -> None:
        raise ValueError

    failing = asyncio.create_task(fail())
    through = asyncio.create_task(asyncio.sleep(0))
    waiting = asyncio.create_task(asyncio.Event().wait())
    await asyncio.wait([failing, through])
    await cancel_and_wait(failing, through, waiting)
    assert waiting.cancelled()


async def test_a_task_runs_as_long_as_its_block() -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def run() -> None:
        begun.set()
        try:
            await wait_forever()
        finally:
            ended.set()

    async with BackgroundTasks() as tasks:
        async with tasks.running("task", run):
            await asyncio.wait_for(begun.wait(), LIMIT)
            assert not ended.is_set()
        assert ended.is_set()


async def test_a_task_that_replaces_its_cancellation_does_not_cancel_others() -> None:
    """gRPC raises an error of its own where its caller is cancelled."""

    async def call() -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await wait_forever()
        raise asyncio.CancelledError

    async with BackgroundTasks() as tasks:
        other = tasks.start("other", wait_forever)
        async with tasks.running("call", call):
            await asyncio.sleep(0)
        await asyncio.sleep(0)  # a cancelled group would end this block here
        assert other.status is TaskHandle.Status.PENDING
    assert tasks.failure_counts == {}
