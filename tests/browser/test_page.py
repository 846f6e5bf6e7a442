"""The sandbox's page in a real browser, over the whole gateway."""

import asyncio

import pytest
from playwright.async_api import BrowserContext, Page, Route, expect

from tests.browser.chat import Chat
from tests.support.sandbox import Sandbox, listens, process, running_sandbox
from tests.support.tcp_ports import free_ports
from tests.support.waiting import wait_until_found

pytestmark = pytest.mark.asyncio(loop_scope="session")

SLOW_DOWN = "You're sending messages too fast"
APOLOGY = "Something went wrong on our side"


async def test_a_typed_message_is_answered(chat: Chat) -> None:
    """What a user types, and the reply, show in the chat."""
    await chat.say("hello there")
    await expect(chat.page.locator(".message.own")).to_contain_text("hello there")
    await expect(chat.of_bot("You said: hello there")).to_be_visible()


async def test_markup_of_a_message_never_becomes_markup_of_the_page(chat: Chat) -> None:
    """Foreign text is only ever text."""
    text = '<img src="/nowhere" onerror="document.title = 1">'
    await chat.say(text)
    await expect(chat.of_bot(text)).to_be_visible()
    assert await chat.page.locator(".log img").count() == 0


async def test_formatted_text_shows_its_format(chat: Chat) -> None:
    """Entities become bold text and code."""
    await chat.say("/start")
    welcome = chat.of_bot("Welcome, Test!")
    await expect(welcome.locator("strong")).to_have_text("Welcome, Test!")
    await expect(welcome.locator("code")).to_have_text("match")


async def test_spoilers_quotes_and_code_look_as_in_telegram(
    chat: Chat, sandbox: Sandbox
) -> None:
    """A spoiler is covered until it is clicked; blocks and links are real ones."""
    text = (
        "A <tg-spoiler>secret</tg-spoiler>, <b>bold <i>and italic</i></b>,"
        ' <a href="https://example.org/">a link</a>'
        "<blockquote>quoted</blockquote><pre>code()</pre>"
    )
    await sandbox.call("sendMessage", chat_id=chat.user, text=text, parse_mode="HTML")
    shown = chat.of_bot("bold and italic")
    await expect(shown.locator("strong em")).to_have_text("and italic")
    await expect(shown.locator("a")).to_have_attribute("href", "https://example.org/")
    await expect(shown.locator("blockquote")).to_have_text("quoted")
    await expect(shown.locator("pre")).to_have_text("code()")
    secret = shown.get_by_text("secret")
    await expect(secret).to_be_hidden()
    await shown.get_by_role("button", name="Show the hidden text").click()
    await expect(secret).to_be_visible()


async def test_an_odd_message_does_not_hide_the_others(chat: Chat) -> None:
    """Entities without a place do nothing; what cannot be drawn becomes a note."""
    odd = {"text": "odd", "entities": [None, {"type": "bold"}, {"offset": "0"}]}
    await chat.hear("message", message=chat.message(-2, **odd))
    rows = {"inline_keyboard": [{"text": "no list"}]}
    await chat.hear("message", message=chat.message(-1, text="bad", reply_markup=rows))
    await expect(chat.of_bot("odd")).to_be_visible()
    await expect(chat.of_bot("A message that this page cannot show")).to_be_visible()
    await chat.say("still there")
    await expect(chat.of_bot("You said: still there")).to_be_visible()


async def test_what_the_bot_is_doing_shows_until_it_says_something(
    chat: Chat, sandbox: Sandbox
) -> None:
    """Typing, then a message that grows, then the message."""
    await sandbox.call("sendChatAction", chat_id=chat.user, action="typing")
    await expect(chat.page.locator(".action")).to_have_text("typing …")
    await sandbox.call("sendMessageDraft", chat_id=chat.user, draft_id=1, text="A mess")
    await expect(chat.page.locator(".draft")).to_contain_text("A mess")
    await sandbox.call("sendMessage", chat_id=chat.user, text="A message")
    await expect(chat.of_bot("A message")).to_be_visible()
    await expect(chat.page.locator(".draft, .action")).to_have_count(0)


async def test_a_draft_that_never_becomes_a_message_ends(
    timed_chat: Chat, sandbox: Sandbox
) -> None:
    """Half a minute after its newest piece, as in Telegram."""
    chat = timed_chat
    await chat.page.clock.install()
    await sandbox.call("sendMessageDraft", chat_id=chat.user, draft_id=1, text="A me")
    draft = chat.page.locator(".draft")
    await expect(draft).to_contain_text("A me")
    await chat.page.clock.run_for(20_000)
    await sandbox.call("sendMessageDraft", chat_id=chat.user, draft_id=1, text="A mess")
    await expect(draft).to_contain_text("A mess")
    await chat.page.clock.run_for(20_000)
    await expect(draft).to_contain_text("A mess")
    await chat.page.clock.run_for(20_000)
    await expect(draft).to_have_count(0)


async def test_a_draft_can_be_stopped(chat: Chat, sandbox: Sandbox) -> None:
    """The button stays the same while the text grows, and says which draft it is."""
    draft = {"chat_id": chat.user, "draft_id": 77, "can_stop": True}
    await sandbox.call("sendMessageDraft", **draft, text="A")
    stop = chat.page.get_by_role("button", name="Stop")
    await expect(stop).to_be_visible()
    button = await stop.element_handle()
    await sandbox.call("sendMessageDraft", **draft, text="A mess")
    await expect(chat.page.locator(".draft")).to_contain_text("A mess")
    assert button is not None
    assert await button.is_visible()
    await stop.click()
    row = await chat.open_row("stopped_message_generation")
    await row.get_by_role("button", name="Update, JSON").click()
    await expect(row.locator("pre").first).to_contain_text('"draft_id": 77')


async def test_a_stopped_answer_is_no_failure(chat: Chat) -> None:
    """It is what the user wanted: no red, and a sentence that says so."""
    words = "const words = await import('/page/words.js')"
    row = "{ outcome: 'stopped', state: 'accepted', status: 200 }"
    tone = f"async () => {{ {words}; return words.verdict({row}).tone; }}"
    meaning = f"async () => {{ {words}; return words.meaning('stopped'); }}"
    assert await chat.page.evaluate(tone) == "warn"
    assert await chat.page.evaluate(meaning)


async def test_a_reply_that_lost_a_part_is_amber_and_says_why(chat: Chat) -> None:
    """The row, the reason and the step that Telegram refused, with its words."""
    await chat.say("lossy")
    row = await chat.open_row("lossy")
    await expect(row.locator(".verdict")).to_have_text("done")
    update_id = int(await row.get_attribute("data-update") or 0)
    refused = "sendMessage: 400 Bad Request: can't parse entities"
    step = {"name": "send", "start": 1.0, "end": 2.0, "detail": refused, "failed": True}
    losses = [f"Telegram refused {refused}", "Left out of the reply: button url."]
    record = {"outcome": "done", "steps": [step], "losses": losses}
    await chat.hear("turn", update_id=update_id, turn=record)
    await expect(row.locator(".verdict.warn")).to_have_text("incomplete")
    await expect(row.locator(".losses li")).to_have_text(losses)
    await expect(row.locator(".step.failed")).to_contain_text(refused)


async def test_an_edit_of_what_is_not_shown_shows_nothing(chat: Chat) -> None:
    """It does not come in at the end, as if it were new."""
    await chat.hear("message", message=chat.message(-1, text="shown"))
    await chat.hear("edited", message=chat.message(-2, text="long gone"))
    await chat.hear("edited", message=chat.message(-1, text="shown again"))
    await expect(chat.of_bot("shown again")).to_be_visible()
    await expect(chat.page.locator(".message")).to_have_count(1)


async def test_a_keyboard_of_the_bot_sends_its_texts(
    chat: Chat, sandbox: Sandbox
) -> None:
    """It stands above the place to write until the bot takes it away."""
    rows = {"keyboard": [["Tea", "Coffee"]], "input_field_placeholder": "Tea?"}
    await sandbox.call("sendMessage", chat_id=chat.user, text="?", reply_markup=rows)
    keyboard = chat.page.get_by_role("group", name="Keyboard of the bot")
    await expect(chat.page.get_by_placeholder("Tea?")).to_be_visible()
    await keyboard.get_by_role("button", name="Tea").click()
    await expect(chat.of_bot("You said: Tea")).to_be_visible()
    await expect(keyboard).to_be_visible()
    gone = {"remove_keyboard": True}
    await sandbox.call("sendMessage", chat_id=chat.user, text="!", reply_markup=gone)
    await expect(keyboard).to_have_count(0)
    await expect(chat.input).to_be_visible()


async def test_a_forced_reply_is_written_at_once(chat: Chat, sandbox: Sandbox) -> None:
    """The place to write has the focus, and the answer quotes what was asked."""
    force = {"force_reply": True, "input_field_placeholder": "A colour"}
    await sandbox.call(
        "sendMessage", chat_id=chat.user, text="Which one?", reply_markup=force
    )
    await expect(chat.page.locator(".asked .quote")).to_have_text(
        "Answer to Which one?"
    )
    place = chat.page.get_by_placeholder("A colour")
    await expect(place).to_be_focused()
    await place.fill("Green")
    await place.press("Enter")
    own = chat.page.locator(".message.own").filter(has_text="Green")
    await expect(own.locator(".quote")).to_have_text("Which one?")
    await expect(chat.page.locator(".asked")).to_have_count(0)


async def test_buttons_show_their_style(chat: Chat, sandbox: Sandbox) -> None:
    """What cannot be undone does not look like the rest."""
    keys = [{"text": "Delete", "callback_data": "x", "style": "danger"}]
    keys.append({"text": "Keep", "callback_data": "y"})
    await sandbox.call(
        "sendMessage",
        chat_id=chat.user,
        text="Sure?",
        reply_markup={"inline_keyboard": [keys]},
    )
    await expect(chat.button("Delete")).to_have_class("key danger")
    await expect(chat.button("Keep")).to_have_class("key")


async def test_a_pressed_button_turns_until_it_is_answered(
    chat: Chat, sandbox: Sandbox
) -> None:
    """The spinner begins with the press and ends with its answer, here an alert."""
    buttons = [[{"text": "Meet", "callback_data": "CONNECT:u-nobody"}]]
    await sandbox.call(
        "sendMessage",
        chat_id=chat.user,
        text="Nobody might be someone for you.",
        reply_markup={"inline_keyboard": buttons},
    )
    released = asyncio.Event()

    async def hold(route: Route) -> None:
        await released.wait()
        await route.continue_()

    await chat.page.route("**/do/press", hold)
    await chat.button("Meet").click()
    await expect(chat.button("Meet")).to_have_attribute("aria-busy", "true")
    released.set()
    alert = chat.page.get_by_role("dialog", name="The bot says")
    await expect(alert).to_contain_text("This person is not here any more.")
    await alert.get_by_role("button", name="OK").click()
    await expect(alert).to_have_count(0)
    await expect(chat.button("Meet")).to_be_visible()
    await expect(chat.page.locator(".spinner")).to_have_count(0)


async def test_a_press_edits_the_message_in_place(chat: Chat) -> None:
    """The text is new, the buttons are gone, and the answer is a short note."""
    await chat.say("match")
    await chat.button("Connect").wait_for()
    await chat.rest()
    await chat.button("Connect").click()
    await expect(chat.page.locator(".toast")).to_have_text("Done")
    edited = chat.of_bot("You asked Grace.")
    await expect(edited).to_contain_text("edited")
    await expect(edited.locator(".key")).to_have_count(0)


async def test_a_burst_is_limited_and_says_so(chat: Chat) -> None:
    """The user is told in the chat; the rows name the limiter and the mailbox."""
    await chat.page.get_by_role("button", name="Burst").click()
    await chat.page.get_by_label("Messages", exact=True).fill("20")
    await chat.page.get_by_label("Text", exact=True).fill("so many")
    await chat.page.get_by_role("button", name="Send all at once").click()
    await expect(chat.of_bot(SLOW_DOWN)).to_be_visible()
    mine = chat.rows.filter(has_text="so many")
    limited = mine.filter(has=chat.page.locator(".verdict.warn", has_text="limited"))
    await expect(limited).not_to_have_count(0)
    await expect(mine.locator(".verdict.busy")).to_have_count(0)
    await limited.first.locator(".row-head").click()
    await expect(limited.first.locator(".meaning")).to_contain_text("rate limit")
    await expect(limited.first.locator(".step.limited")).to_be_visible()
    await expect(limited.first.locator(".step.waited")).to_be_visible()


async def test_an_update_opens_into_its_timeline(chat: Chat) -> None:
    """Steps, the update as JSON, and what the service was asked and answered."""
    await chat.say("how did this go")
    await chat.of_bot("You said: how did this go").wait_for()
    row = await chat.open_row("how did this go")
    for step in ("received", "stored", "session", "call", "send", "committed"):
        await expect(row.locator(f".step.{step}").first).to_be_visible()
    await expect(row.locator(".verdict")).to_have_text("done")
    code = row.locator("pre.code")
    await row.get_by_role("button", name="Update, JSON").click()
    await expect(code).to_contain_text('"text": "how did this go"')
    await row.get_by_role("button", name="Request").click()
    await expect(code).to_contain_text("how did this go")
    await row.get_by_role("button", name="Reply").click()
    await expect(code).to_contain_text("You said: how did this go")
    await row.locator(".row-head").press("Enter")
    await expect(code).to_have_count(0)


async def test_commands_are_completed_by_keyboard(chat: Chat) -> None:
    """A slash opens the bot's menu; keys choose from it and send."""
    await chat.input.press_sequentially("/pr")
    option = chat.page.get_by_role("option")
    await expect(option).to_have_count(1)
    await expect(option).to_contain_text("/profile")
    await chat.input.press("Enter")
    await expect(chat.of_bot("Your user id")).to_be_visible()


@pytest.mark.parametrize("kind", ["Photo", "Sticker", "Contact"])
async def test_attachments_are_sent_from_the_menu(chat: Chat, kind: str) -> None:
    """The chat shows what was sent, and the service hears of it."""
    await chat.page.get_by_role("button", name="Attach").click()
    await chat.page.get_by_role("menuitem", name=kind, exact=True).click()
    await expect(chat.of_bot(f"Thank you for the {kind.lower()}!")).to_be_visible()
    shown = chat.page.locator(".own .attachment, .own .sticker")
    await expect(shown).to_be_visible()


async def test_an_album_is_sent_from_the_menu(chat: Chat) -> None:
    """Each photo is a message and an update of its own."""
    await chat.page.get_by_role("button", name="Attach").click()
    await chat.page.get_by_role("menuitem", name="Album of 3 photos").click()
    await expect(chat.page.locator(".own .pictured")).to_have_count(3)
    await expect(chat.of_bot("Thank you for the photo!").first).to_be_visible()


async def test_a_blocked_bot_is_said_and_undone(chat: Chat) -> None:
    """Nothing can be written until the bot is unblocked; then it greets."""
    await chat.page.get_by_role("button", name="Block bot").click()
    await expect(chat.page.get_by_text("has blocked the bot")).to_be_visible()
    await expect(chat.input).to_be_hidden()
    await chat.page.get_by_role("button", name="Unblock", exact=True).click()
    await expect(chat.of_bot("Good to have you back!")).to_be_visible()
    await expect(chat.input).to_be_visible()


async def test_faults_are_switched_on_and_off(chat: Chat, sandbox: Sandbox) -> None:
    """A reply that may not have arrived is a row that says so."""
    await chat.page.get_by_role("button", name="Faults").click()
    switch = chat.page.get_by_role("switch", name="Lost answer")
    await switch.click()
    await expect(switch).to_be_checked()
    try:
        await sandbox.do("say", user=chat.user, text="not to be heard of")
        row = chat.rows.filter(has_text="not to be heard of").first
        await expect(row.locator(".verdict")).to_have_text("send failed")
    finally:
        await switch.click()
    await expect(switch).not_to_be_checked()


async def test_menus_tabs_and_rows_follow_the_keys(
    chat: Chat, sandbox: Sandbox
) -> None:
    """What a mouse can do, a keyboard can: nothing has to be pointed at."""
    page = chat.page
    attach = page.get_by_role("button", name="Attach")
    await attach.focus()
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("menuitem", name="Photo", exact=True)).to_be_focused()
    await page.keyboard.press("ArrowDown")
    await expect(page.get_by_role("menuitem", name="Document")).to_be_focused()
    await page.keyboard.press("Escape")
    await expect(attach).to_be_focused()
    await page.locator('[data-tab="1001"]').click()
    await page.locator('[data-tab="1001"]').focus()
    await page.keyboard.press("ArrowRight")
    grace = page.get_by_role("tab", name="Grace")
    await expect(grace).to_be_focused()
    await expect(grace).to_have_attribute("aria-selected", "true")
    await sandbox.do("burst", user=chat.user, count=2, text="for the keys")
    heads = page.locator(".row-head").filter(has_text="for the keys")
    await expect(heads).to_have_count(2)
    await heads.nth(0).focus()
    await page.keyboard.press("ArrowDown")
    await expect(heads.nth(1)).to_be_focused()
    await page.keyboard.press("Enter")
    await expect(heads.nth(1)).to_have_attribute("aria-expanded", "true")


async def test_two_chats_stand_side_by_side(chat: Chat) -> None:
    await chat.page.get_by_role("button", name="Two chats side by side").click()
    panes = chat.page.locator(".pane")
    await expect(panes).to_have_count(2)
    second = panes.nth(1)
    await second.get_by_role("tab", name="Grace").click()
    await second.get_by_label("Message of Grace").fill("from the other side")
    await second.get_by_role("button", name="Send").click()
    await expect(second).to_contain_text("You said: from the other side")
    await expect(panes.nth(0)).not_to_contain_text("from the other side")


async def test_a_narrow_page_shows_one_part_at_a_time(chat: Chat) -> None:
    """At the width of a phone nothing has to be scrolled sideways."""
    await chat.page.set_viewport_size({"width": 390, "height": 844})
    await chat.say("small")
    await chat.of_bot("You said: small").wait_for()
    await chat.page.get_by_role("tab", name="What happened").click()
    await expect(chat.input).to_be_hidden()
    await chat.open_row("small")
    assert await chat.page.evaluate("document.documentElement.scrollWidth") == 390


async def test_a_dead_service_means_an_apology(window: BrowserContext) -> None:
    """The user is told, and the row names the service's failure."""
    (port,) = free_ports(1)
    own = process("gateway.sandbox.samples", "--port", str(port))
    service = f"conversation=127.0.0.1:{port}"
    async with own as samples:
        # Without it the first message would get the apology already.
        await wait_until_found(lambda: listens(port))
        async with running_sandbox("--service", service) as sandbox:
            page = await window.new_page()
            await page.goto(sandbox.url)
            chat = Chat(page, 1001)
            await chat.say("are you there")
            await chat.of_bot("You said: are you there").wait_for()
            samples.kill()
            await samples.wait()
            await chat.rest()
            await chat.say("and now")
            await expect(chat.of_bot(APOLOGY)).to_be_visible()
            row = chat.rows.filter(has_text="and now").first
            await expect(row.locator(".verdict.bad")).to_have_text(
                "service unavailable"
            )
            await page.close()


async def test_a_lost_stream_is_said_and_found_again(
    window: BrowserContext, sandbox: Sandbox
) -> None:
    """The page says that it is cut off, and goes on as soon as it can."""
    page = await window.new_page()
    await page.route("**/events", lambda route: route.fulfill(status=503))
    await page.goto(sandbox.url)
    connection = page.locator("#connection")
    await expect(connection).to_have_text("Disconnected, trying again")
    await page.unroute("**/events")
    await expect(connection).to_have_text("Live")
    await expect(page.locator("[role=tab]", has_text="Grace")).to_be_visible()
    await page.close()


async def test_ten_thousand_updates_stay_usable(
    chat: Chat, page: Page, sandbox: Sandbox
) -> None:
    """The newest ones show, the others are counted, and the page still answers."""
    before = (await sandbox.get("/updates?limit=1"))["total_updates"]
    await sandbox.do("burst", user=chat.user, count=10_000, text="load")
    total = f"{before + 10_000:,} updates"
    await expect(page.locator(".total")).to_have_text(total, timeout=60_000)
    await expect(chat.rows).to_have_count(200)
    await expect(page.locator(".more")).to_contain_text(f"{before + 9_800:,} older")
    assert await page.locator(".message").count() <= 203
    await page.locator("[role=tab]", has_text="Grace").first.click()
    await expect(page.locator(".about b")).to_have_text("Grace Hopper")
    await page.get_by_role("button", name="Load 100 older").click()
    await expect(chat.rows).to_have_count(300)
