"""Several bots in one gateway, with users who have the same ids."""

import json
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from gateway.telegram import previous_secret
from tests.e2e.many_bots import BOTS, Place, running_bots
from tests.factories import build_message_json
from tests.support.bot_api import FakeBotApi, make_token
from tests.support.bots import make_secret
from tests.support.redis_servers import RedisServer
from tests.support.tcp_ports import free_ports
from tests.support.waiting import wait_until, wait_until_found


def count_updates(page: str, **labels: str) -> float:
    """Return the sum of the series of updates with these labels."""
    return sum(
        sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
        if sample.name == "gateway_updates_total"
        and labels.items() <= sample.labels.items()
    )


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    """Yield a gateway with three bots and its mailboxes in memory."""
    async with running_bots(tmp_path / "bots") as running:
        yield running


async def test_each_bot_answers_its_own_users(place: Place) -> None:
    """The same user, chat and update ids: nothing crosses."""
    for number in range(1, 6):
        for bot in BOTS:
            await place.say(bot, f"{bot} {number}", update_id=number)
    for bot in BOTS:
        expected = [f"echo: {bot} {number}" for number in range(1, 6)]
        await wait_until(partial(place.has_sent, bot, expected))
    requests = place.gateway.backend.asked("SendMessage")
    for request in requests:
        name = request.message.text.split()[0]
        context = request.context
        assert (context.bot.name, context.bot.id) == (name, BOTS[name])
        assert context.request_id == f"{BOTS[name]}-{context.update_id}"
    assert len({request.context.request_id for request in requests}) == 15
    turns = place.gateway.turns()
    assert {turn["bot"] for turn in turns} == set(BOTS)
    assert place.telegram.refused_tokens == 0


async def test_each_bot_has_sessions_of_its_own(place: Place) -> None:
    for bot in BOTS:
        for _ in range(2):
            await place.say(bot, "hi")
    await place.gateway.ended(6)
    resolved = place.gateway.backend.asked("ResolveUser")
    assert sorted(it.context.bot.name for it in resolved) == sorted(BOTS)


async def test_metrics_count_the_updates_of_each_bot(place: Place) -> None:
    await place.say("shop", "hi")
    await place.say("shop", "hi")
    await place.say("news", "hi")
    await place.gateway.ended(3)
    _, page = await place.gateway.get("/metrics", ops=True)
    assert count_updates(page, bot="shop") == 2
    assert count_updates(page, bot="news") == 1


@pytest.mark.parametrize(
    "path",
    [
        "/webhook/telegram/news",
        "/webhook/telegram/nobody",
        "/webhook/telegram/",
        "/webhook/telegram",
        "/webhook/telegram/shop/more",
        "/webhook/telegram/Shop",
        "/webhook/anything",
    ],
)
async def test_another_path_is_answered_like_a_wrong_secret(
    place: Place, path: str
) -> None:
    """Nobody learns which bots there are."""
    await place.say("shop", "hi", path=path)
    await place.say("shop", "hi", secret="a-secret-of-nobody-here")
    await place.say("shop", "ho")
    await wait_until(lambda: place.texts("shop") == ["echo: ho"])
    refused = [
        line for line in place.gateway.log() if line["message"].startswith("webhook_")
    ]
    assert {line["message"] for line in refused} == {"webhook_secret_invalid"}
    _, page = await place.gateway.get("/metrics", ops=True)
    assert count_updates(page, outcome="forbidden") == 2


async def test_a_single_bot_has_the_short_path_too(tmp_path: Path) -> None:
    async with running_bots(tmp_path, ("shop",)) as place:
        await place.say("shop", "one", path="/webhook/telegram")
        await place.say("shop", "two")
        await wait_until(lambda: place.texts("shop") == ["echo: one", "echo: two"])


async def test_the_menu_has_only_what_the_bot_offers(tmp_path: Path) -> None:
    async with running_bots(tmp_path, ("shop", "news")) as place:
        place.files.add("news", BOTS["news"], services=["CONVERSATION"])

        def menu(bot: str) -> set[str]:
            calls = place.telegram.bots[BOTS[bot]].calls
            menus = [it["commands"] for name, it in calls if name == "setMyCommands"]
            return {it["command"] for it in menus[-1]} if menus else set()

        await wait_until(lambda: menu("news") == {"help"})
        assert "profile" in menu("shop")
        await place.say("news", "/profile")
        await wait_until(lambda: len(place.texts("news")) == 1)
        assert not place.gateway.backend.asked("GetProfile")
        await place.say("news", "hi")
        await wait_until(lambda: place.texts("news")[1:] == ["echo: hi"])


async def test_a_token_that_telegram_rejects_is_a_problem_of_its_bot_only(
    place: Place,
) -> None:
    place.telegram.bots[BOTS["news"]].token = make_token(BOTS["news"], "AAanother")
    await place.say("news", "hi")
    await place.say("shop", "hi")
    await wait_until(lambda: place.texts("shop") == ["echo: hi"])

    async def is_told() -> bool:
        health = json.loads((await place.gateway.get("/health", ops=True))[1])
        assert "AAkey" not in str(health)
        return bool(
            [it for it in health["problems"] if it.startswith("news: Telegram rejects")]
        )

    await wait_until_found(is_told)
    assert (await place.gateway.get("/ready", ops=True))[0] == 200
    place.files.write_token("news", place.telegram.bots[BOTS["news"]].token)
    await place.say("news", "ho")

    async def is_well() -> bool:
        health = json.loads((await place.gateway.get("/health", ops=True))[1])
        return not health["problems"]

    await wait_until_found(is_well)
    await place.say("news", "again")
    await wait_until(lambda: place.texts("news")[-1:] == ["echo: again"])


async def test_a_bot_is_added_with_its_first_update(place: Place) -> None:
    """Who adds a bot need not wait: a gateway looks before it refuses."""
    added = place.telegram.add(make_token(104))
    place.files.add("late", added.bot_id)
    await place.say("late", "hi")
    await wait_until(lambda: added.texts(7) == ["echo: hi"])


async def test_a_removed_bot_is_refused_and_the_others_go_on(place: Place) -> None:
    await place.say("news", "hi")
    await wait_until(lambda: place.texts("news") == ["echo: hi"])
    del place.files.entries["news"]
    place.files.write()
    await wait_until(lambda: "bots_changed" in str(place.gateway.log()))
    await place.say("news", "ho")
    await place.say("shop", "hi")
    await wait_until(lambda: place.texts("shop") == ["echo: hi"])
    assert place.texts("news") == ["echo: hi"]


async def test_a_changed_secret_leaves_the_previous_one_valid(place: Place) -> None:
    """Telegram sends the previous one until its webhook is set again."""
    place.files.write_previous_secret("shop", make_secret("shop"))
    place.files.write_secret("shop", "the-secret-that-follows")
    place.files.write()
    await place.say("shop", "one", secret="the-secret-that-follows")
    await place.say("shop", "two")
    await place.say("shop", "three", secret="the-secret-that-follows")
    await wait_until(lambda: len(place.texts("shop")) == 3)


async def test_a_previous_secret_ends_once_and_for_all(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither another build of the bot nor its file makes it valid again."""
    monkeypatch.setattr(previous_secret, "_CONFIRMED_SECONDS", 0)
    previous = make_secret("shop")
    place.files.write_previous_secret("shop", previous)
    place.files.write_secret("shop", "the-secret-that-follows")
    place.files.write()
    await place.say("shop", "one", secret="the-secret-that-follows")
    file = place.files.path.parent / "shop.secret.previous"
    await wait_until(lambda: not file.exists())
    place.files.write_previous_secret("shop", previous)
    place.files.entries["shop"]["rate_limit_requests"] = 100
    place.files.write()
    await place.say("shop", "two", secret=previous)
    await place.say("shop", "three", secret="the-secret-that-follows")
    await wait_until(lambda: place.texts("shop") == ["echo: one", "echo: three"])
    assert "webhook_secret_invalid" in str(place.gateway.log())


async def test_a_paused_bot_keeps_its_updates(place: Place) -> None:
    place.files.add("shop", BOTS["shop"], paused=True)
    await wait_until(lambda: "bots_changed" in str(place.gateway.log()))
    await place.say("shop", "one")
    await place.say("shop", "two")
    await place.say("news", "hi")
    await wait_until(lambda: place.texts("news") == ["echo: hi"])
    assert place.texts("shop") == []
    place.files.add("shop", BOTS["shop"])
    await wait_until(lambda: place.texts("shop") == ["echo: one", "echo: two"])


async def test_an_invalid_file_changes_nothing(place: Place) -> None:
    """It is told in health and in the log until the file is mended."""
    place.files.write_text("bots:\n  shop: {token_file: shop.token}\n")

    async def is_told() -> bool:
        health = json.loads((await place.gateway.get("/health", ops=True))[1])
        return "bots.yaml: shop: needs either webhook_secret_file" in str(health)

    await wait_until_found(is_told)
    for bot in BOTS:
        await place.say(bot, "hi")
        await wait_until(partial(place.has_sent, bot, ["echo: hi"]))
    lines = [it for it in place.gateway.log() if it["message"] == "bots_file_invalid"]
    assert len(lines) == 1
    place.files.write()

    async def is_well() -> bool:
        health = json.loads((await place.gateway.get("/health", ops=True))[1])
        return bool(health["status"] == "ok")

    await wait_until_found(is_well)


async def test_a_name_never_becomes_another_bot(place: Place) -> None:
    """Its users and their sessions would be mixed up."""
    place.telegram.add(make_token(109))
    place.files.write_token("shop", make_token(109))
    await wait_until(lambda: "bots_file_invalid" in str(place.gateway.log()))
    assert "the token is that of another bot than before" in str(place.gateway.log())
    await place.say("shop", "hi")
    await wait_until(lambda: place.texts("shop") == ["echo: hi"])


async def test_bots_are_polled_and_sent_to_beside_one_another(tmp_path: Path) -> None:
    """With the memory store, each confirms what it has finished itself."""
    telegram = FakeBotApi()
    async with running_bots(tmp_path, ("shop", "news"), telegram) as place:
        place.files.add("news", BOTS["news"], updates="poll")
        bot = telegram.bots[BOTS["news"]]
        bot.updates = [
            {"update_id": it, "message": build_message_json(f"n{it}")}
            for it in range(1, 4)
        ]
        await wait_until(
            lambda: place.texts("news") == ["echo: n1", "echo: n2", "echo: n3"]
        )
        await place.say("shop", "hi")
        await wait_until(lambda: place.texts("shop") == ["echo: hi"])
        await wait_until(lambda: bot.updates == [])


async def test_polling_goes_on_while_a_limit_of_the_bot_changes(tmp_path: Path) -> None:
    """Another poller would ask Telegram again for what it has in memory."""
    async with running_bots(tmp_path, ("shop", "news")) as place:
        place.files.add("news", BOTS["news"], updates="poll")
        bot = place.telegram.bots[BOTS["news"]]
        await wait_until(lambda: bot.count("getUpdates") >= 1)
        place.files.add("news", BOTS["news"], updates="poll", rate_limit_requests=5)

        def count_changes() -> int:
            return str(place.gateway.log()).count("bots_changed")

        await wait_until(lambda: count_changes() == 2)
        bot.updates = [{"update_id": 1, "message": build_message_json("hi")}]
        await wait_until(lambda: place.texts("news") == ["echo: hi"])
        assert str(place.gateway.log()).count("polling_started") == 1


async def test_files_are_served_by_the_bot_that_received_them(tmp_path: Path) -> None:
    """The address of one bot's file opens no file of another bot."""
    ops_port, _ = free_ports(2)
    url = f"http://127.0.0.1:{ops_port}"
    async with running_bots(
        tmp_path, ("shop", "news"), ops_port=ops_port, files_url=url
    ) as place:
        document = {"file_id": "f", "file_unique_id": "u", "file_name": "a.txt"}
        for number, bot in enumerate(("shop", "news")):
            message = build_message_json("x") | {"document": document}
            del message["text"]
            update = {"update_id": number + 1, "message": message}
            await place.gateway.post(
                json.dumps(update).encode(),
                secret=make_secret(bot),
                path=f"/webhook/telegram/{bot}",
            )
        await place.gateway.ended(2)
        found = {
            it.context.bot.name: it.message.document.file.url.removeprefix(url)
            for it in place.gateway.backend.asked("SendMessage")
        }
        for bot, path in found.items():
            content = await place.gateway.get(path, ops=True)
            assert content == (200, f"a file of {BOTS[bot]}")
        stolen = found["shop"].replace("/101-", "/102-")
        assert (await place.gateway.get(stolen, ops=True))[0] == 403
        unknown = found["shop"].replace("/101-", "/109-")
        assert (await place.gateway.get(unknown, ops=True))[0] == 403


async def test_no_token_and_no_secret_is_told(place: Place) -> None:
    """Neither in the log nor in metrics, health or what services get."""
    for bot in BOTS:
        await place.say(bot, "hi")
        await place.say(bot, "hi", secret="canary-secret-of-a-stranger")
    place.files.write_secret("shop", "hush")
    await wait_until(lambda: "bots_file_invalid" in str(place.gateway.log()))
    await place.gateway.ended(3)
    pages = [
        (await place.gateway.get(path, ops=True))[1]
        for path in ("/health", "/ready", "/metrics")
    ]
    requests = [str(request) for _, request in place.gateway.backend.calls]
    told = "".join([*map(str, place.gateway.log()), *pages, *requests])
    for secret in ("canary", "AAkey", "hush"):
        assert secret not in told


class TestOnOneRedis:
    """Gateways that share a Redis."""

    @pytest.fixture
    async def server(self, tmp_path: Path) -> AsyncIterator[RedisServer]:
        """Yield a Redis."""
        (tmp_path / "redis").mkdir()
        server = RedisServer(tmp_path / "redis", "")
        server.start()
        yield server
        server.kill()

    async def test_gateways_of_different_bots_never_meet(
        self, tmp_path: Path, server: RedisServer
    ) -> None:
        """Neither takes the mailboxes that the other one has left."""
        async with running_bots(
            tmp_path / "a", ("shop",), redis_url=server.url
        ) as first:
            first.files.add("shop", BOTS["shop"], paused=True)
            await wait_until(lambda: "bots_changed" in str(first.gateway.log()))
            for number in range(60):
                await first.say("shop", "hi", user=number + 1)
        async with running_bots(
            tmp_path / "b", ("news",), redis_url=server.url, store_secret="x" * 32
        ) as second:
            # Its scans find 60 mailboxes of the other bot before its own.
            await second.say("news", "hi")
            await wait_until(lambda: second.texts("news") == ["echo: hi"])
            for _ in range(3):
                await second.say("news", "ho")
            await wait_until(lambda: len(second.texts("news")) == 4)
            assert "forged" not in str(second.gateway.log())
        async with running_bots(
            tmp_path / "a", ("shop",), redis_url=server.url
        ) as again:
            bot = again.telegram.bots[BOTS["shop"]]
            await wait_until(lambda: bot.count("sendMessage") == 60)

    async def test_staging_and_production_never_meet(
        self, tmp_path: Path, server: RedisServer
    ) -> None:
        """Even the same bot, user and update: the prefix keeps them apart."""
        async with (
            running_bots(
                tmp_path / "a", redis_url=server.url, redis_key_prefix="staging"
            ) as staging,
            running_bots(
                tmp_path / "b", redis_url=server.url, redis_key_prefix="live"
            ) as live,
        ):
            for number in range(1, 11):
                await staging.say("shop", f"s{number}", update_id=number)
                await live.say("shop", f"l{number}", update_id=number)
            await wait_until(lambda: len(staging.texts("shop")) == 10)
            await wait_until(lambda: len(live.texts("shop")) == 10)
            assert staging.texts("shop") == [f"echo: s{it}" for it in range(1, 11)]
            assert live.texts("shop") == [f"echo: l{it}" for it in range(1, 11)]
