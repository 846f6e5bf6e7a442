"""`telegram-gateway dead-letters`, as a process, beside a gateway that runs.

Where it ends before it has anything to do with a gateway, it runs in this process.
"""

import logging
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from redis.asyncio import Redis

from gateway.cli import main
from gateway.domain.bot_api_call import BotApiCall
from gateway.domain.update import Update
from gateway.domain.user_state import UserState, encode_user_state
from gateway.telegram.messenger import TelegramMessenger
from tests.support.gateway_harness import SECRET, TOKEN, GatewayHarness, running_gateway
from tests.support.process import run
from tests.support.redis_servers import RedisServer
from tests.support.stores import KEYS
from tests.support.tcp_ports import free_ports
from tests.support.waiting import wait_until

CANARIES = ("canary", "Canary", "Ann", TOKEN, SECRET)

USER_KEY = b"7400000001/7"
"""The ordering key of user 7."""


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    """Run a Redis."""
    server = RedisServer(tmp_path)
    server.start()
    yield server
    server.kill()


async def dead(*arguments: str, url: str = "") -> tuple[int, list[str], list[str]]:
    """Run `dead`; gives its exit code and the lines of its output and errors."""
    code, output, errors = await run(
        "dead-letters", *arguments, settings=settings_of(url)
    )
    return code, *read(output, errors)


def settings_of(url: str) -> dict[str, str]:
    """Return the environment of `dead`."""
    return {
        "TELEGRAM_BOT_TOKEN": TOKEN,
        "TELEGRAM_WEBHOOK_SECRET": SECRET,
        "REDIS_URL": url,
    }


def read(output: str, errors: str) -> tuple[list[str], list[str]]:
    """Return the lines of both, which hold nothing that a user wrote."""
    assert not any(canary in output + errors for canary in CANARIES)
    assert "Traceback" not in errors
    return output.splitlines(), errors.splitlines()


DeadHere = Callable[..., tuple[int, list[str], list[str]]]


@pytest.fixture
def dead_here(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> DeadHere:
    """Return what runs `dead` in this process, and gives what `dead` above gives."""

    def run_here(*arguments: str, url: str = "") -> tuple[int, list[str], list[str]]:
        words = ["telegram-gateway", "dead-letters", *arguments]
        monkeypatch.setattr(sys, "argv", words)
        for name, value in (settings_of(url) | {"ENV_FILE": ""}).items():
            monkeypatch.setenv(name, value)
        # It adds a handler, which later tests must not find.
        monkeypatch.setattr(logging.getLogger("gateway"), "handlers", [])
        with pytest.raises(SystemExit) as end:
            main.main()
        assert isinstance(end.value.code, int)
        return end.value.code, *read(*capfd.readouterr())

    return run_here


async def crash(gateway: GatewayHarness, *texts: str, user: int = 7) -> list[int]:
    """Let the gateway crash in the turn of each of these texts; return the ids."""
    compose = TelegramMessenger.render

    def broken(
        self: TelegramMessenger, update: Update, reply: object, **_: object
    ) -> Sequence[BotApiCall]:
        raise ZeroDivisionError

    TelegramMessenger.render = broken  # type: ignore[method-assign]  # a fault
    try:
        before = len(gateway.turns())
        ids = [await gateway.say(text, user=user) for text in texts]
        await gateway.ended(before + len(texts))
    finally:
        TelegramMessenger.render = compose  # type: ignore[method-assign]  # its end
    assert gateway.outcomes()[before:] == ["crashed"] * len(texts)
    return ids


async def test_a_crashed_update_is_listed_replayed_and_served(
    redis: RedisServer,
) -> None:
    """Once the fault is mended; neither late nor too fast for its user."""
    async with running_gateway(redis_url=redis.url, rate_limit_requests=1) as gateway:
        (update_id,) = await crash(gateway, "canary text")
        code, (line,), _ = await dead("list", url=redis.url)
        assert code == 0
        assert (
            f"UTC  update={update_id} ordering_key=7400000001/7 reason=crashed" in line
        )
        dead_letter = line.split()[0]
        assert await dead("replay", dead_letter, url=redis.url) == (
            *(0, ["replayed 1 of 1"], []),
        )
        await wait_until(lambda: gateway.texts() == ["echo: canary text"])
        await gateway.ended(2)
        assert gateway.outcomes() == ["crashed", "done"]
        assert gateway.turns()[1]["queue_ms"] == 0
        assert await dead("list", url=redis.url) == (0, [], [])
        code, _, errors = await dead("replay", dead_letter, url=redis.url)
        assert (code, errors) == (1, [f"{dead_letter}: there is no such dead letter"])


async def test_many_are_replayed_by_their_reason(redis: RedisServer) -> None:
    """What cannot be read is told and stays; what fails again comes back once."""
    async with running_gateway(redis_url=redis.url) as gateway:
        await gateway.post(b'{"update_id": 5, "message": "canary"}')
        await crash(gateway, "canary one", "canary two", user=8)
        code, lines, _ = await dead("list", url=redis.url)
        assert [line.split("=")[-1] for line in lines] == (
            ["malformed", "crashed", "crashed"]
        )
        assert "update=- ordering_key=- reason=malformed" in lines[0]
        _, some, errors = await dead("list", "--limit", "1", url=redis.url)
        assert (some, len(errors)) == (lines[:1], 1)
        assert await dead("replay", "--reason", "crashed", url=redis.url) == (
            *(0, ["replayed 2 of 2"], []),
        )
        echoes = ["echo: canary one", "echo: canary two"]
        await wait_until(lambda: gateway.texts(8) == echoes)
        code, output, errors = await dead("replay", "--all", url=redis.url)
        assert (code, output) == (1, ["replayed 0 of 1"])
        assert errors == [
            f"{lines[0].split()[0]}: still cannot be parsed, not replayed"
        ]
        assert await dead("list", url=redis.url) == (0, lines[:1], [])


async def test_letters_are_deleted_as_they_are_replayed(redis: RedisServer) -> None:
    """By their ids, by their reason, or all of them; what is gone already is told."""
    async with running_gateway(redis_url=redis.url) as gateway:
        await gateway.post(b'{"update_id": 5, "message": "canary"}')
        await crash(gateway, "canary one", "canary two")
        _, lines, _ = await dead("list", url=redis.url)
        first = lines[0].split()[0]
        assert await dead("delete", first, url=redis.url) == (0, ["deleted 1 of 1"], [])
        code, output, errors = await dead("delete", first, url=redis.url)
        assert (code, output) == (1, ["deleted 0 of 1"])
        assert errors == [f"{first}: there is no such dead letter"]
        assert await dead("list", url=redis.url) == (0, lines[1:], [])
        none = await dead("delete", "--reason", "poison", url=redis.url)
        assert none == (0, ["deleted 0 of 0"], [])
        crashed = await dead("delete", "--reason", "crashed", url=redis.url)
        assert crashed == (0, ["deleted 2 of 2"], [])
        assert await dead("delete", "--all", url=redis.url) == (
            *(0, ["deleted 0 of 0"], []),
        )
        assert await dead("list", url=redis.url) == (0, [], [])


async def test_who_writes_to_redis_is_nobody_else(redis: RedisServer) -> None:
    """Neither by a forged state nor by forged updates, nor when that is replayed."""
    shard = KEYS.get_shard(USER_KEY)
    state = encode_user_state(
        UserState(internal_user_id="admin-0001", session_until=9e9)
    )
    body = b'{"update_id": 4, "message": {"message_id": 1, "date": 1, "from": '
    body += b'{"id": 7, "is_bot": false, "first_name": "canary"}, "chat": {"id": 7,'
    body += b' "type": "private"}, "text": "canary"}}'
    async with running_gateway(redis_url=redis.url) as gateway:
        async with Redis.from_url(redis.url) as stranger:
            await stranger.set(shard.state_key(USER_KEY), state)
            await stranger.zadd(shard.mailbox_key(USER_KEY), {b"4 0.0 " + body: 4})
            await stranger.zadd(shard.pending, {USER_KEY: 1})
        await gateway.say("hello")
        await gateway.ended(1)
        (request,) = gateway.backend.asked("SendMessage")
        assert request.message.text == "hello"
        assert request.context.internal_user_id not in {"", "admin-0001"}
        _, metrics = await gateway.get("/metrics", ops=True)
        for what in ("state", "update"):
            assert f'gateway_forged_entries_total{{entry="{what}"}} 1.0' in metrics
        _, (line,), _ = await dead("list", url=redis.url)
        assert "ordering_key=7400000001/7 reason=forged" in line
        dead_letter = line.split()[0]
        assert await dead("replay", dead_letter, url=redis.url) == (
            *(
                1,
                ["replayed 0 of 1"],
                [f"{dead_letter}: is forged, not replayed"],
            ),
        )


def test_without_a_redis_there_is_nothing_to_list(dead_here: DeadHere) -> None:
    """They end with the process that has them."""
    for command in (("list",), ("replay", "--all"), ("delete", "--all")):
        code, output, errors = dead_here(*command)
        assert (code, output, len(errors)) == (2, [], 1)
        assert "REDIS_URL" in errors[0]


def test_an_address_that_cannot_be_used_is_one_line(dead_here: DeadHere) -> None:
    """And it is not quoted: a password may be in it."""
    code, output, errors = dead_here("list", url="redis://127.0.0.1:1?canary=1")
    assert (code, output, len(errors)) == (2, [], 1)
    assert "REDIS_URL" in errors[0]


@pytest.mark.parametrize("silent", [False, True])
async def test_a_redis_that_does_not_answer_is_one_line(*, silent: bool) -> None:
    """Soon, whether it refuses or says nothing; its address is not told."""
    (port,) = free_ports(1)
    with socket.socket() as listener:
        if silent:
            listener.bind(("127.0.0.1", port))
            listener.listen()
        url = f"redis://:canary@127.0.0.1:{port}"
        code, output, errors = await dead("list", url=url)
    assert (code, output) == (1, [])
    assert errors == ["telegram-gateway: Redis does not answer"]


@pytest.mark.parametrize(
    "arguments",
    [(), ("--all", "--reason", "poison"), ("1-1-1", "--all"), ("no-such-id",)],
)
@pytest.mark.parametrize("command", ["replay", "delete"])
def test_what_to_replay_or_delete_is_said_exactly(
    command: str, arguments: tuple[str, ...], dead_here: DeadHere
) -> None:
    """Nothing is replayed or deleted by mistake."""
    code, output, errors = dead_here(command, *arguments, url="redis://127.0.0.1:1")
    assert (code, output) == (2, [])
    assert errors[-1].startswith("Error: ")
