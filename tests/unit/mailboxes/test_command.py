"""The commands for Redis."""

from gateway.mailboxes.redis.client.command import RedisCommand


async def test_a_command_does_not_show_the_text_in_its_arguments() -> None:
    command = RedisCommand(7, (b"SET", b"key", b"hush"))
    assert repr(command) == "RedisCommand(7)"
