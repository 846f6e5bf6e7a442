"""Keeps the chats of the simulator in a file, over a restart of the sandbox.

The file has the users, and for each bot the messages and the users who blocked it. It
also has the secrets of the sandbox, from which the gateway signs buttons: otherwise the
buttons in old messages would not work. Updates and the contents of files are not kept.

Concurrency: one task, which writes the file whenever something has changed. The file is
written under another name and then renamed, so that it is always complete.
"""

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct, field

from gateway.background import cancel_and_wait
from gateway.sandbox.server import Simulator
from gateway.sandbox.simulator.simulated_bot import SimulatedBot
from gateway.sandbox.simulator.state.users import User

WRITE_SECONDS = 2.0
"""Interval at which changes are written."""

_FORMAT = "telegram-gateway: chats of the sandbox"
_VERSION = 1


class _Header(Struct):
    """What the files of all versions have.

    Attributes:
        format: a constant.
        version: the version of the other fields.
    """

    format: str
    version: int


class _Chat(Struct):
    id: int


class _Sender(Struct):
    is_bot: bool


class _Message(Struct):
    """The fields of a message on which the simulator relies."""

    message_id: int
    chat: _Chat
    sender: _Sender = field(name="from")


class _KeptBot(Struct):
    """The chats of one bot.

    Attributes:
        username: which bot it is.
        last_message_id: the number of the newest message, which may be deleted.
        messages: the messages as Telegram's Message objects, oldest first.
        asked: the reply keyboards and forced replies that are shown, by chat id.
        groups: the ids of groups in which a user wrote.
        blocked: the ids of users who blocked the bot.
    """

    username: str
    last_message_id: int
    messages: list[dict[str, Any]]
    asked: dict[str, dict[str, Any]]
    groups: list[int]
    blocked: list[int]


class _Content(Struct):
    """The content of the file.

    Attributes:
        token: the token of the first bot.
        webhook_secret: the secret of the webhooks.
        users: the users of Telegram.
        bots: the bots, also those of earlier sandboxes.
    """

    token: str
    webhook_secret: str
    users: list[User]
    bots: list[_KeptBot]
    format: str = _FORMAT
    version: int = _VERSION


class ChatFile:
    """The file in which the chats are kept. It is read when the object is created.

    A file that does not exist, is damaged, or was written by another version has no
    chats; it is written at the next change. A file of another kind is never written.
    Problems are reported on standard error.

    Args:
        path: the path of the file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._is_writable = True
        self._content = self._read()
        self._written = b""

    @property
    def token(self) -> str | None:
        """The token of the first bot in the file; None if the file has no chats."""
        return self._content.token if self._content else None

    @property
    def webhook_secret(self) -> str | None:
        """The secret of the webhooks in the file; None if the file has no chats."""
        return self._content.webhook_secret if self._content else None

    @contextlib.asynccontextmanager
    async def keeping(
        self, simulator: Simulator, webhook_secret: str
    ) -> AsyncIterator[None]:
        """Restore the chats from the file, and write changes within the block to it.

        Changes are written every two seconds and at the end of the block.

        Args:
            simulator: gets the restored chats, and has the chats to write.
            webhook_secret: the secret of the webhooks, which is written as well.
        """
        if self._content:
            _restore(simulator, self._content)
        task = asyncio.create_task(
            self._keep_writing(simulator, webhook_secret), name="write chats"
        )
        try:
            yield
        finally:
            await cancel_and_wait(task)
            self._write(self._collect(simulator, webhook_secret))

    async def _keep_writing(self, simulator: Simulator, webhook_secret: str) -> None:
        while True:
            await asyncio.sleep(WRITE_SECONDS)
            self._write(self._collect(simulator, webhook_secret))

    def _read(self) -> _Content | None:
        try:
            content = self._path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            self._is_writable = False
            self._report(f"cannot be read, and chats are not kept: {error.strerror}")
            return None
        try:
            header = msgspec.json.decode(content, type=_Header)
        except msgspec.DecodeError:
            header = _Header("", 0)
        if header.format != _FORMAT:
            self._is_writable = False
            self._report("is no file with chats; it stays as it is, nothing is kept")
            return None
        if header.version != _VERSION:
            self._report("is of another version of the gateway; its chats are ignored")
            return None
        try:
            kept = msgspec.json.decode(content, type=_Content)
            for bot in kept.bots:
                msgspec.convert(bot.messages, type=list[_Message])
        except msgspec.DecodeError:
            self._report("is damaged; its chats are ignored")
            return None
        return kept

    def _collect(self, simulator: Simulator, webhook_secret: str) -> bytes:
        bots = [_keep(bot) for bot in simulator.bots]
        present = {bot.username for bot in bots}
        others = self._content.bots if self._content else []
        return msgspec.json.encode(
            _Content(
                token=simulator.bots.first.token,
                webhook_secret=webhook_secret,
                users=simulator.bots.first.users.list_all(),
                bots=[*bots, *(bot for bot in others if bot.username not in present)],
            )
        )

    def _write(self, content: bytes) -> None:
        if not self._is_writable or content == self._written:
            return
        new = self._path.with_name(f"{self._path.name}.new")
        try:
            new.unlink(missing_ok=True)
            descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
            new.replace(self._path)
        except OSError as error:
            self._is_writable = False
            self._report(f"cannot be written, and chats are not kept: {error.strerror}")
        self._written = content

    def _report(self, problem: str) -> None:
        sys.stderr.write(f"--keep {self._path}: {problem}\n")


def _restore(simulator: Simulator, content: _Content) -> None:
    kept = {bot.username: bot for bot in content.bots}
    for bot in simulator.bots:
        if found := kept.get(bot.profile["username"]):
            bot.users.restore(content.users, found.blocked)
            bot.chats.restore(
                found.messages, found.last_message_id, found.asked, found.groups
            )


def _keep(bot: SimulatedBot) -> _KeptBot:
    return _KeptBot(
        username=bot.profile["username"],
        last_message_id=bot.chats.last_message_id,
        messages=list(bot.chats.all_messages()),
        asked=bot.chats.asked,
        groups=sorted(bot.chats.groups),
        blocked=sorted(bot.users.blocked),
    )
