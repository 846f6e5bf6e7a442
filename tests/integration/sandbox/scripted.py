"""A bot that polls, with fixed answers: enough for each step of a scenario."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from gateway.background import cancel_and_wait
from gateway.sandbox.server import Simulator
from gateway.sandbox.tracing.trace_model import UpdateTrace
from tests.integration.sandbox.bot import Bot

KEYBOARD = [
    [
        {"text": "Yes?", "callback_data": "YES:1"},
        {"text": "Look", "callback_data": "LOOK:1"},
        {"text": "Web", "url": "https://example.org/"},
    ]
]


@asynccontextmanager
async def answering(simulator: Simulator, bot: Bot) -> AsyncIterator[None]:
    """Answer all updates inside of the block."""
    task = asyncio.create_task(_run(simulator, bot))
    try:
        yield
    finally:
        await cancel_and_wait(task)


async def _run(simulator: Simulator, bot: Bot) -> None:
    offset = 0
    while True:
        for update in await bot.result("getUpdates", offset=offset, timeout=5):
            offset = update["update_id"] + 1
            text = update.get("message", {}).get("text", "")
            if text != "silence":
                await _answer(bot, update)
            outcome = "limited" if text == "limit me" else "done"
            simulator.update_log.add_trace(
                UpdateTrace(update_id=offset - 1, outcome=outcome)
            )


async def _answer(bot: Bot, update: dict[str, Any]) -> None:
    if query := update.get("callback_query"):
        await _answer_press(bot, query)
    elif message := update.get("message"):
        user = message["from"]
        if message.get("text") == "buttons":
            await bot.result(
                "sendMessage",
                chat_id=user["id"],
                text="Choose",
                reply_markup={"inline_keyboard": KEYBOARD},
            )
            return
        verb, _, asked = message.get("text", "").partition(" ")
        if verb == "send":
            file = {asked: "AAAA", "caption": f"a {asked}"}
            await bot.result(f"send{asked.title()}", chat_id=user["id"], **file)
            return
        kind = "photo" if "photo" in message else "other"
        said = message.get("text") or f"{kind} {message.get('caption', '')}"
        text = f"{user['first_name']} ({user['language_code']}): {said}"
        await bot.result("sendMessage", chat_id=user["id"], text=text)
    elif query := update.get("inline_query"):
        result = {
            "type": "article",
            "id": "1",
            "title": f"About {query['query']}",
            "input_message_content": {"message_text": "found"},
        }
        await bot.result(
            "answerInlineQuery", inline_query_id=query["id"], results=[result]
        )
    elif update["my_chat_member"]["new_chat_member"]["status"] == "member":
        chat = update["my_chat_member"]["chat"]["id"]
        await bot.result("sendMessage", chat_id=chat, text="back")


async def _answer_press(bot: Bot, query: dict[str, Any]) -> None:
    answers = {"YES:1": ("Done", False), "LOOK:1": ("Look!", True)}
    text, alert = answers[query["data"]]
    await bot.result(
        "answerCallbackQuery",
        callback_query_id=query["id"],
        text=text,
        show_alert=alert,
    )
    message = query["message"]
    await bot.result(
        "editMessageText",
        chat_id=message["chat"]["id"],
        message_id=message["message_id"],
        text=f"{query['data']} was chosen",
    )
