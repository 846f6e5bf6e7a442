"""A batch of commands that are sent in one write, and the handling of its replies."""

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
from gateway.mailboxes.redis.client.command import Argument, RedisCommand
from gateway.observability.logging import summarize_error

logger = logging.getLogger(__name__)

MAX_BATCH_COMMANDS, MAX_BATCH_BYTES = 500, 1 << 20
"""The maximum size of a batch: Redis executes that well within the batch timeout."""

RedirectCallback = Callable[[RedisCommand, AskError | TryAgainError], None]
"""Called with a command whose Cluster slot is on another node or is being moved."""

_TRANSIENT_ERROR_CODES = ("MISCONF ", "BUSY ", "NOREPLICAS ", "UNKILLABLE ")
"""Codes of temporary errors without a redis-py class. The command is repeated."""


class CommandBatch:
    """The commands of one batch, whose replies arrive in the same order."""

    __slots__ = ("_commands", "_redirected", "_reply_count", "_transient_error")

    def __init__(self) -> None:
        self._commands: list[RedisCommand] = []
        self._reply_count = 0
        self._redirected: list[tuple[RedisCommand, AskError | TryAgainError]] = []
        self._transient_error: Exception | None = None

    def __len__(self) -> int:
        """Return the number of commands, which is also the number of replies."""
        return len(self._commands)

    @property
    def unanswered(self) -> list[RedisCommand]:
        """The commands whose callers still wait for a reply."""
        return [command for command in self._commands if not command.reply.done()]

    def fill(self, queue: deque[RedisCommand], sent_at: float) -> bytes:
        """Move commands from the queue into the batch, and return them encoded.

        Args:
            queue: the unsent commands.
            sent_at: the current time, by `Clock.uptime`.
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

    def handle_reply(self, reply: Any) -> bool:  # noqa: ANN401 - any reply
        """Deliver the next reply. Return whether it was the last one.

        Raises:
            Exception: the reply concerns the connection, not a command; for example the
                server does not accept the login.
        """
        command = self._commands[self._reply_count]
        self._reply_count += 1
        if isinstance(reply, Exception):
            self._handle_error(command, reply)
        elif not command.reply.done():
            command.reply.set_result(reply)
        return self._reply_count == len(self._commands)

    def finish(self, redirect: RedirectCallback) -> None:
        """Redirect commands to other nodes, once all replies have arrived.

        Raises:
            Exception: a temporary error, after which commands have to be repeated.
        """
        for command, redirection in self._redirected:
            self._commands.remove(command)
            if not command.reply.done():
                redirect(command, redirection)
        if self._transient_error is not None:
            raise self._transient_error

    def _handle_error(self, command: RedisCommand, error: Exception) -> None:
        """Fail the command with the error, or record a redirection or temporary error.

        redis-py removes the error code from the text if it has a class for the code, so
        the class decides.
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
                "redis_command_refused", extra={"error": summarize_error(error)}
            )
        else:
            self._transient_error = error
            return
        if not command.reply.done():
            command.reply.set_exception(answer)


def encode_command(arguments: tuple[Argument, ...]) -> bytes:
    """Encode a command in the protocol of Redis."""
    packed: bytes = pack_command(arguments)  # type: ignore[arg-type]  # a longer tuple
    return packed
