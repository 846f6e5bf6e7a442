"""The HTTP endpoints of the page, and its event stream."""

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from yarl import URL

from gateway.background import cancel_and_wait
from gateway.sandbox.server import Simulator
from gateway.sandbox.simulator.state import event_stream
from gateway.sandbox.tracing.tracer import KEY_HEADER
from gateway.sandbox.ui import pages, update_endpoints
from tests.integration.sandbox.bot import TOKEN, Bot
from tests.integration.sandbox.receiver import Receiver
from tests.support.waiting import LIMIT, wait_until

KEY = {KEY_HEADER: "the-key"}


@pytest.fixture
def simulator() -> Simulator:
    """A simulator that takes turns."""
    return Simulator(TOKEN, username="marmot_desk_bot", turns_key="the-key")


class Visitor:
    """Uses the endpoints as the page does."""

    def __init__(self, bot: Bot) -> None:
        self._bot = bot

    async def do(self, what: str, **fields: object) -> tuple[int, dict[str, Any]]:
        """Post something to do; gives status and answer."""
        url = f"{self._bot.url}/do/{what}"
        async with self._bot.session.post(url, json=fields) as response:
            return response.status, await response.json()

    async def get(self, path: str, **headers: str) -> tuple[int, Any]:
        """Get JSON; gives status and answer."""
        url = f"{self._bot.url}{path}"
        async with self._bot.session.get(url, headers=headers) as response:
            return response.status, await response.json()

    async def tell(
        self, turns: object, headers: dict[str, str] = KEY
    ) -> tuple[int, Any]:
        """Post turns as the gateway does."""
        url = f"{self._bot.url}/turns"
        async with self._bot.session.post(url, json=turns, headers=headers) as response:
            return response.status, await response.json()

    async def events(self) -> AsyncGenerator[dict[str, Any], None]:
        """Yield the events of a stream that is opened now."""
        async with self._bot.session.get(f"{self._bot.url}/events") as response:
            assert response.content_type == "text/event-stream"
            async for line in response.content:
                if line.startswith(b"data: "):
                    yield json.loads(line.removeprefix(b"data: "))


@pytest.fixture
def visitor(bot: Bot) -> Visitor:
    """A client of the endpoints."""
    return Visitor(bot)


@asynccontextmanager
async def listening(
    visitor: Visitor,
) -> AsyncIterator[tuple[dict[str, Any], list[dict[str, Any]]]]:
    """Listen inside of the block; yield the snapshot, and what comes after it."""
    heard: list[dict[str, Any]] = []
    async with aclosing(visitor.events()) as stream:
        snapshot = await anext(stream)

        async def listen() -> None:
            async for event in stream:
                heard.append(event)  # noqa: PERF401 - each one as it comes

        task = asyncio.create_task(listen())
        yield snapshot, heard
        await cancel_and_wait(task)


def of(kind: str, heard: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Pick the events of one type."""
    return [event for event in heard if event["type"] == kind]


async def test_a_page_that_is_opened_gets_all_at_once(
    visitor: Visitor, bot: Bot
) -> None:
    """The newest messages and updates, and how things are set."""
    await visitor.do("say", user=1001, text="hello")
    menu = [{"command": "start", "description": "Start"}]
    await bot.result("setMyCommands", commands=menu)
    async with listening(visitor) as (snapshot, _):
        assert snapshot["type"] == "snapshot"
        assert snapshot["bot"]["username"] == "marmot_desk_bot"
        assert [user["first_name"] for user in snapshot["users"]] == [
            "Ada",
            "Grace",
            "Linus",
        ]
        assert [shown["text"] for shown in snapshot["messages"]["1001"]] == ["hello"]
        assert [row["title"] for row in snapshot["updates"]] == ["hello"]
        assert snapshot["total_updates"] == 1
        assert snapshot["commands"] == menu
        assert not any(fault["on"] for fault in snapshot["faults"])
        assert snapshot["webhook"]["pending_update_count"] == 1


async def test_a_page_that_is_opened_gets_the_newest_only(
    monkeypatch: pytest.MonkeyPatch, visitor: Visitor
) -> None:
    monkeypatch.setattr("gateway.sandbox.server._SHOWN", 2)
    await visitor.do("burst", user=1001, count=5)
    async with listening(visitor) as (snapshot, _):
        texts = [shown["text"] for shown in snapshot["messages"]["1001"]]
        assert texts == ["Message 4", "Message 5"]
        titles = [row["title"] for row in snapshot["updates"]]
        assert titles == ["Message 4", "Message 5"]
        assert snapshot["total_updates"] == 5


async def test_what_happens_is_heard_in_order(
    simulator: Simulator, visitor: Visitor, bot: Bot
) -> None:
    """From the user's message to the bot's answer."""
    async with Receiver().serving() as receiver, listening(visitor) as (_, heard):
        simulator.set_webhook(receiver.url)
        _, said = await visitor.do("say", user=1001, text="hello")
        await wait_until(lambda: len(of("update", heard)) == 3)
        await bot.result("sendChatAction", chat_id=1001, action="typing")
        await bot.result("sendMessageDraft", chat_id=1001, draft_id=1, text="I th")
        await bot.result("sendMessage", chat_id=1001, text="I think")
        await bot.result("editMessageText", chat_id=1001, message_id=2, text="No")
        _, pressed = await visitor.do(
            "press", user=1001, chat=1001, message_id=2, data="x"
        )
        query_id = pressed["callback_query_id"]
        await bot.result("answerCallbackQuery", callback_query_id=query_id, text="Ok")
        await visitor.do("block", user=1002, blocked=True)
        await visitor.do("fault", name="slow", on=True, delay=0.01)
        await bot.result("setMyCommands", commands=[])
        await wait_until(lambda: of("commands", heard))
    assert [event["message"]["text"] for event in of("message", heard)] == [
        "hello",
        "I think",
    ]
    rows = [event["row"] for event in of("update", heard)][:3]
    assert {row["update_id"] for row in rows} == {said["update_id"]}
    assert [row["state"] for row in rows] == ["waiting", "in_flight", "accepted"]
    assert of("action", heard)[0]["action"] == "typing"
    assert of("draft", heard) == [
        {
            "type": "draft",
            "bot_id": 123456,
            "chat_id": 1001,
            "text": "I th",
            "stop_id": 0,
        }
    ]
    assert of("edited", heard)[0]["message"]["text"] == "No"
    assert of("answer", heard) == [
        {
            "type": "answer",
            "bot_id": 123456,
            "callback_query_id": query_id,
            "user_id": 1001,
            "chat_id": 1001,
            "message_id": 2,
            "text": "Ok",
            "show_alert": False,
        }
    ]
    assert of("user", heard)[0]["user"]["blocked"] is True
    faults = of("faults", heard)[0]["faults"]
    assert [fault["name"] for fault in faults if fault["on"]] == ["slow"]
    assert of("webhook", heard)[0]["webhook"]["url"] == receiver.url


async def test_a_quiet_stream_shows_that_it_is_there(
    monkeypatch: pytest.MonkeyPatch, bot: Bot
) -> None:
    """By comments, which browsers ignore."""
    monkeypatch.setattr(update_endpoints, "HEARTBEAT_SECONDS", 0.01)
    async with bot.session.get(f"{bot.url}/events") as response:
        read = b""
        while read.count(b":\n\n") < 2:
            read += await response.content.readany()


async def test_a_client_that_does_not_read_is_closed(
    monkeypatch: pytest.MonkeyPatch, simulator: Simulator, bot: Bot
) -> None:
    """Instead of growing the memory; others stay."""
    monkeypatch.setattr(event_stream, "LISTENER_LIMIT", 50)
    host, port = bot.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port), limit=1024)
    writer.write(f"GET /events HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode())
    await wait_until(lambda: simulator.events.has_listeners)

    async def flood() -> None:
        while simulator.events.has_listeners:
            simulator.events.publish("noise", text="x" * 10_000)
            await asyncio.sleep(0)

    await asyncio.wait_for(flood(), LIMIT)

    async def read_on() -> None:
        with contextlib.suppress(ConnectionError):
            while await reader.read(65_536):
                pass

    await asyncio.wait_for(read_on(), LIMIT)
    writer.close()


async def test_the_end_does_not_wait_for_open_streams(simulator: Simulator) -> None:
    """A page that is left open does not keep the sandbox up."""
    async with aiohttp.ClientSession() as session:
        async with simulator.serve() as url:
            stream = await session.get(f"{url}/events")
            await stream.content.readany()
        assert not simulator.events.has_listeners
        stream.close()


async def test_everything_on_the_page_can_be_done(
    simulator: Simulator, visitor: Visitor
) -> None:
    for what, fields, keys in (
        ("say", {"user": 1001, "text": "a"}, {"update_id", "message_id"}),
        ("say", {"user": 1001, "text": "a", "chat": -5}, {"update_id", "message_id"}),
        ("attach", {"user": 1001, "kind": "photo"}, {"update_id", "message_id"}),
        ("album", {"user": 1001}, {"update_ids", "message_ids"}),
        ("burst", {"user": 1001}, {"update_ids", "message_ids"}),
        ("block", {"user": 1001, "blocked": True}, {"update_id"}),
        (
            "user",
            {"first_name": "Zoe"},
            {"id", "first_name", "language_code", "blocked"},
        ),
        ("fault", {"name": "flood", "on": True, "retry_after": 9}, {"faults"}),
    ):
        status, answer = await visitor.do(what, **fields)
        assert (status, set(answer)) == (200, keys)
    assert simulator.update_log.total == 1 + 1 + 1 + 3 + 20 + 1


@pytest.mark.parametrize(
    ("what", "fields"),
    [
        ("say", {}),
        ("say", {"user": "Ada", "text": "a"}),
        ("say", {"user": 1001, "text": "a", "chatt": 5}),
        ("say", {"user": 5, "text": "a"}),
        ("block", {"user": 1001, "blocked": "yes"}),
        ("fault", {"name": "flood", "on": True, "retry_after": 0}),
        ("fault", {"name": "earthquake", "on": True}),
    ],
)
async def test_bad_input_is_reported_in_one_line(
    simulator: Simulator, visitor: Visitor, what: str, fields: dict[str, object]
) -> None:
    """With status 400, and nothing happens."""
    status, answer = await visitor.do(what, **fields)
    assert (status, set(answer)) == (400, {"error"})
    assert answer["error"]
    assert "\n" not in answer["error"]
    assert simulator.update_log.total == 0


async def test_an_update_opens_with_all_that_is_known(visitor: Visitor) -> None:
    """Its row, the raw update, and the gateway's turn."""
    _, said = await visitor.do("say", user=1001, text="hello")
    update_id = said["update_id"]
    status, shown = await visitor.get(f"/updates/{update_id}")
    assert status == 200
    assert shown["row"]["kind"] == "message"
    assert shown["update"]["message"]["text"] == "hello"
    assert shown["turn"] is None
    step = {"name": "received", "start": 1.0, "end": 2.5, "detail": "200"}
    step = step | {"failed": False}
    record = {
        "update_id": update_id,
        "kind": "message",
        "route": "text",
        "outcome": "replied",
        "fault": "",
        "request_id": "r-1",
        "telegram_user_id": 1001,
        "steps": [step],
        "request": "message { }",
        "reply": "messages { }",
        "losses": ["Left out of the reply: button url."],
        "bot_id": 123456,
        "update": None,
    }
    async with listening(visitor) as (_, heard):
        assert await visitor.tell([record]) == (200, {})
        await wait_until(lambda: of("turn", heard))
    short = {**record, "request": "", "reply": ""}  # what is long is asked for
    assert of("turn", heard) == [
        {"type": "turn", "update_id": update_id, "bot_id": 123456, "turn": short}
    ]
    _, shown = await visitor.get(f"/updates/{update_id}")
    assert shown["turn"] == record
    assert (shown["row"]["outcome"], shown["row"]["losses"]) == ("replied", 1)
    assert (await visitor.get("/updates/5"))[0] == 404


async def test_only_the_gateway_reports_updates(visitor: Visitor) -> None:
    record = {"update_id": 5}
    assert (await visitor.tell([record], headers={}))[0] == 403
    assert (await visitor.tell([record], {KEY_HEADER: "x"}))[0] == 403
    assert (await visitor.tell([{"update_id": "x"}]))[0] == 400
    assert (await visitor.get("/updates/5"))[0] == 404
    assert (await visitor.tell([record]))[0] == 200
    assert (await visitor.get("/updates/5"))[0] == 200


async def test_without_a_key_nobody_reports_updates() -> None:
    async with Simulator(TOKEN).serve() as url, aiohttp.ClientSession() as session:
        visitor = Visitor(Bot(session, url))
        for headers in ({}, {KEY_HEADER: ""}):
            assert (await visitor.tell([], headers))[0] == 403


async def test_older_updates_come_page_by_page(visitor: Visitor) -> None:
    """So that a page with 10,000 of them can show the newest."""
    _, sent = await visitor.do("burst", user=1001, count=30)
    ids = sent["update_ids"]
    _, page = await visitor.get("/updates?limit=10")
    assert [row["update_id"] for row in page["updates"]] == ids[-10:]
    assert page["total_updates"] == 30
    _, page = await visitor.get(f"/updates?before={ids[-10]}&limit=15")
    assert [row["update_id"] for row in page["updates"]] == ids[5:20]
    for query in ("limit=x", "limit=0", "limit=1001", "before=x"):
        assert (await visitor.get(f"/updates?{query}"))[0] == 400


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example:8081"},
        {"Host": "127.0.0.1.evil.example"},
        {"Host": "192.168.0.7:8081"},
        {"Host": "[bad"},
        {"Origin": "http://evil.example"},
        {"Origin": "http://127.0.0.1:3000"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
async def test_a_page_elsewhere_cannot_steer_the_sandbox(
    simulator: Simulator, visitor: Visitor, bot: Bot, headers: dict[str, str]
) -> None:
    """Not the endpoints, not the stream, and not the Bot API either."""
    for path in ("/events", "/updates", f"/bot{TOKEN}/sendMessage?chat_id=7&text=x"):
        status, answer = await visitor.get(path, **headers)
        assert (status, set(answer)) == (403, {"error"})
    say = {"user": 1001, "text": "hello"}
    url = f"{bot.url}/do/say"
    async with bot.session.post(url, json=say, headers=headers) as response:
        assert response.status == 403
    assert simulator.messages(1001) == simulator.messages(7) == []


async def test_the_sandboxs_own_page_may_do_everything(
    visitor: Visitor, bot: Bot
) -> None:
    port = bot.url.rpartition(":")[2]
    for host in (f"127.0.0.1:{port}", f"localhost:{port}", f"[::1]:{port}"):
        headers = {
            "Host": host,
            "Origin": f"http://{host}",
            "Sec-Fetch-Site": "same-origin",
        }
        assert (await visitor.get("/updates", **headers))[0] == 200


async def test_a_link_from_anywhere_opens_the_page(bot: Bot) -> None:
    """It shows, and can do nothing by itself."""
    headers = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    async with bot.session.get(f"{bot.url}/", headers=headers) as response:
        assert response.status == 200


async def test_the_page_and_its_files_are_served(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, bot: Bot
) -> None:
    """With a policy that keeps the browser from asking anybody else."""
    (tmp_path / "index.html").write_text("<!doctype html>")
    (tmp_path / "page.js").write_text("export {};")
    monkeypatch.setattr(pages, "_DIRECTORY", tmp_path)
    async with bot.session.get(f"{bot.url}/") as response:
        assert await response.text() == "<!doctype html>"
        assert response.content_type == "text/html"
        policy = response.headers["Content-Security-Policy"].split("; ")
        assert {"default-src 'none'", "frame-ancestors 'none'"} <= set(policy)
        assert not any("unsafe" in rule or "data:" in rule for rule in policy)
        assert response.headers["X-Frame-Options"] == "DENY"
    async with bot.session.get(f"{bot.url}/page/page.js") as response:
        assert response.content_type in {"text/javascript", "application/javascript"}
    for path in ("/page/none.js", "/page/..", "/page/%2e%2e%2fpages.py", "/page/"):
        async with bot.session.get(URL(bot.url + path, encoded=True)) as response:
            assert response.status == 404
