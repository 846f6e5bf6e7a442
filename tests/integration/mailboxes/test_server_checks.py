"""The check of the Redis that is found at start."""

from pathlib import Path

import pytest

from gateway.domain.errors import StoreUnavailable
from gateway.mailboxes.redis.client.connection_factory import make_connection_factory
from gateway.mailboxes.redis.client.server_checks import inspect_server
from tests.support.redis_servers import RedisServer
from tests.support.tcp_ports import free_ports


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ("--appendonly yes", []),
        ("--appendonly yes --appendfsync no", ["appendfsync everysec"]),
        ("", ["appendonly yes"]),
        (
            "--maxmemory 100mb --maxmemory-policy allkeys-lru",
            ["noeviction", "appendonly yes"],
        ),
        ("--appendonly yes --replicaof 127.0.0.1 1", ["replica"]),
    ],
)
async def test_what_weakens_the_promise_is_reported(
    tmp_path: Path, options: str, says: list[str]
) -> None:
    """One warning for each, which says what to set."""
    server = RedisServer(tmp_path, options)
    server.start()
    try:
        found = await inspect_server(make_connection_factory(server.url))
    finally:
        server.kill()
    assert len(found.warnings) == len(says)
    assert all(word in text for word, text in zip(says, found.warnings, strict=True))


async def test_a_server_that_may_not_be_asked_is_reported(tmp_path: Path) -> None:
    """It answers, but nobody will notice when it is another process."""
    server = RedisServer(tmp_path)
    server.start()
    server.ask("ACL SETUSER default -info")
    try:
        found = await inspect_server(make_connection_factory(server.url))
    finally:
        server.kill()
    (warning,) = found.warnings
    assert "no INFO" in warning


async def test_a_server_that_does_not_answer_is_distinguished() -> None:
    """It is no reason to warn of anything."""
    with pytest.raises(StoreUnavailable):
        await inspect_server(
            make_connection_factory(f"redis://127.0.0.1:{free_ports(1)[0]}")
        )
