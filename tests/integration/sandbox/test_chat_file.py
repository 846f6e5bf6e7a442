"""Chats that outlive the sandbox."""

import json
import stat
from pathlib import Path
from typing import Any

import pytest

from gateway.sandbox.launcher import chat_file
from gateway.sandbox.launcher.chat_file import ChatFile
from gateway.sandbox.server import Simulator
from tests.support.gateway_harness import TOKEN
from tests.support.waiting import wait_until

SECRET = "signs-buttons"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the chats are kept."""
    return tmp_path / "chats.json"


def build_simulator() -> Simulator:
    """Return a simulator with two bots."""
    simulator = Simulator(TOKEN, username="shop_bot")
    simulator.bots.add("7:secret", "Support", "support_bot")
    return simulator


async def talk(path: Path) -> dict[str, Any]:
    """Use a sandbox; gives what its page would show."""
    simulator = build_simulator()
    async with ChatFile(path).keeping(simulator, SECRET):
        shop, support = simulator.bots
        user = await shop.user_actions.add_user("Zoe", "de")
        await shop.user_actions.say(user["id"], "hello")
        bot = shop.profile
        markup = {"keyboard": [["Yes"]]}
        message = shop.chats.show(bot, user["id"], {"text": "Yes?"})
        shop.chats.show_reply_markup(user["id"], message, markup)
        doomed = shop.chats.show(bot, user["id"], {"text": "no"})
        shop.chats.delete(user["id"], doomed["message_id"])
        await support.user_actions.say(1001, "help me")
        await support.user_actions.block(1001, blocked=True)
        return look(simulator)


def look(simulator: Simulator) -> dict[str, Any]:
    """Return the chats and the users."""
    snapshot = simulator.snapshot()
    (other,) = snapshot["other_bots"]
    names = ("messages", "asked")
    return {
        "users": snapshot["users"],
        "shop": {name: snapshot[name] for name in names},
        "support": {name: other[name] for name in names},
        "blocked": [bot.users.blocked for bot in simulator.bots],
    }


async def test_chats_and_users_come_back(path: Path) -> None:
    before = await talk(path)
    assert "hello" in str(before["shop"])
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    file = ChatFile(path)
    assert (file.token, file.webhook_secret) == (TOKEN, SECRET)
    simulator = build_simulator()
    async with file.keeping(simulator, SECRET):
        assert look(simulator) == before
        shop = simulator.bots.first
        # The number of a deleted message is not used again.
        following = shop.chats.show(shop.profile, 1004, {"text": "and"})
        assert following["message_id"] == 4
        assert simulator.bots.first.users.find(1004)


async def test_chats_are_written_while_the_sandbox_runs(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be killed."""
    monkeypatch.setattr(chat_file, "WRITE_SECONDS", 0.01)
    simulator = build_simulator()
    async with ChatFile(path).keeping(simulator, SECRET):
        await simulator.user_actions.say(1001, "hello")
        await wait_until(lambda: path.exists() and "hello" in path.read_text())
        await simulator.user_actions.say(1001, "again")
        await wait_until(lambda: "again" in path.read_text())


async def test_chats_of_a_bot_that_is_not_there_are_kept(path: Path) -> None:
    await talk(path)
    alone = Simulator(TOKEN, username="shop_bot")
    async with ChatFile(path).keeping(alone, SECRET):
        assert not alone.bots.first.users.blocked
    assert "help me" in path.read_text()
    simulator = build_simulator()
    async with ChatFile(path).keeping(simulator, SECRET):
        assert "help me" in str(look(simulator)["support"])


OLD = {"format": "telegram-gateway: chats of the sandbox", "version": 0}


@pytest.mark.parametrize(
    ("content", "problem", "is_replaced"),
    [
        ("a shopping list", "is no file with chats; it stays as it is", False),
        ("{}", "is no file with chats; it stays as it is", False),
        ("[1]", "is no file with chats; it stays as it is", False),
        (json.dumps(OLD), "is of another version of the gateway", True),
        (json.dumps(OLD | {"version": 1}), "is damaged; its chats are ignored", True),
        (
            json.dumps(
                OLD
                | {
                    "version": 1,
                    "token": "7:token",
                    "webhook_secret": "s",
                    "users": [],
                    "bots": [
                        {
                            "username": "shop_bot",
                            "last_message_id": 1,
                            "messages": [{"message_id": 1}],
                            "asked": {},
                            "groups": [],
                            "blocked": [],
                        }
                    ],
                }
            ),
            "is damaged; its chats are ignored",
            True,
        ),
    ],
)
async def test_a_wrong_file_is_one_clear_line_and_ignored(
    path: Path,
    capsys: pytest.CaptureFixture[str],
    content: str,
    problem: str,
    *,
    is_replaced: bool,
) -> None:
    """A file of another kind is never overwritten."""
    path.write_text(content)
    simulator = build_simulator()
    file = ChatFile(path)
    assert (file.token, file.webhook_secret) == (None, None)
    async with file.keeping(simulator, SECRET):
        await simulator.user_actions.say(1001, "hello")
    errors = capsys.readouterr().err
    assert errors.startswith(f"--keep {path}: {problem}")
    assert len(errors.splitlines()) == 1
    assert ("hello" in path.read_text()) is is_replaced
    assert (path.read_text() == content) is not is_replaced


@pytest.mark.parametrize("name", ["", "none/chats.json"])
async def test_a_file_that_cannot_be_used_is_one_clear_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    """A folder, and a file in a folder that does not exist."""
    simulator = build_simulator()
    async with ChatFile(tmp_path / name).keeping(simulator, SECRET):
        await simulator.user_actions.say(1001, "hello")
    errors = capsys.readouterr().err
    assert "chats are not kept: " in errors
    assert len(errors.splitlines()) == 1
