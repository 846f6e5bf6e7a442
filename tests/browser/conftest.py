"""A sandbox and a browser for all tests of a run; a page and a user for each test."""

import shutil
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import pytest_asyncio
from playwright.async_api import Browser, Page, async_playwright, expect

from tests.browser.chat import Chat
from tests.browser.desk import Desk, running_sandbox

WIDE = (1280, 800)
CHROMIUM = shutil.which("chromium")

collect_ignore = [] if CHROMIUM else ["test_layout_and_focus.py", "test_page.py"]
"""Without a browser one test fails, and says why, instead of all of them."""


expect.set_options(timeout=60_000)
"""Milliseconds: a busy machine is slow, and only a failing test waits this long."""


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def desk() -> AsyncIterator[Desk]:
    """Give a running sandbox."""
    async with running_sandbox() as running:
        yield running


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    """Give Debian's chromium."""
    async with async_playwright() as playwright:
        # Chromium's own sandbox does not work for root, which CI may be.
        running = await playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox"]
        )
        yield running
        await running.close()


@pytest_asyncio.fixture(loop_scope="session")
async def page(browser: Browser, desk: Desk) -> AsyncIterator[Page]:
    """Give an open page; it must not complain, nor ask anybody but the sandbox."""
    width, height = WIDE
    opened = await browser.new_page(viewport={"width": width, "height": height})
    complaints: list[str] = []
    opened.on("pageerror", lambda error: complaints.append(error.message))
    opened.on("console", lambda said: complaints.append(said.text))
    opened.on("request", lambda asked: complaints.extend(_strange(asked.url, desk)))
    await opened.goto(desk.url)
    await opened.get_by_text("Live", exact=True).wait_for()
    yield opened
    await opened.close()
    assert complaints == []


@pytest_asyncio.fixture(loop_scope="session")
async def chat(page: Page, desk: Desk) -> Chat:
    """Give the chat of a new user, whom no test limited before."""
    user = await desk.do("user", first_name="Test")
    await page.locator(f'[data-tab="{user["id"]}"]').first.click()
    return Chat(page, user["id"])


def _strange(url: str, desk: Desk) -> list[str]:
    return [] if urlsplit(url).netloc == urlsplit(desk.url).netloc else [url]
