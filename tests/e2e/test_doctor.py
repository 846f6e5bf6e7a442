"""`check` and `doctor` say everything that is wrong, and what to do."""

import asyncio
import contextlib
import json
import ssl
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.cli.doctor.redis import examine_redis
from gateway.cli.doctor.report import Verdict
from gateway.sandbox.server import Simulator
from tests.support.backend import Backend
from tests.support.backend import serving as serving_backend
from tests.support.gateway_harness import SECRET, TOKEN, running_gateway
from tests.support.process import SERVICES, run
from tests.support.redis_servers import RedisServer
from tests.support.services.health import NOT_SERVING, Health
from tests.support.services.reflection import Reflection
from tests.support.services.tls import CA, CERTIFICATES
from tests.support.tcp_ports import free_ports

PASSWORD = "canary-redis-password"

Found = dict[str, list[tuple[str, str]]]
"""Verdicts and texts by subject."""


@pytest.fixture
def simulator() -> Simulator:
    """Return a Bot API without faults."""
    return Simulator(TOKEN)


@pytest.fixture
async def settings(simulator: Simulator) -> AsyncIterator[dict[str, str]]:
    """Serve a Bot API and all services, and give the settings that lead there."""
    async with simulator.serve() as url, serving_backend(Backend()) as target:
        yield {
            "TELEGRAM_BOT_TOKEN": TOKEN,
            "TELEGRAM_WEBHOOK_SECRET": SECRET,
            "TELEGRAM_API_URL": url,
            **{f"{name}_TARGET": target for name in SERVICES},
        }


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """Run a Redis that is as it should be."""
    server = RedisServer(tmp_path_factory.mktemp("redis"), "--appendonly yes")
    server.start()
    yield server
    server.kill()


async def examine(settings: dict[str, str]) -> tuple[int, Found]:
    """Run the doctor; give its exit code, and verdicts and texts by subject."""
    code, output, errors = await run("doctor", "--json", settings=settings)
    assert errors == ""
    for secret in (TOKEN, SECRET, PASSWORD):
        assert secret not in output
    report: dict[str, Any] = json.loads(output)
    assert report["ok"] is (code == 0)
    found: dict[str, list[tuple[str, str]]] = {}
    for it in report["findings"]:
        found.setdefault(it["subject"], []).append((it["verdict"], it["text"]))
    return code, found


async def test_everything_that_works_is_listed(
    settings: dict[str, str], redis: RedisServer
) -> None:
    async with running_gateway() as gateway:
        files = f"http://127.0.0.1:{gateway.settings.ops_port}"
        settings |= {
            "UPDATES": "poll",
            "REDIS_URL": redis.url,
            "FILES_URL": files,
        }
        code, output, errors = await run("doctor", settings=settings)
    # This gateway has no FILES_URL of its own, so it serves no files.
    assert (code, errors) == (1, "")
    lines = output.splitlines()
    assert lines[-1] == "1 failed"
    assert [line.split()[0] for line in lines[:-1]] == ["ok"] * 8 + ["failed"]
    for word in ("knows @", "no webhook is set", "appendfsync everysec", "without TLS"):
        assert word in output


async def test_files_are_requested_from_the_gateway(settings: dict[str, str]) -> None:
    (ops_port,) = free_ports(1)
    url = f"http://127.0.0.1:{ops_port}"
    settings |= {"UPDATES": "poll", "FILES_URL": url}
    async with running_gateway(ops_port=ops_port, files_url=url):
        code, found = await examine(settings)
    assert (code, found["files"]) == (0, [("ok", f"{url} leads to the gateway")])
    code, found = await examine(settings)
    assert code == 1
    assert "nothing answers at" in found["files"][0][1]


async def test_the_port_for_deliveries_is_examined(settings: dict[str, str]) -> None:
    """With the encryption that callers use."""
    _, found = await examine(settings)
    assert found["delivery"] == [
        ("ok", "DELIVERY_PORT is not set: services only answer")
    ]
    [port] = free_ports(1)
    settings["DELIVERY_PORT"] = str(port)
    code, found = await examine(settings)
    assert code == 1
    [(verdict, text)] = found["delivery"]
    assert verdict == "failed"
    assert f"127.0.0.1:{port}: nothing listens" in text
    async with running_gateway(delivery_port=port):
        _, found = await examine(settings)
        assert found["delivery"] == [("ok", f"127.0.0.1:{port} answers without TLS")]
        settings["DELIVERY_TLS_CERTIFICATE_FILE"] = str(CERTIFICATES / "server.pem")
        settings["DELIVERY_TLS_KEY_FILE"] = str(CERTIFICATES / "server.key")
        _, found = await examine(settings)
        [(verdict, text)] = found["delivery"]
        assert verdict == "failed"
        assert "does not speak TLS" in text


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        pytest.param({"TELEGRAM_BOT_TOKEN": "1:wrong"}, "token is invalid", id="token"),
        pytest.param(
            {"TELEGRAM_API_URL": "http://127.0.0.1:1"}, "TELEGRAM_API_URL", id="address"
        ),
    ],
)
async def test_a_bot_that_cannot_be_asked_is_explained(
    settings: dict[str, str], changes: dict[str, str], words: str
) -> None:
    code, found = await examine(settings | changes)
    ((verdict, text),) = found["bot"]
    assert (code, verdict) == (1, "failed")
    assert words in text


async def test_the_webhook_is_compared_with_the_settings_and_the_routes(
    settings: dict[str, str], simulator: Simulator
) -> None:
    _, found = await examine(settings)
    assert found["webhook"] == [
        (
            "failed",
            (
                "none is set, so Telegram sends no updates:"
                " run `telegram-gateway webhook set`"
            ),
        )
    ]
    (port,) = free_ports(1)
    simulator.webhook.update(
        url=f"https://127.0.0.1:{port}/bot",
        allowed_updates=["message"],
        last_error_date=int(time.time()),
        last_error_message="Wrong response from the webhook: 502 Bad Gateway",
    )
    settings["WEBHOOK_URL"] = "https://bot.example.com/webhook/telegram"
    code, found = await examine(settings)
    assert code == 1
    texts = "\n".join(text for _, text in found["webhook"])
    for words in (
        "not https://bot.example.com/webhook/telegram",
        "Telegram does not send business_connection, ",
        "callback_query",
        "the proxy does not reach the gateway",
        "cannot be reached from here",
    ):
        assert words in texts
    del settings["WEBHOOK_URL"]
    _, found = await examine(settings)
    assert "a proxy has to rewrite the path" in found["webhook"][0][1]
    settings["UPDATES"] = "poll"
    _, found = await examine(settings)
    assert "refuses getUpdates" in found["polling"][0][1]


async def test_the_certificate_of_the_webhook_is_checked(
    settings: dict[str, str], simulator: Simulator
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATES / "expired.pem", CERTIFICATES / "expired.key")
    async with await asyncio.start_server(
        lambda _, writer: writer.close(), "127.0.0.1", 0, ssl=context
    ) as server:
        port = server.sockets[0].getsockname()[1]
        simulator.webhook["url"] = f"https://localhost:{port}/webhook/telegram"
        trusting = settings | {"SSL_CERT_FILE": str(CERTIFICATES / "expired.pem")}
        _, found = await examine(trusting)
    assert "certificate has expired" in found["webhook"][-1][1]


@pytest.mark.parametrize(
    ("options", "url", "verdict", "words"),
    [
        pytest.param("", "{url}", "warning", "set appendonly yes", id="no file"),
        pytest.param(
            f"--requirepass {PASSWORD}", "{url}", "failed", "password", id="no password"
        ),
        pytest.param(
            f"--requirepass {PASSWORD} --appendonly yes",
            f"redis://:{PASSWORD}@{{host}}",
            "ok",
            "a primary",
            id="password",
        ),
        pytest.param(
            "", f"redis://:{PASSWORD}@{{host}}", "failed", "rejects", id="unknown user"
        ),
        pytest.param("", "rediss://{host}", "failed", "TLS", id="TLS"),
        pytest.param(
            "", "redis://127.0.0.1:1", "failed", "nothing listens", id="refused"
        ),
        pytest.param(
            "", "redis://no-such-host.invalid", "failed", "not found", id="name"
        ),
    ],
)
async def test_redis_is_examined(
    settings: dict[str, str],
    tmp_path: Path,
    options: str,
    url: str,
    verdict: str,
    words: str,
) -> None:
    server = RedisServer(tmp_path, options)
    with contextlib.suppress(AssertionError):
        server.start()
    try:
        host = server.url.removeprefix("redis://")
        address = url.format(url=server.url, host=host)
        settings |= {"UPDATES": "poll", "REDIS_URL": address}
        code, found = await examine(settings)
    finally:
        server.kill()
    assert code == (verdict == "failed")
    found_verdict, text = found["redis"][-1]
    assert found_verdict == verdict
    assert words in text


async def test_services_are_examined(settings: dict[str, str]) -> None:
    """Each of the four has a problem of its own, or none."""
    names = {
        "PROFILE": "botgateway.profile.v1.ProfileService",
        "MATCHING": "botgateway.matching.v1.MatchingService",
    }
    async with (
        serving_backend(Backend(), Health({"": NOT_SERVING})) as not_serving,
        serving_backend(Backend(), Reflection([names["MATCHING"]])) as matching,
    ):
        settings |= {
            "UPDATES": "poll",
            "CONVERSATION_TARGET": not_serving,
            "MATCHING_TARGET": matching,
            "PROFILE_TARGET": matching,
            "NOTIFICATION_TARGET": "127.0.0.1:1",
        }
        code, found = await examine(settings)
    assert code == 1
    verdicts = {
        subject.removeprefix("service "): (verdict, text)
        for subject, [(verdict, text)] in found.items()
        if subject.startswith("service ")
    }
    assert {name: verdict for name, (verdict, _) in verdicts.items()} == {
        "CONVERSATION": "failed",
        "MATCHING": "ok",
        "NOTIFICATION": "failed",
        "PROFILE": "warning",
    }
    assert "not serving" in verdicts["CONVERSATION"][1]
    assert "lists its contract" in verdicts["MATCHING"][1]
    assert "nothing listens" in verdicts["NOTIFICATION"][1]
    assert names["PROFILE"] in verdicts["PROFILE"][1]


async def test_the_check_reports_all_problems_at_once() -> None:
    settings = {
        "TELEGRAM_BOT_TOKEN": TOKEN,
        "TELEGRAM_WEBHOOK_SECRET": SECRET,
        **{f"{name}_TARGET": "127.0.0.1:1" for name in SERVICES},
    }
    code, output, errors = await run("check", settings=settings)
    assert (code, errors) == (0, "")
    assert "13 routes of 4 services" in output
    code, output, errors = await run(
        "check",
        settings=settings
        | {
            "PROFILE_STREAMING": "yes",
            "SERVICES_TLS": "yes",
            "SERVICES_TLS_CA_FILE": "/nowhere/ca.pem",
            "REDIS_URL": "redis://127.0.0.1?colour=red",
        },
    )
    assert (code, output) == (2, "")
    lines = errors.splitlines()
    assert len(lines) == 3
    for line, words in zip(lines, ("STREAMING", "/nowhere", "REDIS_URL"), strict=True):
        assert words in line
    settings |= {"SERVICES_TLS": "yes", "SERVICES_TLS_CA_FILE": str(CA)}
    assert (await run("check", settings=settings))[0] == 0


async def test_a_warning_of_the_check_counts_if_it_is_strict() -> None:
    settings = {
        "TELEGRAM_BOT_TOKEN": TOKEN,
        "TELEGRAM_WEBHOOK_SECRET": SECRET,
        "RATE_LIMIT_REQUEST": "3",
        **{f"{name}_TARGET": "127.0.0.1:1" for name in SERVICES},
    }
    code, _, errors = await run("check", settings=settings)
    assert code == 0
    assert "did you mean RATE_LIMIT_REQUESTS?" in errors
    assert (await run("check", "--strict", settings=settings))[0] == 1


async def test_only_mailboxes_in_memory_are_a_warning(tmp_path: Path) -> None:
    """A file needs no Redis."""
    (in_file,) = await examine_redis(None, tmp_path)
    assert (in_file.verdict, "DATA_DIR" in in_file.text) == (Verdict.OK, True)
    (in_memory,) = await examine_redis(None, None)
    assert in_memory.verdict is Verdict.WARNING
