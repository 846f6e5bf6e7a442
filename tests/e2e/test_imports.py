"""What a process of the gateway loads."""

import os
from pathlib import Path

from tests.support.gateway_harness import SECRET, TOKEN
from tests.support.process import ROOT, run, serving_process

NOTE_MODULES = """
import atexit, os, sys

def note():
    with open(os.environ["MODULES_FILE"], "w") as file:
        file.write(" ".join(sys.modules))

atexit.register(note)
"""


def noting(directory: Path) -> dict[str, str]:
    """Return settings with which a process notes in the end what it has loaded."""
    (directory / "sitecustomize.py").write_text(NOTE_MODULES)
    path = [str(directory), str(ROOT), str(ROOT / "generated")]
    return {
        "PYTHONPATH": os.pathsep.join(path),
        "MODULES_FILE": str(directory / "modules"),
    }


def noted(directory: Path) -> set[str]:
    """Return what was loaded."""
    return set((directory / "modules").read_text().split())


async def test_a_gateway_loads_neither_the_sandbox_nor_yaml(tmp_path: Path) -> None:
    """They are for a desk, and what is not loaded cannot fail in production."""
    async with serving_process(noting(tmp_path)) as gateway:
        await gateway.say(1, 7)
        gateway.process.terminate()
        assert await gateway.process.wait() == 0
    loaded = noted(tmp_path)
    assert {"gateway.server", "gateway.actors.user_actor", "aiohttp", "grpc"} <= loaded
    assert not [it for it in loaded if it.startswith(("gateway.sandbox", "yaml"))]


async def test_a_command_loads_only_what_it_needs(tmp_path: Path) -> None:
    """The dead letters need Redis, and neither HTTP nor gRPC."""
    settings = noting(tmp_path) | {
        "TELEGRAM_BOT_TOKEN": TOKEN,
        "TELEGRAM_WEBHOOK_SECRET": SECRET,
        "REDIS_URL": "redis://127.0.0.1:1",
    }
    code, _, _ = await run("dead-letters", "list", settings=settings)
    assert code == 1
    loaded = noted(tmp_path)
    assert {"gateway.mailboxes.redis.dead_letters", "redis"} <= loaded
    assert not {"aiohttp", "grpc", "gateway.server", "gateway.sandbox", "yaml"} & loaded


async def test_help_loads_no_part_of_the_gateway(tmp_path: Path) -> None:
    """Neither its own nor that of a group of commands."""
    code, output, _ = await run("dead-letters", "--help", settings=noting(tmp_path))
    assert (code, "replay" in output) == (0, True)
    assert not {"gateway.config.settings", "pydantic", "redis", "asyncio"} & noted(
        tmp_path
    )
