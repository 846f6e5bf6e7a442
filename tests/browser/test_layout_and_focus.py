"""Where the page's parts stand, what has the focus, what can be told apart.

Everything is measured in the browser: nothing here reads a style sheet.
"""

import pytest
from playwright.async_api import BrowserContext, Locator, Page, expect

from tests.browser.chat import Chat
from tests.support.sandbox import Sandbox

pytestmark = pytest.mark.asyncio(loop_scope="session")

SIZES = [(360, 640), (390, 844), (768, 1024), (1280, 800), (1920, 1080)]
"""Two phones, a tablet, a laptop and a desk, in CSS pixels."""

LEAST_CONTRAST = 3.0
"""WCAG 2.2, 1.4.11: of what shows where a control is."""

_CONTRASTS = """
(selector) => {
  const channels = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const luminance = ([red, green, blue]) => {
    const linear = [red, green, blue].map((value) => value / 255).map((value) =>
      value <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
  };
  const behind = (node) => {
    for (let at = node; at; at = at.parentElement) {
      const colour = getComputedStyle(at).backgroundColor;
      const [red, green, blue, alpha = 1] = channels(colour);
      if (alpha === 1) return [red, green, blue];
    }
    return [255, 255, 255];
  };
  const contrast = (one, other) => {
    const [dark, light] = [luminance(one), luminance(other)].sort((a, b) => a - b);
    return (light + 0.05) / (dark + 0.05);
  };
  return [...document.querySelectorAll(selector)]
    .filter((node) => node.checkVisibility())
    .map((node) => [
      node.outerHTML.slice(0, 80),
      contrast(
        channels(getComputedStyle(node).borderTopColor),
        behind(node.parentElement),
      ),
    ]);
}
"""


async def _box(part: Locator) -> dict[str, float]:
    box = await part.bounding_box()
    assert box is not None
    edges = {"bottom": box["y"] + box["height"], "right": box["x"] + box["width"]}
    return {"top": box["y"], "left": box["x"], **edges}


@pytest.mark.parametrize(("width", "height"), SIZES)
async def test_an_empty_chat_fills_the_page_down_to_the_composer(
    chat: Chat, width: int, height: int
) -> None:
    """The log takes all the room that is left, and the composer stands at the foot."""
    await chat.page.set_viewport_size({"width": width, "height": height})
    await expect(chat.page.locator(".log .empty")).to_be_visible()
    log = await _box(chat.page.locator(".log"))
    about = await _box(chat.page.locator(".about"))
    composer = await _box(chat.page.locator(".composer"))
    assert composer["bottom"] == pytest.approx(height, abs=1)
    assert log["top"] == pytest.approx(about["bottom"], abs=1)
    assert log["bottom"] == pytest.approx(composer["top"], abs=1)
    size = (
        "[document.documentElement.scrollWidth, document.documentElement.scrollHeight]"
    )
    assert await chat.page.evaluate(size) == [width, height]


@pytest.mark.parametrize(("width", "height"), [size for size in SIZES if size[0] > 899])
async def test_chats_and_updates_stand_side_by_side_where_there_is_room(
    chat: Chat, width: int, height: int
) -> None:
    """Both reach from the line at the top to the foot of the page."""
    await chat.page.set_viewport_size({"width": width, "height": height})
    top = await _box(chat.page.locator(".top"))
    chats = await _box(chat.page.locator("#chats"))
    happened = await _box(chat.page.locator("#happened"))
    assert chats["right"] == pytest.approx(happened["left"], abs=1)
    assert happened["right"] == pytest.approx(width, abs=1)
    for part in (chats, happened):
        assert part["top"] == pytest.approx(top["bottom"], abs=1)
        assert part["bottom"] == pytest.approx(height, abs=1)


async def test_a_text_begun_right_after_a_click_on_a_tab_belongs_to_that_chat(
    chat: Chat,
) -> None:
    """Keys that come before the next frame reach the composer of the new chat."""
    page = chat.page
    typed = await page.evaluate(
        """() => {
          const tab = document.querySelector('[data-tab="1002"]');
          tab.click();
          const input = document.querySelector(".composer textarea");
          input.value = "for Grace";
          input.dispatchEvent(new Event("input"));
          return input.getAttribute("aria-label");
        }"""
    )
    assert typed == "Message of Grace"
    await page.locator(f'[data-tab="{chat.user}"]').first.click()
    await expect(chat.input).to_have_value("")
    await page.locator('[data-tab="1002"]').first.click()
    await expect(chat.input).to_have_value("for Grace")
    await chat.input.fill("")


async def test_whoever_opens_the_page_may_write_at_once(
    window: BrowserContext, sandbox: Sandbox
) -> None:
    """The composer has the focus, and Tab leads to it first of all."""
    page = await window.new_page()
    await page.goto(sandbox.url)
    composer = page.locator(".composer textarea")
    await expect(composer).to_be_focused()
    await page.locator("body").evaluate("() => document.activeElement.blur()")
    await page.evaluate("window.getSelection().removeAllRanges()")
    await page.locator("#skip").focus()
    await page.keyboard.press("Enter")
    await expect(composer).to_be_focused()
    stops = "() => document.body.querySelector('a[href], button, input, textarea').id"
    assert await page.evaluate(stops) == "skip"
    await page.close()


async def test_a_click_on_a_tab_leads_on_to_the_composer(chat: Chat) -> None:
    """Nobody clicks on a chat to stay on its tab."""
    await chat.page.locator('[data-tab="1002"]').first.click()
    await expect(chat.page.get_by_label("Message of Grace")).to_be_focused()


async def test_an_alert_gives_the_focus_back_to_the_pressed_button(
    chat: Chat, sandbox: Sandbox
) -> None:
    """Although the button was drawn again while the alert stood over it."""
    rows = [[{"text": "Meet", "callback_data": "CONNECT:u-nobody"}]]
    markup = {"inline_keyboard": rows}
    await sandbox.call("sendMessage", chat_id=chat.user, text="?", reply_markup=markup)
    await chat.button("Meet").focus()
    await chat.page.keyboard.press("Enter")
    alert = chat.page.get_by_role("dialog", name="The bot says")
    await expect(alert).to_be_visible()
    await expect(chat.page.locator(".spinner")).to_have_count(0)
    await chat.page.keyboard.press("Enter")
    await expect(alert).to_have_count(0)
    await expect(chat.button("Meet")).to_be_focused()


async def test_the_focus_of_a_button_that_is_edited_away_goes_to_the_composer(
    chat: Chat,
) -> None:
    """It must not fall to the page itself, from which Tab begins at the top."""
    rows = {"inline_keyboard": [[{"text": "Go", "callback_data": "x"}]]}
    message = chat.message(-5, text="?", reply_markup=rows)
    await chat.hear("message", message=message)
    await chat.button("Go").focus()
    await chat.hear("edited", message=chat.message(-5, text="gone", edit_date=2))
    await expect(chat.button("Go")).to_have_count(0)
    await expect(chat.input).to_be_focused()


async def test_whoever_blocks_the_bot_stands_on_the_way_back(chat: Chat) -> None:
    """Block, unblock, write: each is where the focus is."""
    await chat.page.get_by_role("button", name="Block bot").focus()
    await chat.page.keyboard.press("Enter")
    await expect(
        chat.page.get_by_role("button", name="Unblock", exact=True)
    ).to_be_focused()
    await chat.page.keyboard.press("Enter")
    await expect(chat.input).to_be_focused()


async def test_a_blocked_bot_has_no_keyboard_to_press(
    chat: Chat, sandbox: Sandbox
) -> None:
    """It comes back when the bot is unblocked."""
    markup = {"keyboard": [["Tea"]]}
    await sandbox.call("sendMessage", chat_id=chat.user, text="?", reply_markup=markup)
    keyboard = chat.page.get_by_role("group", name="Keyboard of the bot")
    await expect(keyboard).to_be_visible()
    await chat.page.get_by_role("button", name="Block bot").click()
    await expect(chat.page.get_by_text("has blocked the bot")).to_be_visible()
    await expect(keyboard).to_have_count(0)
    await chat.page.get_by_role("button", name="Unblock", exact=True).click()
    await expect(keyboard).to_be_visible()


async def test_what_is_typed_into_a_form_replaces_what_stood_there(chat: Chat) -> None:
    """20 messages become 200, not 20020."""
    await chat.page.get_by_role("button", name="Burst").click()
    await chat.page.keyboard.type("200")
    count = chat.page.get_by_label("Messages", exact=True)
    await expect(count).to_have_value("200")


async def test_a_problem_covers_neither_keyboard_nor_composer(
    chat: Chat, sandbox: Sandbox
) -> None:
    """The note stands at the top of the page."""
    markup = {"keyboard": [["Tea"], ["Coffee"], ["Water"]]}
    await sandbox.call("sendMessage", chat_id=chat.user, text="?", reply_markup=markup)
    keyboard = chat.page.locator(".asked")
    await expect(keyboard).to_be_visible()
    show = "async () => (await import('/page/toast.js')).showProblem('It did not work')"
    await chat.page.evaluate(show)
    toast = await _box(chat.page.locator(".toast.problem"))
    assert toast["bottom"] < (await _box(keyboard))["top"]


async def test_a_user_is_named_in_full_beside_another(chat: Chat) -> None:
    """In half the width the buttons make room for the @name."""
    await chat.page.locator('[data-tab="1001"]').first.click()
    await chat.page.get_by_role("button", name="Two chats side by side").click()
    facts = chat.page.locator(".about .facts").first
    await expect(chat.page.locator(".pane")).to_have_count(2)
    await expect(facts).to_contain_text("@ada")
    cut = "(node) => node.scrollWidth > node.clientWidth"
    assert not await facts.evaluate(cut)


async def test_the_end_of_a_chat_stays_in_sight_when_it_becomes_narrower(
    chat: Chat,
) -> None:
    """Longer lines need more rows: the newest one is still shown whole."""
    for index in range(1, 30):
        text = f"{index} " + "words that fill a line and one more " * 3
        await chat.hear("message", message=chat.message(-100 + index, text=text))
    last = chat.of_bot("29 words")
    await expect(last).to_be_in_viewport(ratio=1)
    await chat.page.get_by_role("button", name="Two chats side by side").click()
    await expect(chat.page.locator(".pane")).to_have_count(2)
    await expect(last).to_be_in_viewport(ratio=1)


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_borders_of_controls_can_be_told_from_what_is_behind_them(
    chat: Chat, sandbox: Sandbox, scheme: str
) -> None:
    """Buttons, fields, keys and switches, in both colour schemes."""
    await chat.page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    keys = [[{"text": "Key", "callback_data": "x"}]]
    markup = {"inline_keyboard": keys}
    await sandbox.call("sendMessage", chat_id=chat.user, text="?", reply_markup=markup)
    await expect(chat.button("Key")).to_be_visible()
    await chat.page.get_by_role("button", name="Faults").click()
    await expect(chat.page.get_by_role("switch").first).to_be_visible()
    found = await chat.page.evaluate(
        _CONTRASTS, ".quiet, .key, .composer textarea, input, .switch"
    )
    kinds = ("quiet", "key", "textarea", "input", "switch")
    assert all(any(kind in node for node, _ in found) for kind in kinds)
    assert [pair for pair in found if pair[1] < LEAST_CONTRAST] == []


async def test_names_commands_and_addresses_in_a_text_can_be_followed(
    chat: Chat,
) -> None:
    """A name leads to its user's chat, a command is said, an address is a link."""
    text = "@grace /help t.me/x"
    kinds = [("mention", 0, 6), ("bot_command", 7, 5), ("url", 13, 6)]
    entities = [
        {"type": kind, "offset": offset, "length": length}
        for kind, offset, length in kinds
    ]
    await chat.hear("message", message=chat.message(-7, text=text, entities=entities))
    shown = chat.of_bot("@grace")
    await expect(shown.get_by_role("link")).to_have_attribute("href", "https://t.me/x")
    await shown.get_by_role("button", name="/help").click()
    await expect(chat.page.locator(".message.own")).to_contain_text("/help")
    await shown.get_by_role("button", name="@grace").click()
    await expect(chat.page.locator(".about b")).to_have_text("Grace Hopper")


async def test_a_reload_keeps_chats_and_begun_texts(page: Page) -> None:
    """Of this tab: who closes it begins with an empty page."""
    await page.get_by_role("tab", name="Linus").first.click()
    await page.get_by_role("button", name="Two chats side by side").click()
    await page.get_by_label("Message of Linus").fill("not yet sent")
    await page.reload()
    await page.get_by_text("Live", exact=True).wait_for()
    await expect(page.locator(".pane")).to_have_count(2)
    await expect(page.get_by_label("Message of Linus")).to_have_value("not yet sent")
