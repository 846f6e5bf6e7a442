"""A command for Redis, and the interface of the clients that send commands."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from msgspec import Struct, field

Argument = bytes | str | int


class RedisCommand(Struct, eq=False):
    """A command for Redis, and the future for its reply.

    It must be created while an event loop is running, and be safe to send more than
    once. Cancelling the future says that nobody waits any more: the command is then not
    sent again.

    Attributes:
        shard: the number of the shard to which the keys of the command belong.
        arguments: the name of the command and its arguments.
        reply: the future for the reply. It raises StoreError if Redis refuses the
            command, as StoreFull if Redis is full.
        send_count: how often the command was sent. After more than once, an earlier
            sending may have had its effect.
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
    """Sends commands to Redis: one server, or the nodes of a Cluster."""

    def set_health_callbacks(
        self, on_restart: Callable[[float], None], on_recovery: Callable[[float], None]
    ) -> None:
        """Set the functions to call when the health of a server changes.

        They replace earlier ones.

        Args:
            on_restart: called when a server was replaced by another process, which may
                lack the last writes, with the time of the last reply before that, by
                `Clock.uptime`.
            on_recovery: called when a server stops failing, with the seconds for which
                it failed.
        """

    def submit(self, command: RedisCommand, *, first: bool = False) -> None:
        """Send a command with the next batch, and repeat it until it is answered.

        Does not wait: await `command.reply`. If the server fails, the command waits
        until it answers or the reply is cancelled.

        Args:
            command: the command.
            first: True to send it before all other unsent commands; False to send it
                after them.
        """

    def get_last_answer_time(self, shard: int) -> float:
        """Return when the server of the shard with this number last answered.

        The time is by `Clock.uptime`.
        """

    def is_shard_failing(self, shard: int) -> bool:
        """Return whether the server of the shard with this number is failing."""


def consume_exception(reply: asyncio.Future[Any]) -> None:
    """Take note of the exception of a reply for which nobody waits.

    Otherwise asyncio would log the exception. Use it as a callback of the future.
    """
    if not reply.cancelled():
        reply.exception()


async def execute_all(
    client: RedisClient, commands: Sequence[RedisCommand], max_seconds: float
) -> None:
    """Send commands, and wait until all are answered or the time is over.

    Nothing is returned or raised: look at the `reply` of each command, which then has a
    result, has an exception, or is cancelled. The time limit keeps one failing node of
    a Cluster from delaying the replies of the others.

    Args:
        client: the connections to Redis.
        commands: the commands.
        max_seconds: the maximum number of seconds to wait; replies that are missing
            then are cancelled.
    """
    for command in commands:
        client.submit(command)
    replies = [command.reply for command in commands]
    if replies:
        await asyncio.wait(replies, timeout=max_seconds)
    for reply in replies:
        reply.cancel()
