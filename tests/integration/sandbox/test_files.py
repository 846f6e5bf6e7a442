"""Files of the simulator: kept, given to the bot and the page, and sent as albums."""

from typing import Any

import pytest

from gateway.sandbox.server import Simulator
from gateway.sandbox.simulator.state import files as module
from tests.integration.sandbox.bot import TOKEN, Bot


async def download(bot: Bot, path: str, **headers: str) -> tuple[int, bytes]:
    """Get a file; gives status and content."""
    async with bot.session.get(f"{bot.url}{path}", headers=headers) as response:
        return response.status, await response.read()


async def place(bot: Bot, file_id: str) -> str:
    """Ask where a file lies."""
    found = await bot.result("getFile", file_id=file_id)
    assert found["file_id"] == file_id
    return f"/file/bot{TOKEN}/{found['file_path']}"


@pytest.mark.parametrize("kind", ["photo", "document", "voice", "video", "sticker"])
async def test_what_a_user_attached_can_be_read(
    simulator: Simulator, bot: Bot, kind: str
) -> None:
    """In the size that was told, by the bot and by the page."""
    await simulator.user_actions.attach(1001, kind)
    (message,) = simulator.messages(1001)
    for file in message[kind] if kind == "photo" else [message[kind]]:
        status, content = await download(bot, await place(bot, file["file_id"]))
        assert (status, len(content)) == (200, file["file_size"])
        assert await download(bot, f"/files/{file['file_id']}") == (200, content)


async def test_a_part_of_a_file_can_be_read(simulator: Simulator, bot: Bot) -> None:
    path = await place(bot, simulator.files.store(b"0123456789"))
    for part, expected in (
        ("bytes=2-4", (206, b"234")),
        ("bytes=-3", (206, b"789")),
        ("bytes=8-", (206, b"89")),
        ("bytes=10-", (416, b"")),
        ("bytes=x", (200, b"0123456789")),
    ):
        assert await download(bot, path, Range=part) == expected


async def test_only_who_has_the_token_gets_a_file_as_the_bot(
    simulator: Simulator, bot: Bot
) -> None:
    """And there is no file that nobody sent."""
    path = await place(bot, simulator.files.store(b"x"))
    assert (await download(bot, path.replace(TOKEN, "1:no")))[0] == 401
    assert (await download(bot, path + "y"))[0] == 200  # the ending is for people
    assert (await download(bot, f"/file/bot{TOKEN}/files/none.jpg"))[0] == 404
    assert (await download(bot, "/files/none"))[0] == 404


async def test_get_file_refuses_what_telegram_refuses(
    simulator: Simulator, bot: Bot
) -> None:
    large = simulator.files.store(bytes(module.MAX_DOWNLOAD_BYTES + 1))
    for given, words in (
        ({}, "file_id not specified"),
        ({"file_id": "none"}, "invalid file_id"),
        ({"file_id": large}, "file is too big"),
    ):
        assert await bot.error("getFile", **given) == f"Bad Request: {words}"


async def test_the_oldest_uploads_go_first(
    simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is room for so many bytes."""
    monkeypatch.setattr(module, "MAX_STORED_BYTES", 10)
    first, second = (simulator.files.store(b"12345") for _ in range(2))
    simulator.files.store(b"54321", second)
    assert simulator.files.get_file({"file_id": first})
    simulator.files.store(b"1")
    with pytest.raises(Exception, match="invalid file_id"):
        simulator.files.get_file({"file_id": first})
    assert simulator.files.get_file({"file_id": second})


def items(*kinds: str) -> list[dict[str, Any]]:
    """Make the media of an album."""
    return [{"type": kind, "media": f"{kind}-{n}"} for n, kind in enumerate(kinds)]


async def test_an_album_shows_as_its_messages(simulator: Simulator, bot: Bot) -> None:
    """One for each file, with one id in common."""
    media = items("photo", "video")
    media[0] |= {"caption": "<b>We</b>", "parse_mode": "HTML"}
    sent = await bot.result("sendMediaGroup", chat_id=7, media=media)
    assert sent == simulator.messages(7)
    assert [message.get("caption") for message in sent] == ["We", None]
    assert sent[0]["photo"][0]["file_id"] == "photo-0"
    assert sent[1]["video"]["file_id"] == "video-1"
    assert len({message["media_group_id"] for message in sent}) == 1


@pytest.mark.parametrize(
    ("media", "words"),
    [
        (None, "expected an Array of InputMedia"),
        ([], "too few messages to send as an album"),
        (items("photo"), "too few messages to send as an album"),
        (items(*["photo"] * 11), "too many messages to send as an album"),
        (["a", "b"], "can't parse InputMedia: expected an Object"),
        (
            items("photo", "voice"),
            "can't parse InputMedia: type \"voice\" can't be used in sendMediaGroup",
        ),
        (items("photo", "document"), "document can't be mixed with other media types"),
        (items("audio", "document"), "audio can't be mixed with other media types"),
        ([{"type": "photo"}] * 2, "there is no photo in the request"),
        (
            [{"type": "photo", "media": "a", "caption": "x" * 1025}] * 2,
            "message caption is too long",
        ),
    ],
)
async def test_what_is_no_album_is_refused(
    simulator: Simulator, bot: Bot, media: object, words: str
) -> None:
    error = await bot.error("sendMediaGroup", chat_id=7, media=media)
    assert error.startswith(f"Bad Request: {words}")
    assert not simulator.messages(7)


async def test_an_album_has_no_buttons(bot: Bot) -> None:
    """Nobody would see them."""
    keyboard = {"inline_keyboard": [[{"text": "A", "callback_data": "a"}]]}
    media = items("photo", "photo")
    assert await bot.error(
        "sendMediaGroup", chat_id=7, media=media, reply_markup=keyboard
    )
