"""A sandbox and a browser for all tests of a run; a page and a user for each test."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import pytest_asyncio
from playwright.async_api import (
    Browser,
    BrowserContext,
    Page,
    ViewportSize,
    async_playwright,
    expect,
)

from tests.browser.chat import Chat
from tests.browser.chromium import CHROMIUM
from tests.support.sandbox import Sandbox, running_sandbox

WIDE: ViewportSize = {"width": 1280, "height": 800}

_TESTS_OF_PAGES = [
    "test_several_bots.py",
    "test_layout_and_focus.py",
    "test_page.py",
    "test_traffic.py",
]
collect_ignore = [] if CHROMIUM else _TESTS_OF_PAGES
"""Without a browser one test fails, and says why, instead of all of them."""


LIMIT_MS = 60_000
"""A busy machine is slow, and only a failing test waits this long."""

expect.set_options(timeout=LIMIT_MS)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def sandbox() -> AsyncIterator[Sandbox]:
    """Yield a running sandbox."""
    async with running_sandbox() as running:
        yield running


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    """Yield a browser without a screen."""
    async with async_playwright() as playwright:
        # Chromium's own sandbox does not work for root, which CI may be.
        # Tabs of a window share one process: a new one takes half a second to start.
        running = await playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=["--no-sandbox", "--renderer-process-limit=1"],
        )
        yield running
        await running.close()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def window(browser: Browser, sandbox: Sandbox) -> AsyncIterator[BrowserContext]:
    """Yield a window in which each test opens a tab: the page keeps nothing beyond it.

    A first tab stays open, and with it the process of all tabs.
    """
    async with _window(browser) as opened:
        first = await opened.new_page()
        await first.goto(f"{sandbox.url}/about")
        yield opened


@pytest_asyncio.fixture(loop_scope="session")
async def page(window: BrowserContext, sandbox: Sandbox) -> AsyncIterator[Page]:
    """Yield an open page; it must not complain, nor ask anybody but the sandbox."""
    async with _tab(window, sandbox) as opened:
        yield opened


@pytest_asyncio.fixture(loop_scope="session")
async def chat(page: Page, sandbox: Sandbox) -> Chat:
    """Return the chat of a new user, whom no test limited before."""
    return await _chat_of_a_new_user(page, sandbox)


@pytest_asyncio.fixture(loop_scope="session")
async def timed_chat(browser: Browser, sandbox: Sandbox) -> AsyncIterator[Chat]:
    """Yield such a chat in a window of its own, for a clock belongs to a window."""
    async with _window(browser) as window, _tab(window, sandbox) as opened:
        yield await _chat_of_a_new_user(opened, sandbox)


@asynccontextmanager
async def _window(browser: Browser) -> AsyncIterator[BrowserContext]:
    async with await browser.new_context(viewport=WIDE) as opened:
        opened.set_default_timeout(LIMIT_MS)
        yield opened


@asynccontextmanager
async def _tab(window: BrowserContext, sandbox: Sandbox) -> AsyncIterator[Page]:
    opened = await window.new_page()
    complaints: list[str] = []
    opened.on("pageerror", lambda error: complaints.append(error.message))
    opened.on("console", lambda said: complaints.append(said.text))
    opened.on("request", lambda asked: complaints.extend(_strange(asked.url, sandbox)))
    await opened.goto(sandbox.url)
    await opened.get_by_text("Live", exact=True).wait_for()
    yield opened
    await opened.close()
    assert complaints == []


async def _chat_of_a_new_user(page: Page, sandbox: Sandbox) -> Chat:
    user = await sandbox.do("user", first_name="Test")
    await page.locator(f'[data-tab="{user["id"]}"]').first.click()
    return Chat(page, user["id"])


def _strange(url: str, sandbox: Sandbox) -> list[str]:
    return [] if urlsplit(url).netloc == urlsplit(sandbox.url).netloc else [url]
