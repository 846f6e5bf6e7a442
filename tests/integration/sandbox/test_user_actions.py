"""What users do, and what the bot gets of it."""

from collections.abc import Awaitable
from typing import Any

import msgspec
import pytest

from gateway.sandbox.server import Simulator
from gateway.sandbox.simulator.actions.message_builder import InvalidInput
from gateway.sandbox.simulator.actions.user_actions import UserActions
from gateway.sandbox.simulator.faults.persistent import FaultSettings
from tests.integration.sandbox.bot import TOKEN, Bot

ADA = {
    "id": 1001,
    "is_bot": False,
    "first_name": "Ada",
    "last_name": "Lovelace",
    "username": "ada",
    "language_code": "en",
}


@pytest.fixture
def actions(simulator: Simulator) -> UserActions:
    """The users' side of the simulator."""
    return simulator.user_actions


def update(simulator: Simulator, update_id: int) -> dict[str, Any]:
    """Return an update as it is delivered."""
    entry = simulator.update_log.find(update_id)
    assert entry
    assert entry.update
    decoded: dict[str, Any] = msgspec.json.decode(entry.update)
    return decoded


def newest(simulator: Simulator) -> dict[str, Any]:
    """Return the newest update."""
    return update(simulator, simulator.update_log.rows(1)[0].update_id)


async def test_what_a_user_says_is_a_message_and_an_update(
    simulator: Simulator, actions: UserActions
) -> None:
    """Both hold the same Message object, in the private chat."""
    said = await actions.say(1001, "  hello ")
    (message,) = simulator.messages(1001)
    assert update(simulator, said["update_id"]) == {
        "update_id": said["update_id"],
        "message": message,
    }
    assert message["message_id"] == said["message_id"]
    assert message["text"] == "hello"
    assert message["from"] == ADA
    chat = {name: ADA[name] for name in ("id", "first_name", "last_name", "username")}
    assert message["chat"] == chat | {"type": "private"}
    assert "entities" not in message


async def test_users_and_the_bot_share_one_counter(
    simulator: Simulator, actions: UserActions, bot: Bot
) -> None:
    """Their messages lie in one chat, in the order in which they were sent."""
    await actions.say(1001, "one")
    await bot.result("sendMessage", chat_id=1001, text="two")
    await actions.say(1001, "three")
    shown = [(each["message_id"], each["text"]) for each in simulator.messages(1001)]
    assert shown == [(1, "one"), (2, "two"), (3, "three")]
    assert "#1  Ada: one\n\n#2  two\n" in await bot.page("/chats/1001")


@pytest.mark.parametrize(
    ("text", "marks"),
    [
        ("/start payload", [(0, 6)]),
        ("😀 /help@my_bot, /x", [(3, 12), (17, 2)]),
        ("a/b http://x/y </b>", []),
        ("/é", []),
    ],
)
async def test_commands_are_marked(
    simulator: Simulator, actions: UserActions, text: str, marks: list[tuple[int, int]]
) -> None:
    """In UTF-16 units, wherever they stand in the text."""
    await actions.say(1001, text)
    entities = newest(simulator)["message"].get("entities", [])
    assert [(each["offset"], each["length"]) for each in entities] == marks
    assert {each["type"] for each in entities} <= {"bot_command"}


async def test_a_user_can_write_in_a_group(
    simulator: Simulator, actions: UserActions
) -> None:
    await actions.say(1001, "hello", chat=-1001234567890)
    message = newest(simulator)["message"]
    assert message["chat"]["type"] == "supergroup"
    assert simulator.messages(-1001234567890) == [message]


async def test_a_press_holds_the_message_and_ends_with_its_answer(
    simulator: Simulator, actions: UserActions, bot: Bot
) -> None:
    """A second answer is refused: the spinner has ended."""
    markup = {"inline_keyboard": [[{"text": "Go", "callback_data": "GO:1"}]]}
    message = await bot.result(
        "sendMessage", chat_id=1001, text="Well?", reply_markup=markup
    )
    pressed = await actions.press(1001, 1001, message["message_id"], "GO:1")
    query = update(simulator, pressed["update_id"])["callback_query"]
    assert query["id"] == pressed["callback_query_id"]
    assert (query["from"], query["message"], query["data"]) == (ADA, message, "GO:1")
    answer = {"callback_query_id": query["id"], "text": "Done"}
    await bot.result("answerCallbackQuery", **answer)
    error = await bot.error("answerCallbackQuery", **answer)
    assert error.startswith("Bad Request: query is too old")
    assert simulator.answers == [answer]


@pytest.mark.parametrize(
    "kind", ["photo", "document", "voice", "video", "sticker", "location", "contact"]
)
async def test_attachments_are_telegrams_objects(
    simulator: Simulator, actions: UserActions, kind: str
) -> None:
    """Files with an id of their own, and a caption where Telegram has one."""
    captioned = kind in {"photo", "document", "voice", "video"}
    await actions.attach(1001, kind, "Look" if captioned else "")
    await actions.attach(1001, kind)
    first, second = simulator.messages(1001)
    assert first.get("caption") == ("Look" if captioned else None)
    assert "caption" not in second
    if kind not in {"location", "contact"}:
        files = [
            each[kind][-1] if kind == "photo" else each[kind]
            for each in (first, second)
        ]
        assert files[0]["file_id"] != files[1]["file_id"]
    assert newest(simulator)["message"] == second


async def test_an_album_is_a_message_for_each_photo(
    simulator: Simulator, actions: UserActions
) -> None:
    """Nothing but the group's id holds them together."""
    sent = await actions.album(1001, 3)
    photos = [update(simulator, each)["message"] for each in sent["update_ids"]]
    assert [photo["message_id"] for photo in photos] == sent["message_ids"]
    assert len({photo["media_group_id"] for photo in photos}) == 1
    await actions.album(1001, 2)
    assert newest(simulator)["message"]["media_group_id"] != photos[0]["media_group_id"]


async def test_a_burst_is_many_messages_at_once(
    simulator: Simulator, actions: UserActions
) -> None:
    sent = await actions.burst(1001, 120)
    assert len(set(sent["update_ids"])) == 120
    texts = [message["text"] for message in simulator.messages(1001)]
    assert texts == [f"Message {number}" for number in range(1, 121)]
    await actions.burst(1002, 2, "/profile")
    texts = [message["text"] for message in simulator.messages(1002)]
    assert texts == ["/profile", "/profile"]


async def test_a_block_is_told_once_and_felt(
    simulator: Simulator, actions: UserActions, bot: Bot
) -> None:
    """The bot hears of it, and cannot write until it is unblocked."""
    blocked = await actions.block(1001, blocked=True)
    change = update(simulator, blocked["update_id"])["my_chat_member"]
    assert change["from"] == ADA
    assert change["old_chat_member"]["status"] == "member"
    assert change["new_chat_member"]["status"] == "kicked"
    assert change["new_chat_member"]["user"]["username"] == "marmot_desk_bot"
    assert await actions.block(1001, blocked=True) == {"update_id": None}
    error = await bot.error("sendMessage", chat_id=1001, text="x")
    assert error == "Forbidden: bot was blocked by the user"
    with pytest.raises(InvalidInput, match="Ada blocked the bot"):
        await actions.say(1001, "hello")
    back = await actions.block(1001, blocked=False)
    change = update(simulator, back["update_id"])["my_chat_member"]
    assert change["new_chat_member"]["status"] == "member"
    await bot.result("sendMessage", chat_id=1001, text="x")


async def test_there_are_three_users_and_can_be_more() -> None:
    """A new one can talk at once; there is an end to it."""
    simulator = Simulator(TOKEN, max_users=4)
    actions = simulator.user_actions
    assert len(simulator.snapshot()["users"]) == 3
    user = await actions.add_user(" Zoë ", "pt-br")
    assert user == {
        "id": 1004,
        "first_name": "Zoë",
        "language_code": "pt-br",
        "blocked": False,
    }
    await actions.say(1004, "olá")
    assert newest(simulator)["message"]["from"]["first_name"] == "Zoë"
    with pytest.raises(InvalidInput, match="enough users"):
        await actions.add_user("Yet another")


async def test_a_user_can_take_the_place_of_another(
    simulator: Simulator, actions: UserActions
) -> None:
    """The id stays; name and language are new, and the bot is not blocked."""
    await actions.block(1001, blocked=True)
    user = await actions.add_user("Adèle", "fr", 1001)
    assert user["blocked"] is False
    assert user in simulator.snapshot()["users"]
    assert len(simulator.snapshot()["users"]) == 3
    await actions.say(1001, "salut")
    assert newest(simulator)["message"]["from"]["language_code"] == "fr"


async def test_an_update_that_the_bot_does_not_want_has_no_number(
    simulator: Simulator, actions: UserActions, bot: Bot
) -> None:
    await bot.result("getUpdates", allowed_updates=["callback_query"])
    said = await actions.say(1001, "hello")
    assert said["update_id"] is None
    assert len(simulator.messages(1001)) == 1
    assert simulator.update_log.total == 0


async def test_what_cannot_be_done_is_one_clear_line(
    simulator: Simulator, actions: UserActions, bot: Bot
) -> None:
    """And leaves no message, update or fault behind."""
    await bot.result("sendMessage", chat_id=1001, text="x")
    cases: list[Awaitable[object]] = [
        actions.say(7, "hello"),
        actions.say(1001, " "),
        actions.say(1001, "x" * 4097),
        actions.say(1001, "hello", chat=1002),
        actions.say(1001, "hello", chat=0),
        actions.press(1001, 1001, 99, "x"),
        actions.press(1001, 1001, 1, ""),
        actions.press(1001, 1001, 1, "é" * 33),
        actions.press(1001, 1002, 1, "x"),
        actions.attach(1001, "house"),
        actions.attach(1001, "sticker", "Look"),
        actions.attach(1001, "photo", "x" * 1025),
        actions.album(1001, 1),
        actions.album(1001, 11),
        actions.burst(1001, 0),
        actions.burst(1001, 10_001),
        actions.block(7, blocked=True),
        actions.add_user(" "),
        actions.add_user("x" * 65),
        actions.add_user("Zoe", "not a tag"),
        actions.fault("earthquake", FaultSettings()),
        actions.fault("flood", FaultSettings(retry_after=0)),
        actions.fault("slow", FaultSettings(delay=301)),
        actions.fault("server_error", FaultSettings(status=404)),
    ]
    for case in cases:
        with pytest.raises(InvalidInput) as caught:
            await case
        assert "\n" not in str(caught.value)
    assert simulator.update_log.total == 0
    assert len(simulator.messages(1001)) == 1
    assert not any(fault["on"] for fault in simulator.snapshot()["faults"])
