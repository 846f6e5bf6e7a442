"""The page with several bots: one is chosen, and everything is about that one."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Locator, Page, expect

from gateway.sandbox.server import Simulator
from gateway.sandbox.simulator.simulated_bot import SimulatedBot

pytestmark = pytest.mark.asyncio(loop_scope="session")

TOKEN, OTHER = "123456:test-token", "777:other-token"
USER = 1001


@asynccontextmanager
async def opened(browser: Browser, simulator: Simulator) -> AsyncIterator[Page]:
    """Open the page of a simulator; it must not complain."""
    complaints: list[str] = []
    async with simulator.serve() as url, await browser.new_context() as window:
        page = await window.new_page()
        page.on("pageerror", lambda error: complaints.append(error.message))
        page.on("console", lambda said: complaints.append(said.text))
        await page.goto(url)
        await page.get_by_text("Live", exact=True).wait_for()
        yield page
        await page.close()
    assert complaints == []


def chooser(page: Page) -> Locator:
    """Find what chooses the bot."""
    return page.get_by_role("combobox", name="Bot", exact=True)


async def say(page: Page, text: str) -> None:
    """Write a message as the user."""
    place = page.get_by_placeholder("Write a message")
    await place.fill(text)
    await place.press("Enter")


def answer(bot: SimulatedBot, text: str, **more: object) -> None:
    """Send a message of a bot."""
    bot.methods.call("sendMessage", {"chat_id": USER, "text": text, **more})


@pytest_asyncio.fixture(loop_scope="session")
async def simulator() -> Simulator:
    """Two bots, and no gateway."""
    made = Simulator(TOKEN, username="shop_bot")
    made.bots.add(OTHER, "Support", "support_bot")
    return made


async def test_a_single_bot_is_not_chosen(browser: Browser) -> None:
    """It becomes a choice when there is another one."""
    single = Simulator(TOKEN, username="shop_bot")
    async with opened(browser, single) as page:
        await expect(page.locator("#bot")).to_have_text("Sandbox@shop_bot")
        await expect(chooser(page)).to_have_count(0)
        await say(page, "hello")
        row = page.locator(".row").filter(has_text="hello")
        await expect(row).not_to_contain_text("Sandbox")
        made = await page.request.post(
            f"{page.url}do/bot", data={"token": OTHER, "name": "Support"}
        )
        assert made.ok
        await expect(chooser(page).locator("option")).to_have_text(
            ["Sandbox @shop_bot", "Support @sandbox_777_bot"]
        )
        await expect(row).to_contain_text("Sandbox")


async def test_each_bot_has_a_chat_of_its_own(
    browser: Browser, simulator: Simulator
) -> None:
    """Messages go to the bot that is shown; a text that was begun waits for it."""
    shop, support = simulator.bots
    async with opened(browser, simulator) as page:
        messages = page.locator(".message .text")
        await say(page, "to the shop")
        await expect(messages).to_have_text(["to the shop"])
        await page.get_by_placeholder("Write a message").fill("begun")
        await chooser(page).select_option("777")
        await expect(messages).to_have_count(0)
        await expect(page.get_by_placeholder("Write a message")).to_have_value("")
        await say(page, "to support")
        answer(support, "from support")
        await expect(messages).to_have_text(["to support", "from support"])
        await expect(page).to_have_title("Support · Telegram sandbox")
        row = page.locator(".row").filter(has_text="to support")
        await expect(row).to_contain_text("Support")
        await row.locator(".row-head").click()
        await row.get_by_role("button", name="Update, JSON").click()
        await expect(row.locator("pre")).to_contain_text('"text": "to support"')
        await chooser(page).select_option("123456")
        await expect(messages).to_have_text(["to the shop"])
        await expect(page.get_by_placeholder("Write a message")).to_have_value("begun")
    assert [len(bot.chats.messages(USER)) for bot in (shop, support)] == [1, 2]


async def test_a_message_of_a_bot_that_is_not_shown_is_announced(
    browser: Browser, simulator: Simulator
) -> None:
    """Until its chat is shown."""
    _, support = simulator.bots
    async with opened(browser, simulator) as page:
        option = chooser(page).locator("option").nth(1)
        await expect(option).to_have_text("Support @support_bot")
        answer(support, "Are you there?")
        await expect(option).to_have_text("Support @support_bot (new messages)")
        await chooser(page).select_option("777")
        await expect(page.locator(".message.bot")).to_contain_text("Are you there?")
        await expect(option).to_have_text("Support @support_bot")


async def test_the_chosen_bot_outlives_a_reload(
    browser: Browser, simulator: Simulator
) -> None:
    shop, support = simulator.bots
    answer(shop, "from the shop")
    answer(support, "from support")
    async with opened(browser, simulator) as page:
        await chooser(page).select_option("777")
        await page.reload()
        await expect(chooser(page)).to_have_value("777")
        await expect(page.locator(".message .text")).to_have_text(["from support"])


async def test_who_blocks_one_bot_still_writes_to_the_other(
    browser: Browser, simulator: Simulator
) -> None:
    shop, support = simulator.bots
    async with opened(browser, simulator) as page:
        await page.get_by_role("button", name="Block bot").click()
        await expect(page.get_by_role("button", name="Unblock bot")).to_be_visible()
        await chooser(page).select_option("777")
        await expect(
            page.get_by_role("button", name="Block bot", exact=True)
        ).to_be_visible()
        await say(page, "hello")
        await expect(page.locator(".message .text")).to_have_text(["hello"])
        await chooser(page).select_option("123456")
        await expect(page.locator(".blocked")).to_contain_text("has blocked the bot")
    assert (shop.users.blocked, support.users.blocked) == ({USER}, set())


async def test_keyboards_commands_and_presses_are_those_of_the_bot_that_is_shown(
    browser: Browser, simulator: Simulator
) -> None:
    _, support = simulator.bots
    menu = [{"command": "ticket", "description": "Open a ticket"}]
    support.methods.call("setMyCommands", {"commands": menu})
    keys = [[{"text": "Close", "callback_data": "close"}]]
    answer(support, "A ticket", reply_markup={"inline_keyboard": keys})
    answer(support, "?", reply_markup={"keyboard": [["Tea"]]})
    async with opened(browser, simulator) as page:
        keyboard = page.get_by_role("group", name="Keyboard of the bot")
        place = page.get_by_placeholder("Write a message")
        await expect(keyboard).to_have_count(0)
        await place.press_sequentially("/t")
        await expect(page.get_by_role("option", name="/ticket")).to_have_count(0)
        await place.fill("")
        await chooser(page).select_option("777")
        await expect(keyboard).to_be_visible()
        await place.press_sequentially("/t")
        await expect(page.locator(".commands")).to_contain_text("/ticket")
        await place.fill("")
        await page.locator(".key").filter(has_text="Close").click()
        row = page.locator(".row").filter(has_text="pressed close")
        await expect(row).to_contain_text("Support")
