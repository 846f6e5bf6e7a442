"""The page of `telegram-gateway dev`: what happens to the updates of a real bot."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest
from botgateway.chat.v1.reply_pb2 import (
    InlineKeyboard,
    InlineKeyboardButton,
    InlineKeyboardRow,
    OutgoingMessage,
    Reply,
)
from playwright.async_api import Browser, Page, expect

from gateway.sandbox.server import Simulator
from tests.support.backend import Backend, serving
from tests.support.gateway_harness import TOKEN
from tests.support.process import program
from tests.support.sandbox import listens
from tests.support.tcp_ports import free_ports
from tests.support.waiting import wait_until_found

pytestmark = pytest.mark.asyncio(loop_scope="session")

USER = 1001
NAMES = ("conversation", "matching", "notification", "profile")


async def answer(_: str, request: Any) -> Reply:  # noqa: ANN401 - any request
    """Reply with a button that has no address if that is asked for."""
    message = OutgoingMessage(text="Here you are")
    if "button" in str(request):
        button = InlineKeyboardButton(text="Go", url="https://")
        row = InlineKeyboardRow(buttons=[button])
        message.inline_keyboard.CopyFrom(InlineKeyboard(rows=[row]))
    return Reply(messages=[message])


@asynccontextmanager
async def opened_page(browser: Browser) -> AsyncIterator[tuple[Page, Simulator]]:
    """Run `dev` with services, and open its page; no text may reach the terminal."""
    simulator, backend = Simulator(TOKEN), Backend()
    backend.answer = answer
    port, ops_port, page_port = free_ports(3)
    url = f"http://127.0.0.1:{page_port}"
    complaints: list[str] = []
    async with serving(backend) as target, simulator.serve() as api_url:
        settings = {
            "TELEGRAM_BOT_TOKEN": TOKEN,
            "TELEGRAM_API_URL": api_url,
            "PORT": str(port),
            "OPS_PORT": str(ops_port),
            "RATE_LIMIT_REQUESTS": "1000",
            **{f"{name.upper()}_TARGET": target for name in NAMES},
        }
        options = ("dev", "--page-port", str(page_port))
        async with program(*options, settings=settings) as process:

            async def is_up() -> bool:
                assert process.returncode is None, "the command ended"
                return await listens(page_port)

            await wait_until_found(is_up)
            page = await browser.new_page()
            page.on("pageerror", lambda error: complaints.append(error.message))
            page.on("console", lambda said: complaints.append(said.text))
            page.on(
                "request", lambda asked: complaints.extend(_foreign(asked.url, url))
            )
            await page.goto(url)
            await page.get_by_text("Live", exact=True).wait_for()
            yield page, simulator
            await page.close()
            process.terminate()
            output, errors = await process.communicate()
    assert complaints == []
    assert (process.returncode, errors) == (0, b"")
    assert b"hello" not in output
    assert b"please" not in output
    assert TOKEN.encode() not in output


def _foreign(asked: str, url: str) -> list[str]:
    return [] if urlsplit(asked).netloc == urlsplit(url).netloc else [asked]


async def test_updates_of_a_real_bot_are_shown_live_and_without_chats(
    browser: Browser,
) -> None:
    async with opened_page(browser) as (page, simulator):
        await expect(page.get_by_text("Nothing yet.")).to_be_visible()
        await expect(page.locator("#bot")).to_contain_text("@sandbox_bot")
        await simulator.user_actions.say(USER, "hello there")
        rows = page.locator(".row")
        whole = rows.filter(has_text="hello there")
        await expect(whole.locator(".verdict.good")).to_have_text("done")
        await expect(whole).to_contain_text("Ada")
        await whole.locator(".row-head").click()
        await expect(whole.locator(".step-name")).to_have_text(
            [
                *("received", "stored", "waited", "session"),
                *("call", "call", "send", "committed"),
            ]
        )
        details = whole.locator(".step-detail").filter(has_text="sendMessage: 200")
        await expect(details).to_be_visible()
        await whole.get_by_role("button", name="Request").click()
        await expect(whole.locator("pre")).to_contain_text('text: "hello there"')
        await whole.get_by_role("button", name="Update, JSON").click()
        await expect(whole.locator("pre")).to_contain_text('"first_name": "Ada"')

        await simulator.user_actions.say(USER, "a button, please")
        part = rows.filter(has_text="a button, please")
        await expect(part.locator(".verdict.warn")).to_have_text("incomplete")
        await expect(part).to_have_attribute("data-tone", "warn")
        await part.locator(".row-head").click()
        await expect(part.locator(".losses")).to_contain_text("Left out of the reply")
        await expect(rows).to_have_count(2)
        await expect(page.locator("textarea, .tabs, #chats")).to_have_count(0)

        await page.reload()
        await expect(rows).to_have_count(2)
