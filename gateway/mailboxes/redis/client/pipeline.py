"""Commands that travel in one write, and what becomes of each."""

import logging
from collections import deque
from collections.abc import Callable
from typing import Any

from hiredis import pack_command
from redis.exceptions import (
    AskError,
    OutOfMemoryError,
    ResponseError,
    TryAgainError,
)

from gateway.domain.errors import StoreError, StoreFull
from gateway.logs import describe
from gateway.mailboxes.redis.commands import Argument, Command

logger = logging.getLogger(__name__)

MOST_COMMANDS, MOST_BYTES = 500, 1 << 20
"""Of one batch: Redis does it well within the deadline."""

Redirect = Callable[[Command, AskError | TryAgainError], None]
"""Takes a command whose slot of a Cluster is elsewhere or on the move."""

_PASSING = ("MISCONF ", "BUSY ", "NOREPLICAS ", "UNKILLABLE ")
"""Codes that redis-py has no class for: they pass, so the command is repeated."""


class Batch:
    """What is under way."""

    __slots__ = ("_astray", "_commands", "_refused", "_taken")

    def __init__(self) -> None:
        self._commands: list[Command] = []
        self._taken = 0
        self._astray: list[tuple[Command, AskError | TryAgainError]] = []
        self._refused: Exception | None = None

    def __len__(self) -> int:
        """Give how many answers there will be."""
        return len(self._commands)

    @property
    def unanswered(self) -> list[Command]:
        """What is still waited for."""
        return [command for command in self._commands if not command.reply.done()]

    def fill(self, queue: deque[Command], sent: float) -> bytes:
        """Move commands from the queue into the batch; give them as one write.

        Args:
            queue: what waits.
            sent: the time, by `Clock.uptime`.
        """
        packed = []
        size = 0
        commands = self._commands
        while queue and len(commands) < MOST_COMMANDS and size < MOST_BYTES:
            command = queue.popleft()
            if command.reply.done():
                continue
            command.sent = sent
            command.sends += 1
            commands.append(command)
            packed.append(pack(command.arguments))
            size += len(packed[-1])
        return b"".join(packed)

    def take(self, reply: Any) -> bool:  # noqa: ANN401 - as Redis answers
        """Hand out the next answer. True: it was the last.

        Raises:
            Exception: it is none, because the server lets nobody in.
        """
        command = self._commands[self._taken]
        self._taken += 1
        if isinstance(reply, Exception):
            self._take_error(command, reply)
        elif not command.reply.done():
            command.reply.set_result(reply)
        return self._taken == len(self._commands)

    def finish(self, redirect: Redirect) -> None:
        """Send on what went astray.

        Raises:
            Exception: the server refused something that is to be repeated.
        """
        for command, direction in self._astray:
            self._commands.remove(command)
            if not command.reply.done():
                redirect(command, direction)
        if self._refused is not None:
            raise self._refused

    def _take_error(self, command: Command, error: Exception) -> None:
        """Take an error as the answer, or note what it tells to do.

        redis-py takes the code out of the text, so the class is what tells.
        """
        answer: StoreError
        if not isinstance(error, ResponseError):
            raise error
        if isinstance(error, AskError | TryAgainError):
            self._astray.append((command, error))
            return
        if type(error) is OutOfMemoryError:
            answer = StoreFull("Redis is full")
        elif type(error) is ResponseError and not str(error).startswith(_PASSING):
            answer = StoreError("Redis refused a command")
            logger.error("redis refused a command", extra={"error": describe(error)})
        else:
            self._refused = error
            return
        if not command.reply.done():
            command.reply.set_exception(answer)


def pack(arguments: tuple[Argument, ...]) -> bytes:
    """Write a command in the protocol of Redis."""
    packed: bytes = pack_command(arguments)  # type: ignore[arg-type]  # a longer tuple
    return packed
