"""What the gateway tells the chat page."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import pytest
from aiohttp import web
from botgateway.chat.v1.reply_pb2 import (
    TEXT_FORMAT_HTML,
    InlineKeyboard,
    InlineKeyboardButton,
    InlineKeyboardRow,
    Media,
    OutgoingMessage,
    Reply,
    Upload,
)

from gateway.domain.errors import ConfigurationError
from gateway.sandbox.tracing import tracer
from gateway.sandbox.tracing.tracer import KEY_HEADER, Tracer
from tests.support.backend import Answer
from tests.support.gateway_harness import SECRET, running_gateway
from tests.support.process import serving_process
from tests.support.redis_servers import RedisServer
from tests.support.services.foreign import (
    ForeignService,
    compile_descriptor_set,
    serving_foreign,
)
from tests.support.tcp_ports import free_ports
from tests.support.waiting import wait_until

KEY = "key"
HERE = "http://127.0.0.1:1"


class Page:
    """Receives what is told."""

    def __init__(self) -> None:
        self.turns: dict[int, dict[str, Any]] = {}
        self.posts = 0

    async def take(self, request: web.Request) -> web.Response:
        """Keep the newest of each update."""
        assert request.headers[KEY_HEADER] == KEY
        self.posts += 1
        for record in json.loads(await request.read()):
            self.turns[record["update_id"]] = record
        return web.Response()

    def steps(self, update_id: int) -> list[tuple[str, str]]:
        """Return the names and details of an update's steps."""
        steps = self.turns[update_id]["steps"]
        return [(step["name"], step["detail"]) for step in steps]


@asynccontextmanager
async def receiving() -> AsyncIterator[tuple[Page, str]]:
    """Receive on a free port; yield the address."""
    page = Page()
    app = web.Application()
    app.router.add_post("/turns", page.take)
    runner = web.AppRunner(app)
    await runner.setup()
    (port,) = free_ports(1)
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield page, f"http://127.0.0.1:{port}/turns"
    finally:
        await runner.cleanup()


async def test_of_a_file_its_size_is_reported() -> None:
    """The file itself would be megabytes of text."""
    file = Upload(content=b"canary" * 1000, file_name="a.txt")
    message = OutgoingMessage(text="Here", media=[Media(upload=file)])

    async def answer(rpc: str, request: Any) -> Reply:  # noqa: ANN401 - any request
        return Reply(messages=[message])

    async with (
        receiving() as (page, url),
        running_gateway(recorder=Tracer(url, KEY, HERE)) as gateway,
    ):
        gateway.backend.answer = answer
        update_id = await gateway.say("hi")
        await wait_until(lambda: page.turns.get(update_id, {}).get("outcome"))
        (sent,) = gateway.simulator.messages(7)
        assert sent["document"]["file_size"] == 6000
    told = page.turns[update_id]["reply"]
    assert '"6000 bytes"' in told
    assert "canary" not in told


async def test_every_step_is_reported() -> None:
    """In its order, with its time, and with what was asked and answered."""
    async with (
        receiving() as (page, url),
        running_gateway(recorder=Tracer(url, KEY, HERE)) as gateway,
    ):
        update_id = await gateway.say("hello")
        await wait_until(lambda: page.turns.get(update_id, {}).get("outcome"))
        assert sorted(page.steps(update_id)) == [
            ("call", "ResolveUser: OK"),
            ("call", "SendMessage: OK"),
            ("committed", "done"),
            ("received", ""),
            ("send", "sendMessage: 200"),
            ("session", ""),
            ("stored", ""),
            ("waited", ""),
        ]
        record = page.turns[update_id]
        assert all(step["start"] <= step["end"] for step in record["steps"])
        assert "ConversationService/SendMessage" in record["request"]
        assert 'text: "hello"' in record["request"]
        assert 'text: "echo: hello"' in record["reply"]
        assert record["route"]


async def test_what_goes_wrong_is_reported() -> None:
    """The status of the service, and what Telegram refused."""
    async with (
        receiving() as (page, url),
        running_gateway(recorder=Tracer(url, KEY, HERE)) as gateway,
    ):
        gateway.backend.status["SendMessage"] = grpc.StatusCode.INTERNAL
        gateway.simulator.fail("sendMessage", 403)
        update_id = await gateway.say("hello")
        await wait_until(lambda: page.turns.get(update_id, {}).get("outcome"))
        steps = dict(page.steps(update_id))
        assert steps["call"] == "ReportReachability: OK"
        assert (
            "call",
            "SendMessage: INTERNAL: details with a hush text",
        ) in page.steps(update_id)
        assert steps["send"].startswith("sendMessage: 403 Forbidden: ")
        assert page.turns[update_id]["outcome"] == "service_failed"


def replying(message: OutgoingMessage) -> Answer:
    """Make a service that answers everything with one message."""

    async def answer(rpc: str, request: Any) -> Reply:  # noqa: ANN401 - any request
        return Reply(messages=[message])

    return answer


async def test_the_words_of_telegram_and_of_the_service_are_reported() -> None:
    """Both stay out of the log and of the metrics, also in the sandbox."""
    async with (
        receiving() as (page, url),
        running_gateway(recorder=Tracer(url, KEY, HERE)) as gateway,
    ):
        gateway.backend.status["SendMessage"] = grpc.StatusCode.INTERNAL
        refused = "Bad Request: chat canary\nis closed"
        gateway.simulator.fail("sendMessage", 400, description=refused)
        update_id = await gateway.say("hello")
        await wait_until(lambda: page.turns.get(update_id, {}).get("outcome"))
        assert ("call", "SendMessage: INTERNAL: details with a hush text") in (
            page.steps(update_id)
        )
        assert ("send", "sendMessage: 400 Bad Request: chat canary is closed") in (
            page.steps(update_id)
        )
        failed = {s["name"] for s in page.turns[update_id]["steps"] if s["failed"]}
        assert failed == {"call", "send"}
        _, metrics = await gateway.get("/metrics", ops=True)
        for text in (json.dumps(gateway.log()), metrics):
            assert "hush" not in text
            assert "chat canary" not in text


async def test_a_button_that_is_left_out_is_reported() -> None:
    """The turn is done, but the user does not see what the service wrote."""
    async with (
        receiving() as (page, url),
        running_gateway(recorder=Tracer(url, KEY, HERE)) as gateway,
    ):
        bad = InlineKeyboardRow(
            buttons=[InlineKeyboardButton(text="Go", url="https://")]
        )
        gateway.backend.answer = replying(
            OutgoingMessage(text="Here", inline_keyboard=InlineKeyboard(rows=[bad]))
        )
        update_id = await gateway.say("hello")
        await wait_until(lambda: page.turns.get(update_id, {}).get("outcome"))
        record = page.turns[update_id]
        assert record["outcome"] == "done"
        (loss,) = record["losses"]
        assert loss.startswith("Left out of the reply: button url")
        _, metrics = await gateway.get("/metrics", ops=True)
        assert "gateway_rejected_reply_parts_total{" in metrics  # it is still counted


async def test_a_refused_format_is_reported() -> None:
    """The text arrives plain; Telegram's words say why."""
    async with (
        receiving() as (page, url),
        running_gateway(recorder=Tracer(url, KEY, HERE)) as gateway,
    ):
        gateway.backend.answer = replying(
            OutgoingMessage(text="<b>Here", format=TEXT_FORMAT_HTML)
        )
        update_id = await gateway.say("hello")
        await wait_until(lambda: page.turns.get(update_id, {}).get("outcome"))
        record = page.turns[update_id]
        assert record["outcome"] == "done"
        (loss,) = record["losses"]
        refused = "Telegram refused sendMessage: 400 Bad Request: can't parse entities"
        assert loss.startswith(refused)


async def test_what_nobody_misses_is_no_loss() -> None:
    """Such as a 429 that was waited for, an edit of nothing and a refused draft."""
    async with (
        receiving() as (page, url),
        running_gateway(recorder=Tracer(url, KEY, HERE), streaming=True) as gateway,
    ):
        gateway.simulator.fail("sendMessage", 429, retry_after=1)
        gateway.simulator.fail("sendMessageDraft", 400, description="Bad Request: no")
        for piece in ("Hello ", "there", None):
            gateway.backend.pieces.put_nowait(piece)
        update_id = await gateway.say("hello")
        await wait_until(lambda: page.turns.get(update_id, {}).get("outcome"))
        record = page.turns[update_id]
        assert record["outcome"] == "done"
        assert record["losses"] == []
        failed = [step["detail"] for step in record["steps"] if step["failed"]]
        assert any(each.startswith("sendMessage: 429") for each in failed)


async def test_a_streamed_call_is_a_step() -> None:
    """From its start to its last response, with what was asked."""
    async with (
        receiving() as (page, url),
        running_gateway(recorder=Tracer(url, KEY, HERE), streaming=True) as gateway,
    ):
        update_id = await gateway.say("hello")
        await wait_until(lambda: gateway.backend.asked("StreamMessage"))
        for piece in ("Hello ", "there", None):
            gateway.backend.pieces.put_nowait(piece)
        await wait_until(lambda: page.turns.get(update_id, {}).get("outcome"))
        record = page.turns[update_id]
        (call,) = [
            s for s in record["steps"] if s["detail"].startswith("StreamMessage")
        ]
        assert (call["name"], call["detail"]) == ("call", "StreamMessage: OK, 2 pieces")
        assert call["end"] > call["start"]
        assert "ConversationService/StreamMessage" in record["request"]
        assert 'text: "Hello there"' in record["reply"]


async def test_a_streamed_call_that_is_stopped_is_a_step() -> None:
    async with (
        receiving() as (page, url),
        running_gateway(recorder=Tracer(url, KEY, HERE), streaming=True) as gateway,
    ):
        update_id = await gateway.say("hello")
        gateway.backend.pieces.put_nowait("Hello ")
        await wait_until(
            lambda: any(s.method == "sendMessageDraft" for s in gateway.simulator.sent)
        )
        chat = {"id": 7, "type": "private", "first_name": "Ann"}
        stop = {"chat": chat, "draft_id": update_id}
        await gateway.update({"stopped_message_generation": stop})
        await wait_until(lambda: page.turns.get(update_id, {}).get("outcome"))
        record = page.turns[update_id]
        assert record["outcome"] == "stopped"
        (call,) = [
            s for s in record["steps"] if s["detail"].startswith("StreamMessage")
        ]
        assert call["detail"] == "StreamMessage: CANCELLED, 1 piece"
        assert not call["failed"]


async def test_two_users_at_once_are_kept_apart(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each step goes to the update that it belongs to."""
    monkeypatch.setattr(tracer, "POST_SECONDS", 0.5)  # or a slow machine posts often
    async with (
        receiving() as (page, url),
        running_gateway(recorder=Tracer(url, KEY, HERE)) as gateway,
    ):
        ids = [await gateway.say(f"text {n}", user=n) for n in range(1, 21)]
        await wait_until(lambda: len(page.turns) == 20)
        await wait_until(
            lambda: all(record["outcome"] for record in page.turns.values())
        )
        for number, update_id in enumerate(ids, 1):
            assert f'text: "text {number}"' in page.turns[update_id]["request"]
            assert f"echo: text {number}" in page.turns[update_id]["reply"]
            typing = ("send", "sendChatAction: 200")  # while the machine is slow
            assert len([s for s in page.steps(update_id) if s != typing]) == 8
        assert page.posts < 20


async def test_a_page_that_is_gone_costs_nothing() -> None:
    (port,) = free_ports(1)
    recorder = Tracer(f"http://127.0.0.1:{port}/turns", KEY, HERE)
    async with running_gateway(recorder=recorder) as gateway:
        await gateway.say("hello")
        await gateway.ended(1)
        assert gateway.texts() == ["echo: hello"]


async def test_each_request_to_the_bot_api_is_reported() -> None:
    """Also the one that was refused, before it was repeated."""
    async with (
        receiving() as (page, url),
        running_gateway(recorder=Tracer(url, KEY, HERE)) as gateway,
    ):
        gateway.simulator.fail("sendMessage", 429, retry_after=1)
        update_id = await gateway.say("hello")
        await wait_until(lambda: page.turns.get(update_id, {}).get("outcome"))
        sent = [detail for name, detail in page.steps(update_id) if name == "send"]
        assert sent == [
            "sendMessage: 429 Too Many Requests: retry after 1",
            "sendMessage: 200",
        ]


async def test_an_update_that_comes_again_keeps_what_became_of_it() -> None:
    """The repetition is dropped, and says nothing of the update."""
    async with (
        receiving() as (page, url),
        running_gateway(recorder=Tracer(url, KEY, HERE)) as gateway,
    ):
        update_id = await gateway.say("hello")
        await gateway.ended(1)
        await gateway.say("hello", update_id=update_id)
        await gateway.ended(2)
        following = await gateway.say("next")
        await wait_until(lambda: page.turns.get(following, {}).get("outcome"))
        assert page.turns[update_id]["outcome"] == "done"
        assert len(page.steps(update_id)) == 8


@pytest.mark.parametrize(
    ("host", "taken"),
    [
        ("127.0.0.1", True),
        ("localhost:8000", True),
        ("[::1]:80", True),
        ("rebound.example", False),
        ("127.0.0.1.example:8000", False),
        ("", False),
    ],
)
async def test_the_gateway_of_a_sandbox_answers_to_loopback_names(
    host: str, taken: bool
) -> None:
    """A page elsewhere could let its own name point to this machine."""
    async with (
        receiving() as (_, url),
        running_gateway(recorder=Tracer(url, KEY, HERE)) as gateway,
        aiohttp.ClientSession(headers={"Host": host}) as visitor,
    ):
        ports = gateway.settings.port, gateway.settings.ops_port
        hook, health, metrics, files = (
            f"http://127.0.0.1:{ports[0]}/webhook/telegram",
            f"http://127.0.0.1:{ports[0]}/health",
            f"http://127.0.0.1:{ports[1]}/metrics",
            f"http://127.0.0.1:{ports[1]}/ready",
        )
        for address in (health, metrics, files):
            async with visitor.get(address) as response:
                assert response.status == (200 if taken else 403)
        update = {"update_id": 5, "unknown": {}}
        secret = {"X-Telegram-Bot-Api-Secret-Token": SECRET}
        async with visitor.post(hook, json=update, headers=secret) as response:
            assert response.status == (200 if taken else 403)
    assert ("unrouted" in gateway.outcomes()) is taken


async def test_a_gateway_answers_to_every_name() -> None:
    """In production nobody knows beforehand what it is called."""
    async with (
        running_gateway() as gateway,
        aiohttp.ClientSession(headers={"Host": "bot.example"}) as visitor,
    ):
        health = f"http://127.0.0.1:{gateway.settings.port}/health"
        async with visitor.get(health) as response:
            assert response.status == 200


@pytest.mark.parametrize(
    ("url", "key", "api_url", "of_real_bot"),
    [
        ("http://collector.example/turns", KEY, HERE, False),
        ("http://collector.example/turns", KEY, HERE, True),
        (HERE, "", HERE, False),
        (HERE, "", HERE, True),
        (HERE, KEY, "https://api.telegram.org", False),
    ],
)
def test_texts_of_users_stay_on_this_machine(
    url: str, key: str, api_url: str, *, of_real_bot: bool
) -> None:
    """Nobody elsewhere can be told, and of a real bot only on request."""
    with pytest.raises(ConfigurationError):
        Tracer(url, key, api_url, of_real_bot=of_real_bot)


async def test_a_worker_tells_as_a_single_process_does(tmp_path: Path) -> None:
    """The sandbox's gateway starts workers that are traced as well."""
    redis = RedisServer(tmp_path)
    redis.start()
    try:
        async with receiving() as (page, url):
            settings = {
                "WORKERS": "2",
                "REDIS_URL": redis.url,
                "SANDBOX_TURNS_URL": url,
                "SANDBOX_TURNS_KEY": KEY,
            }
            traced = ("gateway.traced_gateway",)
            async with serving_process(settings, command=traced) as gateway:
                await gateway.say(1, 7)
                await wait_until(lambda: page.turns.get(1, {}).get("outcome") == "done")
    finally:
        redis.kill()
    assert "call" in dict(page.steps(1))


async def test_a_request_of_a_descriptor_set_is_reported(tmp_path: Path) -> None:
    """Its names are not known to the tracer, which must not fail for that."""
    path = compile_descriptor_set(tmp_path)
    async with (
        serving_foreign(ForeignService(path)) as target,
        receiving() as (page, url),
    ):
        settings = {
            "CONTRACTS": f"builtin,{path}",
            "BILLING_TARGET": target,
            "SANDBOX_TURNS_URL": url,
            "SANDBOX_TURNS_KEY": KEY,
        }
        traced = ("gateway.traced_gateway",)
        async with serving_process(settings, command=traced) as gateway:
            await gateway.say(1, 7, "/invoice 42")
            await wait_until(lambda: page.turns.get(1, {}).get("outcome") == "done")
    request = page.turns[1]["request"]
    assert request.startswith("# /acme.billing.v1.BillingService/GetInvoice\n")
    assert "4: 42\n" in request
    assert '"/invoice 42"' in request
