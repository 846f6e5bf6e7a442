"""A command for Redis, and the interface of the clients that send commands."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from msgspec import Struct, field

Argument = bytes | str | int


class RedisCommand(Struct, eq=False):
    """A command for Redis, and the future of its reply.

    Must be created while an event loop is running.

    Attributes:
        shard: the number of the shard that has the keys of the command.
        arguments: the name of the command and its arguments.
        reply: the future of the reply.
        send_count: how often it was sent. After more than once, an earlier sending may
            have taken effect.
        sent_at: the time of the last sending, by `Clock.uptime`.
    """

    shard: int
    arguments: tuple[Argument, ...]
    reply: asyncio.Future[Any] = field(default_factory=asyncio.Future)
    send_count: int = 0
    sent_at: float = 0.0

    def __repr__(self) -> str:
        """Show the shard only: asyncio may log the rest, which has the user's text."""
        return f"RedisCommand({self.shard!r})"


class RedisClient(Protocol):
    """The connections to Redis: one, or one to each node of a Cluster."""

    def set_health_callbacks(
        self, on_restart: Callable[[float], None], on_recovery: Callable[[float], None]
    ) -> None:
        """Set the callbacks for changes in the health of servers.

        Args:
            on_restart: called when a server has been replaced by another process, with
                the time of the last reply before that, by `Clock.uptime`.
            on_recovery: called when a server stops failing, with the seconds for which
                it failed.
        """

    def submit(self, command: RedisCommand, *, first: bool = False) -> None:
        """Send a command with the next batch, and repeat it until it is answered.

        Args:
            command: the command.
            first: send it before all other unsent commands.
        """

    def get_last_answer_time(self, shard: int) -> float:
        """Return when the server of a shard last answered, by `Clock.uptime`."""

    def is_shard_failing(self, shard: int) -> bool:
        """Return whether the server of a shard is failing."""


def consume_exception(reply: asyncio.Future[Any]) -> None:
    """Retrieve the exception of an unawaited reply, so that asyncio does not log it."""
    if not reply.cancelled():
        reply.exception()


async def execute_all(
    client: RedisClient, commands: Sequence[RedisCommand], max_seconds: float
) -> None:
    """Send commands, wait at most `max_seconds`, then cancel the missing replies.

    The time limit keeps one failing node of a Cluster from delaying the replies of the
    others.
    """
    for command in commands:
        client.submit(command)
    replies = [command.reply for command in commands]
    if replies:
        await asyncio.wait(replies, timeout=max_seconds)
    for reply in replies:
        reply.cancel()
