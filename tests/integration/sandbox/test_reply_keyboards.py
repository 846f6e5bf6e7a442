"""Keyboards in the place of letters, forced replies and answers in the simulator."""

from gateway.sandbox.server import Simulator
from tests.integration.sandbox.bot import Bot

KEYBOARD = {"keyboard": [["Tea"], [{"text": "Coffee"}]], "resize_keyboard": True}


async def test_a_keyboard_stays_until_it_is_taken_away(
    simulator: Simulator, bot: Bot
) -> None:
    """A page that is opened later shows it too; it is no part of its message."""
    message = await bot.result(
        "sendMessage", chat_id=1001, text="?", reply_markup=KEYBOARD
    )
    assert "reply_markup" not in message
    asked = {"message_id": message["message_id"], "markup": KEYBOARD}
    assert simulator.snapshot()["asked"] == {"1001": asked}
    await simulator.user_actions.say(1001, "Tea")
    await bot.result("sendMessage", chat_id=1001, text="ok")
    assert simulator.snapshot()["asked"] == {"1001": asked}
    gone = {"remove_keyboard": True}
    await bot.result("sendMessage", chat_id=1001, text="bye", reply_markup=gone)
    assert simulator.snapshot()["asked"] == {}


async def test_an_answer_settles_what_was_asked_once(
    simulator: Simulator, bot: Bot
) -> None:
    """A forced reply, and a keyboard for one press."""
    for markup in ({"force_reply": True}, KEYBOARD | {"one_time_keyboard": True}):
        await bot.result("sendMessage", chat_id=1001, text="?", reply_markup=markup)
        assert simulator.snapshot()["asked"]
        await simulator.user_actions.say(1001, "Tea")
        assert simulator.snapshot()["asked"] == {}


async def test_an_answer_shows_what_it_answers(simulator: Simulator, bot: Bot) -> None:
    """One level of it, for the bot and for users; what is gone is not shown."""
    said = await simulator.user_actions.say(1001, "hello")
    reply = {"message_id": said["message_id"]}
    message = await bot.result(
        "sendMessage", chat_id=1001, text="hi", reply_parameters=reply
    )
    assert message["reply_to_message"]["text"] == "hello"
    await simulator.user_actions.say(1001, "and?", reply_to=message["message_id"])
    newest = simulator.messages(1001)[-1]
    assert newest["reply_to_message"]["text"] == "hi"
    assert "reply_to_message" not in newest["reply_to_message"]
    patient = {"message_id": 777, "allow_sending_without_reply": True}
    message = await bot.result(
        "sendMessage", chat_id=1001, text="hi", reply_parameters=patient
    )
    assert "reply_to_message" not in message


async def test_options_show_in_the_message(bot: Bot) -> None:
    """As Telegram's Message object has them."""
    message = await bot.result(
        "sendMessage",
        chat_id=1001,
        text="hi",
        message_thread_id=3,
        business_connection_id="b",
        protect_content=True,
        link_preview_options={"is_disabled": True},
    )
    expected = {
        "message_thread_id": 3,
        "is_topic_message": True,
        "business_connection_id": "b",
        "has_protected_content": True,
        "link_preview_options": {"is_disabled": True},
    }
    assert expected.items() <= message.items()
