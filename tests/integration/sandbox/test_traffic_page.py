"""The page of a real bot's traffic, over HTTP."""

import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from gateway.sandbox.tracing.tracer import KEY_HEADER
from gateway.sandbox.ui.traffic_page import TrafficPage

KEY = {KEY_HEADER: "the-key"}
STEPS = [{"name": "received", "start": 10.0, "end": 10.5}]
ANN = {"id": 7, "is_bot": False, "first_name": "Ann"}
CHAT = {"id": 7, "type": "private"}


@pytest.fixture
async def page() -> AsyncIterator[aiohttp.ClientSession]:
    """Serve the page, and yield a client of it."""
    async with (
        TrafficPage("marmot_desk_bot", "the-key").serve("127.0.0.1", 0) as url,
        aiohttp.ClientSession(url) as client,
    ):
        yield client


async def tell(page: aiohttp.ClientSession, update: object, **fields: object) -> None:
    """Post the trace of update 5, as the gateway does."""
    trace = {"update_id": 5, "steps": STEPS, "update": update, **fields}
    async with page.post("/turns", json=[trace], headers=KEY) as response:
        assert response.status == 200


async def see(page: aiohttp.ClientSession, path: str) -> Any:  # noqa: ANN401 - any JSON
    """Get JSON, which no browser may keep."""
    async with page.get(path) as response:
        assert response.status == 200
        assert response.headers["Cache-Control"] == "no-store"
        return await response.json()


async def take_snapshot(page: aiohttp.ClientSession) -> Any:  # noqa: ANN401 - any JSON
    """Return what a page gets that is opened now."""
    async with page.get("/events") as response:
        async for line in response.content:
            if line.startswith(b"data: "):
                return json.loads(line.removeprefix(b"data: "))
    raise AssertionError("the stream ended")


async def test_an_update_is_shown_with_its_text_and_its_user(
    page: aiohttp.ClientSession,
) -> None:
    message = {"from": ANN, "chat": CHAT, "text": "hello"}
    update = {"update_id": 5, "message": message}
    await tell(page, update)
    end = {"bot_id": 123456, "outcome": "done", "losses": ["A button."]}
    await tell(page, update, **end, reply="text: hi")
    snapshot = await take_snapshot(page)
    assert snapshot["bot"]["username"] == "marmot_desk_bot"
    assert snapshot["users"] == [ANN]
    (row,) = snapshot["updates"]
    assert (row["title"], row["kind"], row["user_id"]) == ("hello", "message", 7)
    assert (row["outcome"], row["losses"], row["sent_at"]) == ("done", 1, 10.0)
    assert snapshot["total_updates"] == 1
    shown = await see(page, "/updates/5")
    assert shown["update"] == update
    assert shown["turn"]["reply"] == "text: hi"
    assert (await see(page, "/updates"))["updates"] == [row]


@pytest.mark.parametrize(
    "update",
    [
        {"update_id": 5, "message": {"text": 3, "from": 7}},
        {"update_id": 5, "message": [1]},
        {"update_id": 5, "message": None},
        {"update_id": 5, "message": {"from": {"id": "x"}}},
    ],
)
async def test_an_update_of_another_form_is_shown_by_its_type(
    page: aiohttp.ClientSession, update: dict[str, object]
) -> None:
    await tell(page, update)
    (row,) = (await see(page, "/updates"))["updates"]
    assert row["title"] == "message"
    assert (await see(page, "/updates/5"))["update"] == update


async def test_an_update_without_a_type_is_shown(page: aiohttp.ClientSession) -> None:
    await tell(page, {"update_id": 5})
    (row,) = (await see(page, "/updates"))["updates"]
    assert (row["update_id"], row["title"]) == (5, "")


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example:8081"},
        {"Origin": "http://evil.example"},
        {"Origin": "http://127.0.0.1:3000"},
    ],
)
@pytest.mark.parametrize("path", ["/", "/events", "/updates", "/updates/5"])
async def test_a_page_elsewhere_sees_nothing(
    page: aiohttp.ClientSession, path: str, headers: dict[str, str]
) -> None:
    async with page.get(path, headers=headers) as response:
        assert response.status == 403


async def test_only_the_gateway_reports_traces(page: aiohttp.ClientSession) -> None:
    async with page.post("/turns", json=[], headers={KEY_HEADER: "guessed"}) as denied:
        assert denied.status == 403
