"""`telegram-gateway bots` beside a running gateway."""

from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest

from gateway.bots.editor import BotEditor
from gateway.config.settings import Settings
from gateway.domain.errors import BotApiError, ConfigurationError, InvalidBotToken
from gateway.services.routing.route_table import build_route_table
from tests.e2e.many_bots import BOTS, Place, running_bots
from tests.support.bot_api import make_token
from tests.support.bots import make_secret
from tests.support.process import run
from tests.support.services.samples import SAMPLE_SERVICES
from tests.support.waiting import wait_until

URL = "https://bot.example.com/webhook/telegram"
TABLE = build_route_table(SAMPLE_SERVICES)


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    """Yield a gateway with three bots, whose webhooks are set."""
    async with running_bots(tmp_path / "bots", webhook_url=URL) as running:
        for name, bot_id in BOTS.items():
            webhook = {"url": f"{URL}/{name}", "secret_token": make_secret(name)}
            running.telegram.bots[bot_id].webhook = webhook
        yield running


def edit(place: Place) -> BotEditor:
    """Return the editor of the gateway's bots, which need not wait for others."""
    return BotEditor(place.gateway.settings, TABLE, take_up_seconds=0, report=print)


async def deliver(place: Place, bot: str, text: str) -> None:
    """Post a message as Telegram does now."""
    webhook = place.telegram.bots[BOTS[bot]].webhook
    await place.say(bot, text, secret=webhook["secret_token"])


async def test_a_rotated_secret_loses_nothing(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    """The gateway accepts the new one before Telegram has it, and then both."""
    secrets = [make_secret("shop")]
    for number in range(5):
        await edit(place).rotate_secret("shop")
        secrets.append(place.telegram.bots[BOTS["shop"]].webhook["secret_token"])
        await deliver(place, "shop", f"new {number}")
        await place.say("shop", f"late {number}", secret=secrets[-2])
    await wait_until(lambda: len(place.texts("shop")) == 10)
    assert len(set(secrets)) == 6
    assert "webhook_secret_invalid" not in str(place.gateway.log())
    told = capsys.readouterr().out
    assert "shop: wrote a new webhook secret to" in told
    assert f"shop: webhook set to {URL}/shop" in told
    assert not [secret for secret in secrets if secret in told]


async def test_a_failed_rotation_goes_on_with_its_secret(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    """A second new secret would displace the one that Telegram still uses."""
    old = make_secret("shop")
    refusal = {"ok": False, "error_code": 400, "description": "Bad Request: no"}
    for _ in range(2):
        place.telegram.bots[BOTS["shop"]].answers["setWebhook"].append(refusal)
        with pytest.raises(BotApiError):
            await edit(place).rotate_secret("shop")
    await place.say("shop", "still old", secret=old)
    await wait_until(lambda: len(place.texts("shop")) == 1)
    await edit(place).rotate_secret("shop")
    assert place.telegram.bots[BOTS["shop"]].webhook["secret_token"] != old
    await deliver(place, "shop", "new")
    await wait_until(lambda: len(place.texts("shop")) == 2)
    assert "webhook_secret_invalid" not in str(place.gateway.log())
    assert "goes on with the webhook secret" in capsys.readouterr().out
    await edit(place).rotate_secret("shop")
    await deliver(place, "shop", "newer")
    await wait_until(lambda: len(place.texts("shop")) == 3)


async def test_a_secret_is_not_rotated_without_a_webhook_url(place: Place) -> None:
    settings = place.gateway.settings.model_copy(update={"webhook_url": None})
    editor = BotEditor(settings, TABLE, take_up_seconds=0, report=print)
    with pytest.raises(ConfigurationError, match="WEBHOOK_URL"):
        await editor.rotate_secret("shop")
    await place.say("shop", "hi")
    await wait_until(lambda: len(place.texts("shop")) == 1)


async def test_a_rotated_token_loses_no_reply(place: Place) -> None:
    """What was rejected in between is sent with the new one."""
    bot = place.telegram.bots[BOTS["shop"]]
    for number in range(5):
        bot.token = make_token(bot.bot_id, f"AAkey-number-{number}")
        await deliver(place, "shop", f"hi {number}")
        refused = place.telegram.refused_tokens
        await wait_until(partial(place.telegram.has_refused, refused))
        await edit(place).rotate_token("shop", bot.token)
    expected = [f"echo: hi {number}" for number in range(5)]
    await wait_until(lambda: place.texts("shop") == expected)
    assert place.gateway.outcomes() == ["done"] * 5
    assert "AAkey" not in str(place.gateway.log())


async def test_a_token_of_another_bot_is_refused(place: Place) -> None:
    with pytest.raises(ConfigurationError, match="is that of another bot"):
        await edit(place).rotate_token("shop", make_token(BOTS["news"]))
    with pytest.raises(InvalidBotToken):
        await edit(place).rotate_token("shop", make_token(BOTS["shop"], "AAwrong"))
    await deliver(place, "shop", "hi")
    await wait_until(lambda: place.texts("shop") == ["echo: hi"])


async def test_a_bot_comes_and_goes(place: Place) -> None:
    bot = place.telegram.add(make_token(104))
    (place.files.path.parent / "late.token").write_text(bot.token)
    editor = edit(place)
    fields = {"token_file": "late.token", "webhook_secret_file": "late.secret"}
    await editor.add("late", fields)
    assert bot.webhook["url"] == f"{URL}/late"
    await place.say("late", "hi", secret=bot.webhook["secret_token"])
    await wait_until(lambda: bot.texts(7) == ["echo: hi"])
    await editor.remove("late")
    assert bot.webhook == {}
    await wait_until(lambda: count_changes(place) == 2)
    secret = (place.files.path.parent / "late.secret").read_text().strip()
    await place.say("late", "ho", secret=secret)
    await deliver(place, "shop", "hi")
    await wait_until(lambda: place.texts("shop") == ["echo: hi"])
    assert bot.texts(7) == ["echo: hi"]


def count_changes(place: Place) -> int:
    """Return how many changes of the bots the gateway has taken up."""
    return [line["message"] for line in place.gateway.log()].count("bots_changed")


async def test_a_bot_whose_token_is_wrong_is_not_added(place: Place) -> None:
    before = place.files.path.read_text()
    (place.files.path.parent / "late.token").write_text(make_token(104))
    fields = {"token_file": "late.token", "updates": "poll"}
    with pytest.raises(InvalidBotToken):
        await edit(place).add("late", fields)
    assert place.files.path.read_text() == before


async def test_a_bot_that_cannot_be_removed_keeps_its_webhook(place: Place) -> None:
    """Its entry would stay, and its updates would not come."""
    files = place.files.path.parent
    place.files.write_text(
        "bots: {shop: {token_file: shop.token, webhook_secret_file: shop.secret},"
        " news: {token_file: news.token, webhook_secret_file: news.secret}}\n"
    )
    with pytest.raises(ConfigurationError, match="edit it by hand"):
        await edit(place).remove("shop")
    place.files.entries = {"shop": place.files.entries["shop"]}
    place.files.write()
    with pytest.raises(ConfigurationError, match="is the only bot"):
        await edit(place).remove("shop")
    assert (files / "bots.yaml").read_text() == place.files.path.read_text()
    await deliver(place, "shop", "hi")
    await wait_until(lambda: place.texts("shop") == ["echo: hi"])


async def test_a_first_bot_whose_token_is_wrong_leaves_no_file(
    place: Place, tmp_path: Path
) -> None:
    path = tmp_path / "bots.yaml"
    (tmp_path / "late.token").write_text(make_token(104))
    settings = place.gateway.settings.model_copy(update={"bots_file": path})
    editor = BotEditor(settings, TABLE, take_up_seconds=0, report=print)
    with pytest.raises(InvalidBotToken):
        await editor.add("late", {"token_file": "late.token", "updates": "poll"})
    assert not path.exists()


async def test_pause_and_resume_are_taken_up(place: Place) -> None:
    edit(place).set_paused("shop", is_paused=True)
    await wait_until(lambda: "bots_changed" in str(place.gateway.log()))
    await deliver(place, "shop", "hi")
    await deliver(place, "news", "hi")
    await wait_until(lambda: place.texts("news") == ["echo: hi"])
    assert place.texts("shop") == []
    edit(place).set_paused("shop", is_paused=False)
    await wait_until(lambda: place.texts("shop") == ["echo: hi"])


async def test_the_commands_work_from_the_command_line(place: Place) -> None:
    settings: Settings = place.gateway.settings
    environment = {
        "BOTS_FILE": str(place.files.path),
        "STORE_SECRET": "canary-secret-of-the-store",
        "TELEGRAM_API_URL": settings.api_url,
        "WEBHOOK_URL": URL,
    }
    code, output, errors = await run("bots", "list", settings=environment)
    assert (code, errors) == (0, "")
    assert [line.split() for line in output.splitlines()] == [
        ["NAME", "ID", "UPDATES", "STATE"],
        ["shop", "101", "webhook", "running"],
        ["news", "102", "webhook", "running"],
        ["help", "103", "webhook", "running"],
    ]
    code, output, _ = await run("bots", "pause", "news", settings=environment)
    assert (code, output) == (0, "news: paused\n")
    _, output, _ = await run("bots", "list", settings=environment)
    assert "news  102  webhook  paused" in output
    code, output, _ = await run(
        "bots", "rotate", "shop", "--wait", "0", settings=environment
    )
    assert code == 0
    await deliver(place, "shop", "hi")
    await wait_until(lambda: place.texts("shop") == ["echo: hi"])
    code, _, errors = await run("bots", "remove", "nobody", settings=environment)
    assert (code, errors) == (
        2,
        "telegram-gateway: bots.yaml: there is no bot nobody\n",
    )
    code, output, _ = await run(
        "webhook", "info", "--bot", "shop", settings=environment
    )
    assert f"url:                  {URL}/shop" in output
