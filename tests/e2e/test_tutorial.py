"""The tutorials with a service, followed word by word with a simulated Telegram."""

import asyncio
import os
import re
import shlex
import signal
import sys
from pathlib import Path

from gateway.sandbox.server import Simulator
from tests.support.gateway_harness import TOKEN
from tests.support.process import ROOT, program, run
from tests.support.tcp_ports import free_ports
from tests.support.waiting import LIMIT, wait_until

TUTORIALS = ROOT / "docs" / "tutorials"
TUTORIAL = (TUTORIALS / "real-bot.md").read_text()
FIRST_SERVICE = (TUTORIALS / "first-service.md").read_text()
FOLLOWED = (
    r"^(?:telegram-gateway (?:contracts export|contracts check|sandbox run) .+"
    r"|export CONTRACTS=.+|export RUN='billing=python .+|sh compile\.sh)$"
)
"""Commands of the first service in Python. The others install, or run until Ctrl-C."""
USER = 1001


def find_file(name: str, tutorial: str = TUTORIAL) -> str:
    """Return the block that follows the sentence "Create ... `name`"."""
    match = re.search(
        rf"Create [^`]*`{re.escape(name)}`.*?```\w+\n(.*?)```", tutorial, re.DOTALL
    )
    assert match is not None, name
    return match[1]


def find_dev_options() -> list[str]:
    """Return the options of the last `telegram-gateway dev`."""
    line = re.findall(r"^telegram-gateway dev (.+)$", TUTORIAL, re.MULTILINE)[-1]
    return shlex.split(line)


async def test_the_service_of_the_tutorial_answers_and_its_changes_take_effect(
    tmp_path: Path,
) -> None:
    for name in ("greeting.proto", "compile.sh", "server.py"):
        (tmp_path / name).write_text(find_file(name))
    code, _, _ = await run("contracts", "export", str(tmp_path / "third_party"))
    assert code == 0
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    compiled = await asyncio.create_subprocess_exec(
        "sh", "compile.sh", cwd=tmp_path, env={"PATH": path}
    )
    assert await asyncio.wait_for(compiled.wait(), LIMIT) == 0

    (contracts,) = re.findall(r"^export (CONTRACTS)=(.+)$", TUTORIAL, re.MULTILINE)
    simulator = Simulator(TOKEN)
    port, ops_port, page_port, samples_port = map(str, free_ports(4))
    ports = ("--page-port", page_port, "--samples-port", samples_port)

    async def gets(reply: str, text: str) -> None:
        """Write to the bot until the reply comes: a restart takes a moment."""
        while simulator.messages(USER)[-1:] == [] or (
            reply not in simulator.messages(USER)[-1]["text"]
        ):
            before = len(simulator.messages(USER))
            await simulator.user_actions.say(USER, text)
            await wait_until(lambda: len(simulator.messages(USER)) >= before + 2)  # noqa: B023 - awaited here

    async with simulator.serve() as api_url:
        settings = {
            "PATH": path,
            "TELEGRAM_BOT_TOKEN": TOKEN,
            "TELEGRAM_API_URL": api_url,
            "PORT": port,
            "OPS_PORT": ops_port,
            "RATE_LIMIT_REQUESTS": "100000",
            contracts[0]: contracts[1],
        }
        command = ("dev", *ports, *find_dev_options())
        async with (
            program(*command, settings=settings, directory=tmp_path) as process,
            asyncio.timeout(2 * LIMIT),
        ):
            await gets("Hello, Ann!", "/greet Ann")
            edit(tmp_path / "server.py", "Hello, ", "Good morning, ")
            await gets("Good morning, Ann!", "/greet Ann")
            edit(tmp_path / "greeting.proto", "/greet {name}", "/hello {name}")
            await gets("Good morning, Bob!", "/hello Bob")
            process.send_signal(signal.SIGINT)
            await process.communicate()
            assert process.returncode == 0


async def test_the_first_service_passes_its_scenario(tmp_path: Path) -> None:
    """The one in Python; its commands, in the order of the page."""
    for name in ("billing.proto", "compile.sh", "server.py", "invoice.yaml"):
        (tmp_path / name).write_text(find_file(name, FIRST_SERVICE))
    commands = re.findall(FOLLOWED, FIRST_SERVICE, re.MULTILINE)
    assert len(commands) == 6
    script = "\n".join(commands)
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    process = await asyncio.create_subprocess_exec(
        *("sh", "-eu", "-c", script),
        cwd=tmp_path,
        env={"PATH": path},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await asyncio.wait_for(process.communicate(), LIMIT)
    assert process.returncode == 0, output.decode()
    assert "1 scenario, all ok" in output.decode()


def edit(path: Path, old: str, new: str) -> None:
    """Replace some words in a file."""
    content = path.read_text()
    assert old in content
    path.write_text(content.replace(old, new))
