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
from gateway.mailboxes.redis.commands import Argument, RedisCommand
from gateway.observability.logging import summarize_error

logger = logging.getLogger(__name__)

MAX_BATCH_COMMANDS, MAX_BATCH_BYTES = 500, 1 << 20
"""Of one batch: Redis does it well within the deadline."""

RedirectCallback = Callable[[RedisCommand, AskError | TryAgainError], None]
"""Takes a command whose slot of a Cluster is elsewhere or on the move."""

_TRANSIENT_ERROR_CODES = ("MISCONF ", "BUSY ", "NOREPLICAS ", "UNKILLABLE ")
"""Codes that redis-py has no class for: they pass, so the command is repeated."""


class CommandBatch:
    """What is under way."""

    __slots__ = ("_commands", "_redirected", "_reply_count", "_transient_error")

    def __init__(self) -> None:
        self._commands: list[RedisCommand] = []
        self._reply_count = 0
        self._redirected: list[tuple[RedisCommand, AskError | TryAgainError]] = []
        self._transient_error: Exception | None = None

    def __len__(self) -> int:
        """Give how many answers there will be."""
        return len(self._commands)

    @property
    def unanswered(self) -> list[RedisCommand]:
        """What is still waited for."""
        return [command for command in self._commands if not command.reply.done()]

    def fill(self, queue: deque[RedisCommand], sent_at: float) -> bytes:
        """Move commands from the queue into the batch; give them as one write.

        Args:
            queue: what waits.
            sent_at: the time, by `Clock.uptime`.
        """
        packed = []
        size = 0
        commands = self._commands
        while queue and len(commands) < MAX_BATCH_COMMANDS and size < MAX_BATCH_BYTES:
            command = queue.popleft()
            if command.reply.done():
                continue
            command.sent_at = sent_at
            command.send_count += 1
            commands.append(command)
            packed.append(encode_command(command.arguments))
            size += len(packed[-1])
        return b"".join(packed)

    def handle_reply(self, reply: Any) -> bool:  # noqa: ANN401 - as Redis answers
        """Hand out the next answer. True: it was the last.

        Raises:
            Exception: it is none, because the server lets nobody in.
        """
        command = self._commands[self._reply_count]
        self._reply_count += 1
        if isinstance(reply, Exception):
            self._handle_error(command, reply)
        elif not command.reply.done():
            command.reply.set_result(reply)
        return self._reply_count == len(self._commands)

    def finish(self, redirect: RedirectCallback) -> None:
        """Send on what went astray.

        Raises:
            Exception: the server refused something that is to be repeated.
        """
        for command, redirection in self._redirected:
            self._commands.remove(command)
            if not command.reply.done():
                redirect(command, redirection)
        if self._transient_error is not None:
            raise self._transient_error

    def _handle_error(self, command: RedisCommand, error: Exception) -> None:
        """Take an error as the answer, or note what it tells to do.

        redis-py takes the code out of the text, so the class is what tells.
        """
        answer: StoreError
        if not isinstance(error, ResponseError):
            raise error
        if isinstance(error, AskError | TryAgainError):
            self._redirected.append((command, error))
            return
        if type(error) is OutOfMemoryError:
            answer = StoreFull("Redis is full")
        elif type(error) is ResponseError and not str(error).startswith(
            _TRANSIENT_ERROR_CODES
        ):
            answer = StoreError("Redis refused a command")
            logger.error(
                "redis refused a command", extra={"error": summarize_error(error)}
            )
        else:
            self._transient_error = error
            return
        if not command.reply.done():
            command.reply.set_exception(answer)


def encode_command(arguments: tuple[Argument, ...]) -> bytes:
    """Write a command in the protocol of Redis."""
    packed: bytes = pack_command(arguments)  # type: ignore[arg-type]  # a longer tuple
    return packed
