"""What users and Telegram see: the table in `docs/explanation/guarantees.md`."""

import asyncio
import json
from collections.abc import Callable, Sequence

import grpc
import pytest
from botgateway.chat.v1.reply_pb2 import OutgoingMessage, Reply

from gateway.actors.replies.user_notices import (
    RATE_LIMITED_TEXT,
    UNKNOWN_COMMAND_TEXT,
)
from gateway.domain.bot_api_call import BotApiCall
from gateway.domain.errors import APOLOGY_TEXT
from gateway.domain.update import Update
from gateway.telegram.outbound.renderer import render
from tests.factories import build_button_press_json
from tests.support.backend import gate
from tests.support.gateway_harness import SECRET, GatewayHarness, running_gateway
from tests.support.waiting import wait_until


async def test_a_message_is_answered_by_its_service(gateway: GatewayHarness) -> None:
    """The text reaches the conversation, its reply the chat."""
    await gateway.say("hi")
    await wait_until(lambda: gateway.texts() == ["echo: hi"])
    (request,) = gateway.backend.asked("SendMessage")
    assert request.message.text == "hi"
    assert request.context.telegram_user_id == 7
    assert request.context.internal_user_id == "u-7"
    assert request.context.request_id == "7400000001-1001"


@pytest.mark.parametrize("secret", [None, "", "wrong", "cänary"])
async def test_a_wrong_secret_gets_200_and_nothing_else(
    gateway: GatewayHarness, secret: str | None
) -> None:
    """A warning in the log, and no call anywhere."""
    await gateway.post(b'{"update_id": 1, "message": {}}', secret=secret)
    _, page = await gateway.get("/metrics", ops=True)
    assert (
        'gateway_updates_total{outcome="forbidden",route="",update_type="unknown"} 1.0'
        in page
    )
    assert gateway.backend.calls == []
    assert any(
        line["level"] == "warning" and line["logger"] == "gateway.telegram.webhook"
        for line in gateway.log()
    )


@pytest.mark.parametrize("secret", [SECRET, "wrong"])
async def test_a_flood_of_strangers_is_few_lines(
    gateway: GatewayHarness, secret: str
) -> None:
    """All are counted in the metrics; the log has the first one at once."""
    started = len(gateway.log())
    await asyncio.gather(*(gateway.post(b"{", secret=secret) for _ in range(300)))
    _, page = await gateway.get("/metrics", ops=True)
    outcome = "malformed" if secret == SECRET else "forbidden"
    labels = f'outcome="{outcome}",route="",update_type="unknown"'
    assert f"gateway_updates_total{{{labels}}} 300" in page
    # One line a second, and these took no minute.
    assert 1 <= len(gateway.log()) - started < 60


async def test_malformed_json_gets_200_and_becomes_a_dead_letter(
    gateway: GatewayHarness,
) -> None:
    """An error in the log, and a dead letter."""
    await gateway.post(b'{"update_id": ')
    assert any(line["level"] == "error" for line in gateway.log())
    _, page = await gateway.get("/metrics", ops=True)
    assert (
        'gateway_updates_total{outcome="malformed",route="",update_type="unknown"} 1.0'
        in page
    )
    assert "gateway_rejected_bodies 1.0" in page
    assert "gateway_dead_letters 0.0" in page


async def test_button_data_that_is_not_utf8_is_answered_and_limited() -> None:
    """Any client can send it, and a Bot API server passes it on byte by byte."""
    query = build_button_press_json("odd: ?")
    async with running_gateway(rate_limit_requests=1, rate_limit_window=60) as gateway:
        for number in (1, 2, 3):
            body = json.dumps({"update_id": number, "callback_query": query}).encode()
            await gateway.post(body.replace(b"?", b"\xff\xc3("))
        await gateway.ended(3)
        assert gateway.outcomes() == ["unknown", "limited", "limited"]
        assert gateway.answers() == [UNKNOWN_COMMAND_TEXT, RATE_LIMITED_TEXT, ""]
        assert not any(line["level"] == "error" for line in gateway.log())
        _, page = await gateway.get("/metrics", ops=True)
        assert "gateway_dead_letters 0.0" in page


async def test_a_flood_is_told_once_to_slow_down() -> None:
    """Everything is acknowledged; the notice comes once per window."""
    async with running_gateway(rate_limit_requests=1, rate_limit_window=60) as gateway:
        for n in range(5):
            await gateway.say(str(n))
        await gateway.ended(5)
        assert gateway.texts() == ["echo: 0", RATE_LIMITED_TEXT]
        assert gateway.outcomes() == ["done"] + ["limited"] * 4
        await gateway.press("CONNECT:1", user=8)
        await gateway.press("CONNECT:2", user=8)
        await gateway.ended(7)
        assert gateway.answers() == ["", RATE_LIMITED_TEXT]


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (grpc.StatusCode.UNAVAILABLE, "service_unavailable"),
        (grpc.StatusCode.INTERNAL, "service_failed"),
        (grpc.StatusCode.NOT_FOUND, "service_failed"),
    ],
)
async def test_a_failing_service_earns_an_apology(
    gateway: GatewayHarness, status: grpc.StatusCode, outcome: str
) -> None:
    """The user reads it in the chat, or as the answer to the press."""
    gateway.backend.status = {"SendMessage": status, "Skip": status}
    await gateway.say("hi")
    await gateway.press("SKIP:9")
    await gateway.ended(2)
    assert gateway.texts() == [APOLOGY_TEXT]
    assert gateway.answers() == [APOLOGY_TEXT]
    assert gateway.outcomes() == [outcome, outcome]


async def test_a_slow_service_earns_an_apology_at_its_deadline() -> None:
    """The deadline ends the call, and the user's next update goes on."""
    async with running_gateway(service_seconds=2) as gateway:
        gate(gateway.backend, asyncio.Event(), {7})
        await gateway.say("slow")
        await wait_until(lambda: gateway.backend.asked("SendMessage"))
        gateway.backend.answer = gateway.backend.echo
        await gateway.say("next")
        await gateway.ended(2)
        assert gateway.outcomes() == ["service_timeout", "done"]
        assert gateway.texts() == [APOLOGY_TEXT, "echo: next"]


async def test_a_failing_bot_api_delays_the_reply(gateway: GatewayHarness) -> None:
    """And the user's next one behind it; the service is asked once for each."""
    gateway.simulator.fail("sendMessage", 500, times=2)
    await gateway.say("late")
    await gateway.say("next")
    await gateway.ended(2)
    sent = [call for call in gateway.simulator.sent if call.method == "sendMessage"]
    assert [call.status for call in sent] == [500, 500, 200, 200]
    assert gateway.texts() == ["echo: late", "echo: next"]
    assert gateway.outcomes() == ["done", "done"]
    assert len(gateway.backend.asked("SendMessage")) == 2


async def test_an_unknown_fate_of_a_message_costs_the_reply(
    gateway: GatewayHarness,
) -> None:
    """An error in the log, no second message, and the update stays done."""
    gateway.simulator.fail("sendMessage", 502)
    await gateway.say("lost")
    await gateway.ended(1)
    await gateway.say("kept")
    await gateway.ended(2)
    assert gateway.texts() == ["echo: kept"]
    assert gateway.outcomes() == ["send_failed", "done"]
    assert len(gateway.backend.asked("SendMessage")) == 2
    assert any(line["message"] == "reply_not_sent" for line in gateway.log())


async def test_a_fault_of_our_own_is_apologised_for(
    gateway: GatewayHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is logged with its request id, dead-lettered, and the next update goes on."""

    def crash_on_boom(
        update: Update, reply: Reply, report: Callable[[str], None], **how: bool
    ) -> Sequence[BotApiCall]:
        if "boom" in str(reply):
            raise ZeroDivisionError("boom")
        return render(update, reply, report, **how)

    monkeypatch.setattr("gateway.telegram.messenger.render", crash_on_boom)
    await gateway.say("boom")
    await gateway.say("next")
    await gateway.ended(2)
    assert gateway.outcomes() == ["crashed", "done"]
    assert gateway.texts() == [APOLOGY_TEXT, "echo: next"]
    (line,) = [line for line in gateway.log() if line["message"] == "update_crashed"]
    assert line["request_id"] == "7400000001-1001"
    assert line["error"].startswith("ZeroDivisionError")
    assert "boom" not in str(gateway.log()).replace("crash_on_boom", "")
    _, page = await gateway.get("/metrics", ops=True)
    assert "gateway_dead_letters 1.0" in page


async def test_a_reply_ends_the_session(gateway: GatewayHarness) -> None:
    """The user is resolved again with the next update, not after a day."""

    async def answer(rpc: str, request: object) -> Reply:
        ends = rpc == "Start"
        return Reply(messages=[OutgoingMessage(text="Bye")], end_session=ends)

    gateway.backend.answer = answer
    for number, text in enumerate(("/profile", "/start", "/profile"), 1):
        await gateway.say(text)
        await gateway.ended(number)
    first, second = gateway.backend.asked("ResolveUser")
    assert first.context.request_id != second.context.request_id
    assert gateway.texts() == ["Bye"] * 3


async def test_an_unknown_command_or_button_gets_a_hint(
    gateway: GatewayHarness,
) -> None:
    """A short pointer to /help; the spinner ends."""
    await gateway.say("/nope")
    await gateway.press("NOPE:1")
    await gateway.ended(2)
    assert gateway.texts() == [UNKNOWN_COMMAND_TEXT]
    assert gateway.answers() == [UNKNOWN_COMMAND_TEXT]
    assert gateway.outcomes() == ["unknown", "unknown"]


async def test_help_is_made_from_the_routes(gateway: GatewayHarness) -> None:
    """It names the commands that have a description, as the menu does."""
    await gateway.say("/help")
    await gateway.ended(1)
    (text,) = gateway.texts()
    for command in ("/start", "/profile", "/notifications", "/help"):
        assert command in text
    await wait_until(
        lambda: any(call.method == "setMyCommands" for call in gateway.simulator.sent)
    )
    (menu,) = [c for c in gateway.simulator.sent if c.method == "setMyCommands"]
    names = [command["command"] for command in menu.parameters["commands"]]
    assert names == ["help", "notifications", "profile", "start"]


async def test_a_blocked_bot_is_reported(gateway: GatewayHarness) -> None:
    """The notification service hears that the user cannot be reached."""
    gateway.simulator.blocked.add(7)
    await gateway.say("hi")
    await gateway.ended(1)
    assert gateway.outcomes() == ["blocked"]
    (request,) = gateway.backend.asked("ReportReachability")
    assert request.context.telegram_user_id == 7


async def test_a_pressed_button_edits_its_message(gateway: GatewayHarness) -> None:
    """The answer comes first, the edit lands in place."""

    async def offer(rpc: str, request: object) -> Reply:
        if rpc == "Connect":
            return Reply(messages=[OutgoingMessage(text="connected", edit=True)])
        return Reply(messages=[OutgoingMessage(text="offer")])

    gateway.backend.answer = offer
    await gateway.say("match")
    await wait_until(lambda: gateway.texts() == ["offer"])
    await gateway.press("CONNECT:u-42")
    await wait_until(lambda: gateway.texts() == ["connected"])
    (request,) = gateway.backend.asked("Connect")
    assert request.target_user_id == "u-42"
    assert gateway.answers() == [""]
