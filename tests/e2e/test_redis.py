"""The whole gateway with a real Redis, and what users notice when that fails."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from gateway.actors.scheduler import ActorScheduler
from tests.support.backend import gate
from tests.support.gateway_harness import GatewayHarness, running_gateway
from tests.support.redis_servers import RedisServer
from tests.support.waiting import wait_until, wait_until_found

PATIENCE = 1.0
"""STORE_PATIENCE in these tests."""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    """Run a server that the test may do anything to."""
    server = RedisServer(
        tmp_path,
        # With everysec a busy Redis delays writes, and forgets them when it is killed.
        "--appendonly yes --appendfsync always --maxmemory-policy noeviction"
        " --requirepass hush-pw",
    )
    server.start()
    yield server
    server.kill()


def address(server: RedisServer) -> dict[str, Any]:
    """Return the settings of a gateway with this server."""
    url = f"redis://:hush-pw@127.0.0.1:{server.port}"
    return {"redis_url": url, "store_patience": PATIENCE}


async def health(gateway: GatewayHarness) -> dict[str, Any]:
    """Return what `/health` says."""
    status, body = await gateway.get("/health", ops=True)
    assert status == 200
    answer: dict[str, Any] = json.loads(body)
    return answer


async def is_well(gateway: GatewayHarness) -> bool:
    """Return whether the gateway runs on its Redis again."""
    return bool((await health(gateway))["status"] == "ok")


async def test_users_are_served_and_remembered(server: RedisServer) -> None:
    """A session outlives the process that opened it."""
    async with running_gateway(**address(server)) as first:
        await first.say("one")
        await first.ended(1)
        assert await health(first) | {"version": ""} == {
            "status": "ok",
            "version": "",
            "contracts": "no generation",
            "mailboxes": "redis",
            "bot_api": "ok",
            "active_actors": 0,
            "queued_updates": 0,
            "failing_tasks": [],
            "problems": [],
        }
        assert len(first.backend.asked("ResolveUser")) == 1
    async with running_gateway(**address(server)) as second:
        await second.say("two", update_id=2000)
        await second.say("one", update_id=1001)
        await second.ended(2)
        assert second.outcomes() == ["done", "duplicate"]
        assert second.backend.asked("ResolveUser") == []


async def test_an_outage_is_hardly_noticed(server: RedisServer) -> None:
    """Users get answers from memory, and limits; health says so; it heals alone."""
    async with running_gateway(
        **address(server), rate_limit_requests=1, rate_limit_window=3600
    ) as gateway:
        await gateway.say("before", user=1)
        await gateway.ended(1)
        server.kill()
        await asyncio.gather(gateway.say("during", user=1), gateway.say("x", user=2))
        await gateway.say("too fast", user=1)
        await gateway.ended(4)
        assert gateway.texts(2) == ["echo: x"]
        assert len(gateway.texts(1)) == 3
        assert "slow down" in gateway.texts(1)[-1]
        assert (await health(gateway))["status"] == "degraded"
        assert (await health(gateway))["mailboxes"] == "memory"
        _, metrics = await gateway.get("/metrics", ops=True)
        assert "gateway_degraded 1.0" in metrics
        assert (await gateway.get("/ready", ops=True))[0] == 200
        server.start()
        await wait_until_found(lambda: is_well(gateway))
        await gateway.say("after", user=3)
        await wait_until(lambda: gateway.texts(3) == ["echo: after"])
        await wait_until(lambda: gateway.outcomes().count("done") >= 4)
        assert gateway.outcomes().count("done") == 4
        log = json.dumps(gateway.log())
        for event in ("failover_started", "failover_ended"):
            assert log.count(event) == 1
        assert "hush" not in log


async def test_a_update_in_an_outage_ends_once(server: RedisServer) -> None:
    """The service that answered is not called again, and what waits follows."""
    async with running_gateway(**address(server)) as gateway:
        until = asyncio.Event()
        gate(gateway.backend, until, {7})
        for text in ("one", "two"):
            await gateway.say(text)
        await wait_until(lambda: gateway.backend.asked("SendMessage"))
        server.kill()
        until.set()
        await wait_until(lambda: gateway.texts() == ["echo: one"])
        server.start()
        await gateway.ended(2)
        assert gateway.texts() == ["echo: one", "echo: two"]
        assert len(gateway.backend.asked("SendMessage")) == 2


async def test_a_gateway_starts_without_its_redis(server: RedisServer) -> None:
    """It serves, says that it is degraded, and takes to Redis when it is there."""
    server.kill()
    async with running_gateway(**address(server)) as gateway:
        await gateway.say("hello")
        await gateway.ended(1)
        assert gateway.texts() == ["echo: hello"]
        assert (await health(gateway))["status"] == "degraded"
        server.start()
        await wait_until_found(lambda: is_well(gateway))


async def test_a_weak_redis_is_warned_of(server: RedisServer) -> None:
    """Once, at the start, in words that say what to set."""
    server.kill()
    server._options += ["--maxmemory-policy", "allkeys-lru"]  # noqa: SLF001 - as if configured
    server.start()
    async with running_gateway(**address(server)) as gateway:
        reasons = [
            line["reason"]
            for line in gateway.log()
            if line["message"] == "redis_weakens_durability"
        ]
    assert len(reasons) == 1
    assert "noeviction" in reasons[0]


async def test_sigterm_gives_mailboxes_back(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The end of a process leaves what waits to the others."""
    until = asyncio.Event()
    drain = ActorScheduler.drain

    async def drain_while_one_is_served(system: ActorScheduler, seconds: float) -> int:
        asyncio.get_running_loop().call_soon(until.set)
        return await drain(system, seconds)

    monkeypatch.setattr(ActorScheduler, "drain", drain_while_one_is_served)
    async with running_gateway(**address(server)) as first:
        gate(first.backend, until, {7})
        for text in ("one", "two", "three"):
            await first.say(text)
        await wait_until(lambda: first.backend.asked("SendMessage"))
    assert first.outcomes() == ["done"]
    async with running_gateway(**address(server)) as second:
        await second.ended(2)
        assert second.texts() == ["echo: two", "echo: three"]


@pytest.mark.parametrize(
    ("login", "database", "advice"),
    [
        ("", "", "Redis requires a password: add it to REDIS_URL"),
        (":hush-wrong@", "", "Redis rejects the user or the password in REDIS_URL"),
        ("nobody:hush-pw@", "", "Redis rejects the user or the password in REDIS_URL"),
        (":hush-pw@", "/99", "Redis has no database with the number in REDIS_URL"),
    ],
)
async def test_a_wrong_setting_of_redis_is_reported_in_words(
    server: RedisServer, login: str, database: str, advice: str
) -> None:
    """In the log and in health, and what to do; the password is in neither."""
    url = f"redis://{login}127.0.0.1:{server.port}{database}"
    async with running_gateway(redis_url=url, store_patience=PATIENCE) as gateway:

        async def is_told() -> bool:
            return any(advice in it for it in (await health(gateway))["problems"])

        await wait_until_found(is_told)
        assert (await health(gateway))["status"] == "degraded"
        await gateway.say("hi")
        await gateway.ended(1)  # it is served from memory
        lines = [it for it in gateway.log() if advice in str(it)]
        assert {it["message"] for it in lines} == {
            *("redis_unavailable_at_start", "redis_access_refused"),
        }
        assert len(lines) == 2
        assert "hush" not in str(gateway.log()) + str(await health(gateway))


async def test_a_mended_password_is_noticed(server: RedisServer) -> None:
    """Nothing has to be started again, and nothing is left of the complaint."""
    url = f"redis://gateway:hush-pw@127.0.0.1:{server.port}"
    async with running_gateway(redis_url=url, store_patience=PATIENCE) as gateway:

        async def is_told() -> bool:
            return bool((await health(gateway))["problems"])

        await wait_until_found(is_told)
        add_user = "ACL SETUSER gateway on >hush-pw ~* &* +@all"
        async with Redis.from_url(f"redis://:hush-pw@127.0.0.1:{server.port}") as admin:
            await admin.execute_command(*add_user.split())  # type: ignore[no-untyped-call]  # redis-py
        await wait_until_found(lambda: is_well(gateway))
        assert (await health(gateway))["problems"] == []


async def test_a_wrong_bot_token_is_reported_in_words() -> None:
    """In the log and in health, until Telegram takes it again."""
    advice = "set TELEGRAM_BOT_TOKEN to the token from BotFather"
    async with running_gateway(
        telegram_bot_token="7400000001:AAother-token"
    ) as gateway:

        async def is_told() -> bool:
            return any(advice in it for it in (await health(gateway))["problems"])

        await wait_until_found(is_told)
        assert (await health(gateway))["status"] == "degraded"
        assert any(advice in str(it) and it["level"] == "error" for it in gateway.log())
        assert "AAother" not in str(gateway.log()) + str(await health(gateway))
