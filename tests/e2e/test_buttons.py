"""Buttons of the whole gateway: named rpcs, long data, and what a restart leaves."""

from pathlib import Path
from typing import Any

from botgateway.chat.v1.reply_pb2 import (
    BUTTON_STYLE_DANGER,
    CallbackTarget,
    ForceReply,
    InlineKeyboard,
    InlineKeyboardButton,
    InlineKeyboardRow,
    OutgoingMessage,
    Reply,
    ReplyKeyboard,
    ReplyKeyboardButton,
    ReplyKeyboardRow,
)

from gateway.actors.replies.user_notices import UNKNOWN_COMMAND_TEXT
from tests.factories import build_button_press_json
from tests.support.gateway_harness import GatewayHarness, running_gateway
from tests.support.redis_servers import RedisServer
from tests.support.services.every_kind import EveryKind, every_kind

LONG = "directory:people/" + "0123456789" * 12


def proposing(gateway: GatewayHarness, button: InlineKeyboardButton) -> None:
    """Let every text be answered with a button."""

    async def answer(rpc: str, request: Any) -> Reply:  # noqa: ANN401 - any request
        if rpc != "SendMessage":
            return await gateway.backend.echo(rpc, request)
        keyboard = InlineKeyboard(rows=[InlineKeyboardRow(buttons=[button])])
        return Reply(messages=[OutgoingMessage(text="Meet?", inline_keyboard=keyboard)])

    gateway.backend.answer = answer


def data_of_newest(gateway: GatewayHarness, user: int = 7) -> str:
    """Return the data of the newest button in a chat."""
    message = gateway.simulator.messages(user)[-1]
    return str(message["reply_markup"]["inline_keyboard"][0][0]["callback_data"])


async def test_long_data_survives_a_restart(tmp_path: Path) -> None:
    """The press reaches its rpc by another process; nobody else's press does."""
    server = RedisServer(tmp_path, "--maxmemory-policy noeviction")
    server.start()
    settings: dict[str, Any] = {"redis_url": f"redis://127.0.0.1:{server.port}"}
    try:
        async with running_gateway(**settings) as first:
            proposing(
                first,
                InlineKeyboardButton(text="Connect", callback_data=f"CONNECT:{LONG}"),
            )
            await first.say("hello")
            await first.ended(1)
            key = data_of_newest(first)
            assert len(key.encode()) <= 64
        async with running_gateway(**settings) as second:
            await second.update(_press(key, user=7), update_id=3000)
            await second.update(_press(key, user=8), update_id=3001)
            await second.ended(2)
            (request,) = second.backend.asked("Connect")
            assert request.target_user_id == LONG
            assert request.context.telegram_user_id == 7
            assert sorted(second.outcomes()) == ["done", "unknown"]
            assert UNKNOWN_COMMAND_TEXT in second.answers()
            assert LONG not in str(second.log())
    finally:
        server.kill()


def _press(data: str, user: int) -> dict[str, Any]:
    query = build_button_press_json(data, user=user, query_id=f"q{user}")
    return {"callback_query": query}


async def test_only_a_button_of_the_gateway_calls_a_signed_route() -> None:
    """Not data that a client made up, nor that of a button of another chat."""
    service = EveryKind()
    async with running_gateway(further={every_kind(): service}) as gateway:
        long = "5" * 60
        for number, data in enumerate(("PAY:5", f"PAY:{long}", "LOOK:up"), 1):
            proposing(gateway, InlineKeyboardButton(text="Go", callback_data=data))
            await gateway.say("hello")
            await gateway.ended(number)
        signed, key, plain = (
            str(message["reply_markup"]["inline_keyboard"][0][0]["callback_data"])
            for message in gateway.simulator.messages(7)
        )
        assert signed.startswith("PAY:5~")
        assert len(key.encode()) <= 64
        assert plain == "LOOK:up"
        pressed = [signed, key, "PAY:5", f"{signed[:-1]}#", signed.replace("5", "6", 1)]
        for number, data in enumerate(pressed, 4):
            await gateway.press(data)
            await gateway.ended(number)
        await gateway.press(signed, user=8)
        await gateway.ended(9)
        assert gateway.outcomes()[3:] == ["done", "done", *["unknown"] * 4]
        assert [(name, asked.what) for name, asked in service.asked] == [
            ("Pay", "5"),
            ("Pay", long),
        ]
        assert [asked.query.data for _, asked in service.asked] == [
            "PAY:5",
            f"PAY:{long}",
        ]


async def test_a_button_names_an_rpc(gateway: GatewayHarness) -> None:
    """The gateway puts its data together, and reads it back."""
    call = CallbackTarget(
        method="MatchingService.Accept", parameters={"target_user_id": "u-1"}
    )
    button = InlineKeyboardButton(
        text="Accept", callback_target=call, style=BUTTON_STYLE_DANGER
    )
    proposing(gateway, button)
    await gateway.say("hello")
    await gateway.ended(1)
    assert data_of_newest(gateway) == "ACCEPT:u-1"
    await gateway.press("ACCEPT:u-1")
    await gateway.ended(2)
    (request,) = gateway.backend.asked("Accept")
    assert request.target_user_id == "u-1"


async def test_keyboards_and_answers_reach_the_user(gateway: GatewayHarness) -> None:
    """In the words of the Bot API; what cannot be shown is counted and logged."""
    rows = [
        ReplyKeyboardRow(
            buttons=[ReplyKeyboardButton(text="Tea"), ReplyKeyboardButton(text=" ")]
        )
    ]
    messages = [
        OutgoingMessage(text="Tea?", reply_keyboard=ReplyKeyboard(rows=rows)),
        OutgoingMessage(text="Name?", force_reply=ForceReply(), reply_to_message_id=5),
        OutgoingMessage(text="Bye", remove_keyboard=True, disable_notification=True),
    ]

    async def answer(rpc: str, request: Any) -> Reply:  # noqa: ANN401 - any request
        return Reply(messages=messages)

    gateway.backend.answer = answer
    await gateway.say("hello")
    await gateway.ended(1)
    calls = [sent.parameters for sent in gateway.simulator.sent]
    sent = [call for call in calls if "text" in call]
    assert [call.get("reply_markup") for call in sent] == [
        {"keyboard": [[{"text": "Tea"}]], "resize_keyboard": True},
        {"force_reply": True},
        {"remove_keyboard": True},
    ]
    assert sent[1]["reply_parameters"]["message_id"] == 5
    assert sent[2]["disable_notification"] is True
    dropped = [
        line["dropped_parts"] for line in gateway.log() if "dropped_parts" in line
    ]
    assert dropped == [{"button_without_text": 1}]
