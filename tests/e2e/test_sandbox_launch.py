"""The whole sandbox, started as a person starts it."""

import asyncio
import json
import os
import re
import shutil
import signal
import socket
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gateway.sandbox.launcher.launch import run_sandbox
from gateway.sandbox.launcher.service_targets import SAMPLES
from gateway.sandbox.launcher.stack import Secrets
from tests.support.backend import Backend, serving
from tests.support.tcp_ports import free_ports
from tests.support.waiting import LIMIT, wait_until

PROGRAM = """
import asyncio, json, sys
from gateway.sandbox.launcher.launch import run_sandbox
from gateway.sandbox.launcher.service_targets import SAMPLES
port, ops, simulator, samples = map(int, sys.argv[1:5])
sys.exit(asyncio.run(run_sandbox(
    SAMPLES, port, ops_port=ops, simulator_port=simulator, samples_port=samples,
    targets=json.loads(sys.argv[5]))))
"""


def test_nobody_knows_the_secrets_of_a_sandbox_beforehand() -> None:
    """Each start has its own, unless they are given."""
    one, other = Secrets(), Secrets()
    for name in ("token", "webhook", "turns"):
        assert getattr(one, name) != getattr(other, name)
        assert len(getattr(one, name)) >= 32
    assert Secrets(webhook="given").webhook == "given"


def is_free(port: int) -> bool:
    """Return whether nobody listens on a port."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def children_of(pid: int) -> list[int]:
    """List the processes that a process started."""
    listed = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(child) for child in listed.split()]


@asynccontextmanager
async def sandbox(
    directory: Path, ports: list[int], targets: dict[str, str] | None = None
) -> AsyncIterator[Process]:
    """Run the sandbox in a directory with settings that it must not read."""
    (directory / ".env").write_text("TELEGRAM_BOT_TOKEN=broken\nPORT=broken\n")
    settings = {
        "TELEGRAM_BOT_TOKEN": "1:real",
        "REDIS_URL": "redis://real",
        "PORT": "1",
        "PROFILE_TIMEOUT": "9",
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        PROGRAM,
        *map(str, ports),
        json.dumps(targets or {}),
        cwd=directory,
        env=os.environ | settings,
        stdout=PIPE,
        stderr=PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()  # a kill would leave its children behind
        await process.communicate()


async def read_until(process: Process, mark: str) -> str:
    """Read what the sandbox prints up to a line with this mark."""
    assert process.stdout
    read = ""
    async with asyncio.timeout(LIMIT):
        while mark not in read.rpartition("\n\n")[2]:
            line = await process.stdout.readline()
            assert line, read
            read += line.decode()
    return read


async def shell(command: str) -> str:
    """Run a command as it would be pasted into a terminal."""
    process = await asyncio.create_subprocess_exec("bash", "-c", command, stdout=PIPE)
    output, _ = await process.communicate()
    assert process.returncode == 0
    return output.decode()


@pytest.mark.skipif(not shutil.which("curl"), reason="a person has curl")
async def test_the_printed_commands_show_a_reply_and_ctrl_c_ends_it_all(
    tmp_path: Path,
) -> None:
    """From the start to the reply to the end, without any settings."""
    ports = free_ports(4)
    async with sandbox(tmp_path, ports) as process:
        printed = await read_until(process, "/chats/1001")
        say, look = re.findall(r"^  (curl (?:.*\\\n)*.*)$", printed, re.MULTILINE)
        await shell(say)
        chat = ""
        async with asyncio.timeout(LIMIT):
            while "You said: hello" not in chat:
                chat = await shell(look)
        page = f"http://127.0.0.1:{ports[2]}"
        assert f"{page}/\n" in printed
        say = '{"user": 1002, "text": "from the page"}'
        await shell(f"curl -sS {page}/do/say -d '{say}'")
        async with asyncio.timeout(LIMIT):
            while "You said: from the page" not in chat:
                chat = await shell(f"curl -sS {page}/chats/1002")
        process.send_signal(signal.SIGINT)
        await process.communicate()
        assert process.returncode == 0
    assert all(is_free(port) for port in ports)


@pytest.mark.skipif(sys.platform != "linux", reason="children are found in /proc")
async def test_a_part_that_ends_takes_the_sandbox_along(tmp_path: Path) -> None:
    """Exit code 1, one clear line, and nothing stays behind."""
    ports = free_ports(4)
    async with sandbox(tmp_path, ports) as process:
        await read_until(process, "/chats/1001")
        (gateway,) = (
            child
            for child in children_of(process.pid)
            if b"gateway.traced_gateway" in Path(f"/proc/{child}/cmdline").read_bytes()
        )
        environment = Path(f"/proc/{gateway}/environ").read_text().split("\0")
        assert f"SANDBOX_TURNS_URL=http://127.0.0.1:{ports[2]}/turns" in environment
        assert any(each.startswith("SANDBOX_TURNS_KEY=") for each in environment)
        assert "PROFILE_TIMEOUT=9" in environment
        os.kill(gateway, signal.SIGKILL)
        _, errors = await process.communicate()
        assert process.returncode == 1
    last = errors.decode().splitlines()[-1]
    assert last.startswith("the sandbox stopped: the gateway ended by itself")
    await wait_until(lambda: all(is_free(port) for port in ports))


@pytest.mark.parametrize("part", ["port", "ops_port", "simulator_port", "samples_port"])
async def test_a_port_in_use_is_one_clear_line(
    part: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2, before anything was started."""
    names = ["port", "ops_port", "simulator_port", "samples_port"]
    ports = dict(zip(names, free_ports(4), strict=True))
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", ports[part]))
        holder.listen()
        ended = await run_sandbox(
            SAMPLES,
            ports["port"],
            ops_port=ports["ops_port"],
            simulator_port=ports["simulator_port"],
            samples_port=ports["samples_port"],
        )
    assert ended == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith(f"port {ports[part]} (")
    assert printed.err.count("\n") == 1


async def test_a_port_that_does_not_exist_is_one_clear_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Also a number that no port can have."""
    assert await run_sandbox(SAMPLES, 70000) == 2
    assert capsys.readouterr().err.startswith("port 70000 (gateway) cannot be used: ")


async def test_a_port_cannot_be_used_twice(
    capsys: pytest.CaptureFixture[str],
) -> None:
    port, ops_port = free_ports(2)
    ended = await run_sandbox(
        SAMPLES, port, ops_port=ops_port, simulator_port=port, samples_port=port
    )
    assert ended == 2
    fault = f"port {port} (Bot API simulator) cannot be used: the gateway has it\n"
    assert capsys.readouterr().err == fault


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.0.7", "::", "example.org"])
async def test_it_binds_to_loopback_only(
    host: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """And says so, before anything was started."""
    assert await run_sandbox(SAMPLES, host=host) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == (
        f"--host {host}: the sandbox binds to loopback only (127.0.0.1)\n"
    )


async def test_a_service_of_ones_own_takes_the_place_of_one_sample(
    tmp_path: Path,
) -> None:
    """The others stay, also if it has the port that the samples would take."""
    port, ops, simulator, _ = free_ports(4)
    backend = Backend()
    async with serving(backend) as target:
        ports = [port, ops, simulator, int(target.rpartition(":")[2])]
        own = {"CONVERSATION": target}
        async with sandbox(tmp_path, ports, own) as process:
            await read_until(process, "/chats/1001")
            api = f"curl -sS http://127.0.0.1:{simulator}"
            say = '{"user": 1001, "text": "hi"}'
            ask = '{"user": 1002, "text": "/profile"}'
            await shell(f"{api}/do/say -d '{say}'; {api}/do/say -d '{ask}'")
            shown = ""
            async with asyncio.timeout(LIMIT):
                while "echo: hi" not in shown or shown.count("#") < 4:
                    shown = await shell(f"{api}/chats/1001; {api}/chats/1002")
    assert [name for name, _ in backend.calls] == ["SendMessage"]
