"""A bot that manages others brings them in, and rotates their tokens (Bot API 9.6)."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.bots.editor import BotEditor
from gateway.domain.errors import BotApiError, ConfigurationError
from gateway.services.routing.route_table import build_route_table
from tests.e2e.many_bots import BOTS, Place, running_bots
from tests.support.bot_api import BotAtTelegram, make_token
from tests.support.bots import make_secret
from tests.support.services.samples import SAMPLE_SERVICES
from tests.support.waiting import wait_until

URL = "https://bot.example.com/webhook/telegram"
TABLE = build_route_table(SAMPLE_SERVICES)


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    """Yield a gateway whose bot "shop" manages others."""
    async with running_bots(tmp_path / "bots", ("shop", "news"), webhook_url=URL) as it:
        it.files.add("shop", BOTS["shop"], manages_bots_of=[7])
        await wait_until(lambda: "bots_changed" in str(it.gateway.log()))
        yield it


async def report(
    place: Place, bot: BotAtTelegram, owner_id: int = 7, update_id: int = 900
) -> None:
    """Report a bot to its manager, as Telegram does after a change."""
    managed = {"id": bot.bot_id, "is_bot": True, "first_name": "Brand"}
    managed["username"] = f"Brand_{bot.bot_id}_bot"
    owner = {"id": owner_id, "is_bot": False, "first_name": "Ada"}
    update = {"update_id": update_id, "managed_bot": {"user": owner, "bot": managed}}
    await place.gateway.post(
        json.dumps(update).encode(),
        secret=make_secret("shop"),
        path="/webhook/telegram/shop",
    )


async def test_a_managed_bot_is_served_without_a_person(place: Place) -> None:
    bot = place.telegram.add(make_token(104))
    await report(place, bot)
    await wait_until(lambda: bool(bot.webhook))
    assert bot.webhook["url"] == f"{URL}/brand_104_bot"
    await place.say("brand_104_bot", "hi", secret=bot.webhook["secret_token"])
    await wait_until(lambda: bot.texts(7) == ["echo: hi"])
    assert "AAkey" not in str(place.gateway.log())
    assert bot.webhook["secret_token"] not in str(place.gateway.log())


async def test_the_new_token_of_a_managed_bot_is_taken_up(place: Place) -> None:
    """Whoever replaced it, and without a lost reply."""
    bot = place.telegram.bots[BOTS["news"]]
    bot.webhook = {"url": f"{URL}/news"}
    bot.token += "-next"
    await place.say("news", "hi")
    await report(place, bot)
    await wait_until(lambda: place.texts("news") == ["echo: hi"])


async def test_a_command_replaces_the_token_of_a_managed_bot(place: Place) -> None:
    bot = place.telegram.bots[BOTS["news"]]
    before = bot.token
    editor = BotEditor(
        place.gateway.settings, TABLE, take_up_seconds=0, report=lambda _: None
    )
    await editor.replace_managed_token("news", "shop")
    assert bot.token != before
    await place.say("news", "hi")
    await wait_until(lambda: place.texts("news") == ["echo: hi"])


async def test_a_replaced_token_is_written_whatever_telegram_says_then(
    place: Place,
) -> None:
    """It replaces one that is revoked, and nobody else has it."""
    bot = place.telegram.bots[BOTS["news"]]
    refusal = {"ok": False, "error_code": 400, "description": "Bad Request: no"}
    for method in ("getMe", "getWebhookInfo"):
        bot.answers[method].append(refusal)
    editor = BotEditor(
        place.gateway.settings, TABLE, take_up_seconds=0, report=lambda _: None
    )
    with pytest.raises(BotApiError):
        await editor.replace_managed_token("news", "shop")
    file = place.files.path.parent / "news.token"
    assert file.read_text().strip() == bot.token
    await place.say("news", "hi")
    await wait_until(lambda: place.texts("news") == ["echo: hi"])


async def test_a_token_that_cannot_be_written_is_not_replaced(place: Place) -> None:
    bot = place.telegram.bots[BOTS["news"]]
    before = bot.token
    file = place.files.path.parent / "news.token"
    # No name is free for the file that takes its place: it would be too long.
    target = file.with_name("n" * 253)
    file.rename(target)
    file.symlink_to(target)
    editor = BotEditor(
        place.gateway.settings, TABLE, take_up_seconds=0, report=lambda _: None
    )
    with pytest.raises(ConfigurationError):
        await editor.replace_managed_token("news", "shop")
    assert bot.token == before


async def test_a_managed_bot_never_takes_the_files_of_another(place: Place) -> None:
    """Whoever makes a bot chooses its username."""
    directory = place.files.path.parent
    place.files.entries["news"]["token_file"] = "brand_104_bot.token"
    (directory / "brand_104_bot.token").write_text(make_token(BOTS["news"]))
    place.files.write()
    await report(place, place.telegram.add(make_token(104)))
    await wait_until(lambda: "managed_bot_not_added" in str(place.gateway.log()))
    token = (directory / "brand_104_bot.token").read_text()
    assert token == make_token(BOTS["news"])
    (directory / "brand_105_bot.token").write_text(make_token(BOTS["news"]))
    await report(place, place.telegram.add(make_token(105)), update_id=901)
    await wait_until(
        lambda: str(place.gateway.log()).count("managed_bot_not_added") == 2
    )
    token = (directory / "brand_105_bot.token").read_text()
    assert token == make_token(BOTS["news"])
    assert "brand_105" not in place.files.path.read_text()


async def test_the_bot_of_a_stranger_is_not_added(place: Place) -> None:
    """Anybody may make a bot and have it managed."""
    await report(place, place.telegram.add(make_token(104)), owner_id=8)
    await place.say("shop", "hi")
    await wait_until(lambda: place.texts("shop") == ["echo: hi"])
    await place.gateway.ended(2)
    assert "brand" not in place.files.path.read_text()


async def test_only_a_manager_brings_bots_in(place: Place) -> None:
    """Anybody may make a bot report others; the file says whose word counts."""
    place.files.add("shop", BOTS["shop"])
    changes = len(place.gateway.log())
    await wait_until(lambda: "bots_changed" in str(place.gateway.log()[changes:]))
    bot = place.telegram.add(make_token(104))
    await report(place, bot)
    await place.gateway.ended(1)
    assert place.gateway.outcomes() == ["unrouted"]
    assert "brand" not in place.files.path.read_text()


async def test_a_managed_bot_whose_token_is_not_given_is_told(place: Place) -> None:
    await report(place, BotAtTelegram(make_token(104)))
    await wait_until(lambda: "managed_bot_not_added" in str(place.gateway.log()))
    await place.say("shop", "hi")
    await wait_until(lambda: place.texts("shop") == ["echo: hi"])
