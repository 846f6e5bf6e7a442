"""`telegram-gateway dev`: a real bot, answered by a gateway on this machine."""

import signal
import socket

import pytest

from gateway.sandbox.server import Simulator
from tests.support.backend import Backend, serving
from tests.support.gateway_harness import TOKEN
from tests.support.process import program, run
from tests.support.tcp_ports import free_ports
from tests.support.waiting import wait_until

USER = 1001


async def test_a_bot_is_answered_by_samples_and_by_own_services() -> None:
    simulator, backend = Simulator(TOKEN), Backend()
    port, ops_port, samples_port, page_port = free_ports(4)

    def has_reply(text: str) -> bool:
        return any(text in message["text"] for message in simulator.messages(USER))

    async with serving(backend) as target, simulator.serve() as api_url:
        settings = {
            "TELEGRAM_BOT_TOKEN": TOKEN,
            "TELEGRAM_API_URL": api_url,
            "HOST": "0.0.0.0",  # the machine reaches itself at loopback
            "PORT": str(port),
            "OPS_PORT": str(ops_port),
            "PROFILE_TARGET": target,
            "RATE_LIMIT_REQUESTS": "1000",
        }
        options = ("--service", f"matching={target}", "--page-port", str(page_port))
        ports = ("--samples-port", str(samples_port))
        async with program("dev", *options, *ports, settings=settings) as process:
            await simulator.user_actions.say(USER, "hello")
            await wait_until(lambda: has_reply("You said: hello"))
            await simulator.user_actions.say(USER, "/start")
            await wait_until(lambda: has_reply("echo: Start"))
            process.send_signal(signal.SIGINT)
            output, errors = await process.communicate()
        assert (process.returncode, errors) == (0, b"")
    text = output.decode()
    assert "https://t.me/sandbox_bot" in text
    assert f"conversation       127.0.0.1:{samples_port} (sample)" in text
    assert f"matching           {target}\n" in text
    assert f"http://127.0.0.1:{ops_port}/health" in text
    assert f"http://127.0.0.1:{page_port}/\n" in text
    assert " INFO     polling_started" in text
    assert TOKEN not in text
    assert "hello" not in text


async def test_without_a_token_telegram_is_simulated() -> None:
    with socket.create_server(("127.0.0.1", 0)) as occupied:
        samples_port = str(occupied.getsockname()[1])
        code, output, errors = await run("dev", "--samples-port", samples_port)
    # Another program may have the other ports, too: then one of them is named.
    assert (code, output) == (
        2,
        "There is no TELEGRAM_BOT_TOKEN: Telegram is simulated.\n",
    )
    assert "cannot be used" in errors


@pytest.mark.parametrize("option", ["--samples-port", "--page-port"])
async def test_an_unusable_port_is_one_clear_line(option: str) -> None:
    simulator = Simulator(TOKEN)
    (other_port,) = free_ports(1)
    with socket.create_server(("127.0.0.1", 0)) as occupied:
        port = str(occupied.getsockname()[1])
        ports = {"--samples-port": str(other_port), "--page-port": str(other_port)}
        options = [word for pair in (ports | {option: port}).items() for word in pair]
        async with simulator.serve() as api_url:
            settings = {"TELEGRAM_BOT_TOKEN": TOKEN, "TELEGRAM_API_URL": api_url}
            code, _, errors = await run("dev", *options, settings=settings)
    assert code == 2
    assert errors.startswith(f"{option} {port} cannot be used: ")
    assert len(errors.splitlines()) == 1


async def test_a_wrong_setting_is_one_clear_line() -> None:
    settings = {"TELEGRAM_BOT_TOKEN": TOKEN, "PORT": "0"}
    code, output, errors = await run("dev", settings=settings)
    assert (code, output) == (2, "")
    assert errors.startswith("telegram-gateway: PORT: ")
