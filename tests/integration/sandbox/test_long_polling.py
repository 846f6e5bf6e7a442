"""getUpdates, for bots without a webhook."""

import asyncio
import time

import pytest

from gateway.sandbox.server import Simulator
from gateway.sandbox.simulator.delivery.long_polling import LongPolling
from gateway.sandbox.simulator.delivery.update_queue import PendingUpdate, UpdateQueue
from gateway.sandbox.simulator.state.event_stream import EventStream
from gateway.sandbox.simulator.state.update_log import UpdateLog, UpdateRow
from gateway.sandbox.simulator.state.webhook import Webhook
from gateway.sandbox.simulator.validation.rules import ApiError
from tests.integration.sandbox.bot import Bot


async def test_updates_are_given_until_they_are_confirmed(
    simulator: Simulator, bot: Bot
) -> None:
    """An offset confirms what is below it; the oldest come first."""
    sent = [
        (await simulator.user_actions.say(1001, text))["update_id"] for text in "abc"
    ]
    first = await bot.result("getUpdates", limit=2)
    assert [update["update_id"] for update in first] == sent[:2]
    assert [update["message"]["text"] for update in first] == ["a", "b"]
    again = await bot.result("getUpdates", offset=sent[1])
    assert [update["update_id"] for update in again] == sent[1:]
    assert simulator.webhook["pending_update_count"] == 2
    assert await bot.result("getUpdates", offset=sent[2] + 1) == []
    states = [row.state for row in simulator.update_log.rows(10)]
    assert states == ["accepted"] * 3


async def test_a_negative_offset_counts_from_the_end(
    simulator: Simulator, bot: Bot
) -> None:
    """All but the newest are forgotten."""
    for text in "abc":
        await simulator.user_actions.say(1001, text)
    (newest,) = await bot.result("getUpdates", offset=-1)
    assert newest["message"]["text"] == "c"
    assert len(await bot.result("getUpdates")) == 1


async def test_a_long_poll_ends_with_the_next_update(
    simulator: Simulator, bot: Bot
) -> None:
    assert await bot.result("getUpdates", timeout=0) == []
    poll = asyncio.create_task(bot.result("getUpdates", timeout=50))
    await bot.result("getMe")  # so that the poll most likely waits
    await simulator.user_actions.say(1001, "hello")
    (update,) = await poll
    assert update["message"]["text"] == "hello"


async def test_two_at_a_time_are_a_conflict() -> None:
    """The newer one wins; a webhook wins over it."""
    webhook = Webhook()
    polling = LongPolling(webhook, UpdateLog(EventStream()), UpdateQueue(lambda: None))
    older = asyncio.create_task(polling.get_updates({"timeout": 50}))
    await asyncio.sleep(0)
    newer = asyncio.create_task(polling.get_updates({"timeout": 50}))
    with pytest.raises(ApiError, match="terminated by other getUpdates request") as it:
        await older
    assert it.value.status == 409
    assert not newer.done()
    webhook.set({"url": "http://127.0.0.1:9/"})
    polling.wake()
    with pytest.raises(ApiError, match="Conflict: terminated by setWebhook request"):
        await newer


async def test_a_revoked_token_ends_the_call_that_waits() -> None:
    """Calls with the new token are not ended."""
    polling = LongPolling(
        Webhook(), UpdateLog(EventStream()), UpdateQueue(lambda: None)
    )
    waiting = asyncio.create_task(polling.get_updates({"timeout": 50}))
    await asyncio.sleep(0)
    polling.revoke()
    with pytest.raises(ApiError, match="Unauthorized") as it:
        await waiting
    assert it.value.status == 401
    assert await polling.get_updates({}) == []


async def test_what_is_too_old_is_not_given() -> None:
    """It is dropped, and newer ones come in its place."""
    update_log, queue = UpdateLog(EventStream()), UpdateQueue(lambda: None)
    polling = LongPolling(Webhook(), update_log, queue)
    now = time.time()
    for update_id in (1, 2, 3, 4):
        row = UpdateRow(
            update_id=update_id,
            kind="message",
            user_id=7,
            chat_id=7,
            title="hello",
            sent_at=now,
        )
        update_log.record(row, b"{}")
        expires_at = now - 1 if update_id < 4 else now + 60
        queue.append(PendingUpdate(update_id, 7, b"%d" % update_id, expires_at))
    given = await polling.get_updates({"limit": 1})
    assert [bytes(each) for each in given] == [b"4"]
    assert [row.state for row in update_log.rows(4)] == ["dropped"] * 3 + ["in_flight"]
    assert len(queue) == 1


async def test_a_webhook_excludes_polling(simulator: Simulator, bot: Bot) -> None:
    simulator.set_webhook("http://127.0.0.1:9/")
    answer = await bot.call("getUpdates")
    assert answer["error_code"] == 409
    assert answer["description"] == (
        "Conflict: can't use getUpdates method while webhook is active; "
        "use deleteWebhook to delete the webhook first"
    )
    await bot.result("deleteWebhook")
    assert await bot.result("getUpdates") == []
