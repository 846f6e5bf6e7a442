"""`--keep`: the chats of the sandbox outlive it."""

import json
from pathlib import Path
from typing import Any

from tests.support.gateway_harness import TOKEN
from tests.support.process import run
from tests.support.sandbox import Sandbox, listens, process, running_sandbox
from tests.support.tcp_ports import free_ports
from tests.support.waiting import wait_until_found

USER = 1001


async def list_outcomes(sandbox: Sandbox) -> list[tuple[str, str]]:
    """Return the types and outcomes of all updates."""
    rows = (await sandbox.get("/updates"))["updates"]
    return [(row["kind"], row["outcome"]) for row in rows]


async def wait_for(sandbox: Sandbox, outcome: tuple[str, str]) -> None:
    """Wait until the only update has this outcome."""

    async def has_outcome() -> bool:
        return await list_outcomes(sandbox) == [outcome]

    await wait_until_found(has_outcome)


def read_messages(path: Path) -> list[dict[str, Any]]:
    """Return the messages that are kept of the only bot."""
    (bot,) = json.loads(path.read_text())["bots"]
    return list(bot["messages"])


async def test_a_button_of_a_kept_chat_works_in_the_next_sandbox(
    tmp_path: Path,
) -> None:
    path = tmp_path / "chats.json"
    async with running_sandbox("--keep", str(path)) as sandbox:
        await sandbox.do("say", user=USER, text="match")
        await wait_for(sandbox, ("message", "done"))
    said, *replies = read_messages(path)
    assert said["text"] == "match"
    offer = next(reply for reply in replies if "reply_markup" in reply)
    [[button, *_], *_] = offer["reply_markup"]["inline_keyboard"]
    async with running_sandbox("--keep", str(path)) as sandbox:
        await sandbox.do(
            "press",
            user=USER,
            chat=USER,
            message_id=offer["message_id"],
            data=button["callback_data"],
        )
        await wait_for(sandbox, ("callback_query", "done"))


async def test_the_next_sandbox_has_the_same_secrets(tmp_path: Path) -> None:
    """The gateway signs buttons from them."""
    path = tmp_path / "chats.json"
    gateway, ops, simulator, samples = map(str, free_ports(4))
    ports = ("--port", gateway, "--ops-port", ops, "--simulator-port", simulator)
    options = (*ports, "--samples-port", samples, "--keep", str(path))
    kept = []
    for _ in range(2):
        async with process("gateway", "sandbox", *options):
            await wait_until_found(lambda: listens(int(gateway)))
        content = json.loads(path.read_text())
        kept.append((content["token"], content["webhook_secret"]))
    assert kept[0] == kept[1]


async def test_telegram_keeps_the_chats_of_a_real_bot(tmp_path: Path) -> None:
    settings = {"TELEGRAM_BOT_TOKEN": TOKEN}
    keep = ("--keep", str(tmp_path / "chats.json"))
    code, output, errors = await run("dev", *keep, settings=settings)
    assert (code, output) == (2, "")
    assert errors == (
        "telegram-gateway: --keep: there is a TELEGRAM_BOT_TOKEN, and Telegram keeps"
        " the chats\n"
    )
