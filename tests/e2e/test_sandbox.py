"""`make run`: a whole Telegram on this machine, as the tutorial promises it."""

import asyncio
import contextlib
import json
import re
import signal

import aiohttp
import pytest

from tests.support.process import ROOT, program
from tests.support.tcp_ports import free_ports
from tests.support.waiting import LIMIT, wait_until_found

DEFAULT_PORTS = ("8000", "9000", "8081", "50051")


async def test_the_curl_of_the_tutorial_is_answered() -> None:
    """The commands are pasted as they stand there, with other ports."""
    ports = [str(port) for port in free_ports(4)]
    tutorial = (ROOT / "docs" / "tutorials" / "sandbox.md").read_text()
    block = re.findall(r"```sh\n(curl .*?)```", tutorial, re.DOTALL)
    script = block[0].replace(DEFAULT_PORTS[0], ports[0])
    post, show = script.replace(DEFAULT_PORTS[2], ports[2]).split("\ncurl -sS")
    options = ("--port", "--ops-port", "--simulator-port", "--samples-port")
    arguments = [word for pair in zip(options, ports, strict=True) for word in pair]
    async with program("sandbox", *arguments) as sandbox:
        assert sandbox.stdout is not None
        welcome = b""
        while b"See the reply" not in welcome:
            line = await asyncio.wait_for(sandbox.stdout.readline(), LIMIT)
            assert line, "the sandbox ended"
            welcome += line
        (secret,) = re.findall(r"Secret-Token: ([\w-]+)", welcome.decode())
        assert await _shell(f"SECRET={secret}\n{post}") == ""
        reply = ""
        while "hello" not in reply:
            reply = await asyncio.wait_for(_shell("curl -sS" + show), LIMIT)
        sandbox.send_signal(signal.SIGINT)
        assert await asyncio.wait_for(sandbox.wait(), LIMIT) == 0


@pytest.mark.parametrize("option", [(), ("--limits",)])
async def test_the_limits_of_telegram_are_enforced_on_request(
    option: tuple[str, ...],
) -> None:
    ports = [str(port) for port in free_ports(4)]
    options = ("--port", "--ops-port", "--simulator-port", "--samples-port")
    arguments = [word for pair in zip(options, ports, strict=True) for word in pair]
    url = f"http://127.0.0.1:{ports[2]}/limits"
    async with (
        program("sandbox", *arguments, *option) as sandbox,
        aiohttp.ClientSession() as session,
    ):
        shown: list[dict[str, object]] = []

        async def is_shown() -> bool:
            assert sandbox.returncode is None, "the sandbox ended"
            with contextlib.suppress(aiohttp.ClientError):
                async with session.get(url) as response:
                    shown.append(await response.json())
            return bool(shown)

        await wait_until_found(is_shown)
        sandbox.send_signal(signal.SIGINT)
        await asyncio.wait_for(sandbox.wait(), LIMIT)
    assert bool(shown[0]["settings"]) == bool(option)


async def test_the_gateway_serves_the_bots_of_the_sandbox() -> None:
    """What is said to a bot is answered by it, and the other one stays silent."""
    ports = [str(port) for port in free_ports(4)]
    options = ("--port", "--ops-port", "--simulator-port", "--samples-port")
    arguments = [word for pair in zip(options, ports, strict=True) for word in pair]
    url = f"http://127.0.0.1:{ports[2]}"
    async with (
        program("sandbox", *arguments, "--bot", "shop", "--bot", "help") as sandbox,
        aiohttp.ClientSession() as session,
    ):
        assert sandbox.stdout is not None
        while b"See the reply" not in (line := await sandbox.stdout.readline()):
            assert line, "the sandbox ended"
        bots: list[dict[str, int]] = []
        async with session.get(f"{url}/events") as stream:
            snapshot = json.loads((await _find_data(stream)).removeprefix(b"data: "))
            bots += [snapshot["bot"], snapshot["other_bots"][0]["bot"]]
        first, second = (bot["id"] for bot in bots)
        said = {"user": 1001, "text": "hello", "bot": second}
        async with session.post(f"{url}/do/say", json=said) as response:
            assert response.status == 200
        shown = ""

        async def is_answered() -> bool:
            nonlocal shown
            async with session.get(f"{url}/chats/1001?bot={second}") as response:
                shown = await response.text()
            return "You said: hello" in shown

        await wait_until_found(is_answered)
        async with session.get(f"{url}/chats/1001?bot={first}") as response:
            assert "Nothing was sent" in await response.text()
        sandbox.send_signal(signal.SIGINT)
        assert await asyncio.wait_for(sandbox.wait(), LIMIT) == 0


async def test_a_name_that_no_bot_can_have_is_refused() -> None:
    async with program("sandbox", "--bot", "Shop", "--bot", "a", "--bot", "a") as it:
        _, errors = await asyncio.wait_for(it.communicate(), LIMIT)
    assert it.returncode == 2
    assert len(errors.splitlines()) == 2
    assert b"--bot Shop: a bot's name has" in errors
    assert b"--bot: each bot needs a name of its own" in errors


async def test_a_port_in_use_is_one_clear_line() -> None:
    """Nothing is started, and the code is 2."""
    server = await asyncio.start_server(lambda r, w: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, program("sandbox", "--port", str(port)) as sandbox:
        _, errors = await asyncio.wait_for(sandbox.communicate(), LIMIT)
    assert sandbox.returncode == 2
    assert len(errors.splitlines()) == 1
    assert str(port) in errors.decode()


async def _find_data(stream: aiohttp.ClientResponse) -> bytes:
    """Return the first line with data of an event stream."""
    while not (line := await stream.content.readline()).startswith(b"data: "):
        assert line, "the stream ended"
    return line


async def _shell(script: str) -> str:
    process = await asyncio.create_subprocess_exec(
        "bash", "-c", script, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    assert process.returncode == 0
    return output.decode()
