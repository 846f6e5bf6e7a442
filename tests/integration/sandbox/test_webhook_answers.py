"""A method call in the webhook's answer is carried out, and nobody hears of it."""

import json
from typing import Any

import pytest
from aiohttp import web

from gateway.sandbox.server import Simulator
from gateway.sandbox.simulator.delivery.webhook_sender import (
    MAX_RESPONSE_BYTES,
    DeliveryTiming,
)
from tests.integration.sandbox.bot import TOKEN
from tests.integration.sandbox.receiver import Receiver
from tests.support.waiting import wait_until

REPLY = {"method": "sendMessage", "chat_id": 1001, "text": "from the answer"}
FORM = (
    '--x\r\nContent-Disposition: form-data; name="method"\r\n\r\nSENDmessage\r\n'
    '--x\r\nContent-Disposition: form-data; name="chat_id"\r\n\r\n1001\r\n'
    '--x\r\nContent-Disposition: form-data; name="text"\r\n\r\nfrom the answer\r\n'
    "--x--\r\n"
)


async def answered(simulator: Simulator, *answers: web.Response) -> None:
    """Let a user write as often as there are answers, and give them."""
    given = iter(answers)
    receiver = Receiver()
    receiver.answer = lambda _: next(given)
    async with simulator.serve(), receiver.serving():
        simulator.set_webhook(receiver.url)
        for _ in answers:
            await simulator.user_actions.say(1001, "hello")
        await wait_until(lambda: simulator.webhook["pending_update_count"] == 0)
    assert len(receiver.arrived) == len(answers)


def texts(simulator: Simulator) -> list[str]:
    """Return what the bot said."""
    messages = simulator.messages(1001)
    return [each["text"] for each in messages if each["from"]["is_bot"]]


def body(content: object, content_type: str = "application/json") -> web.Response:
    """Make an answer."""
    text = content if isinstance(content, str) else json.dumps(content)
    return web.Response(body=text.encode(), headers={"Content-Type": content_type})


@pytest.mark.parametrize(
    "answer",
    [
        body(REPLY),
        body(REPLY, "application/json; charset=utf-8"),
        body(
            "method=sendmessage&chat_id=1001&text=from+the+answer",
            "application/x-www-form-urlencoded",
        ),
        body(FORM, "multipart/form-data; boundary=x"),
    ],
)
async def test_a_call_in_an_answer_is_carried_out(answer: web.Response) -> None:
    simulator = Simulator(TOKEN)
    await answered(simulator, answer)
    assert texts(simulator) == ["from the answer"]
    (sent,) = simulator.sent
    assert (sent.method, sent.status) == ("sendMessage", 200)
    assert "method" not in sent.parameters


@pytest.mark.parametrize(
    "answer",
    [
        body(REPLY, "text/plain"),
        body("{", "application/json"),
        body("[]", "application/json"),
        body("no form", "multipart/form-data"),
        body({"ok": True}),
        body(""),
        *(
            body({"method": method, "url": "http://127.0.0.1:1/"})
            for method in ("getMe", "getUpdates", "setWebhook", "deleteWebhook")
        ),
    ],
)
async def test_an_answer_without_such_a_call_is_an_answer(answer: web.Response) -> None:
    """Unreadable ones and forbidden methods too: the update was taken."""
    simulator = Simulator(TOKEN)
    await answered(simulator, answer)
    assert simulator.sent == []
    assert simulator.webhook["url"]


async def test_a_call_that_fails_is_seen_in_the_list_only() -> None:
    """It is not repeated, and neither is the update."""
    simulator = Simulator(TOKEN)
    simulator.fail("sendMessage", 429, retry_after=1)
    unknown: dict[str, Any] = {"method": "closeForumTopic"}
    answers = (body(REPLY), body(REPLY | {"text": ""}), body(unknown), body(REPLY))
    await answered(simulator, *answers)
    assert [sent.status for sent in simulator.sent] == [429, 400, 404, 200]
    assert texts(simulator) == ["from the answer"]


async def test_too_large_an_answer_counts_as_a_failure() -> None:
    """Of JSON and forms; other types may be larger."""
    simulator = Simulator(TOKEN, delivery_timing=DeliveryTiming(scale=0))
    large = REPLY | {"padding": "x" * MAX_RESPONSE_BYTES}
    receiver = Receiver()
    given = iter((body(large), body(large, "text/plain")))
    receiver.answer = lambda _: next(given)
    async with simulator.serve(), receiver.serving():
        simulator.set_webhook(receiver.url)
        await simulator.user_actions.say(1001, "hello")
        await wait_until(lambda: simulator.webhook["pending_update_count"] == 0)
    assert len(receiver.arrived) == 2
    assert simulator.sent == []
