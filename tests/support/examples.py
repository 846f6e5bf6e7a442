"""The examples of services in repositories of their own."""

import asyncio
import os
import re
import shutil
import sys
from asyncio.subprocess import PIPE, STDOUT
from pathlib import Path

from tests.support.process import ROOT

EXAMPLES = ROOT / "examples"
SECONDS = 240.0
"""An installation of packages takes long on a slow network; nothing else does."""

_MADE = ("generated", "third_party", "dist", "node_modules", "*.binpb", "__pycache__")


def copy_example(name: str, into: Path) -> Path:
    """Copy an example without what its build makes, and return the copy."""
    target = into / name
    ignored = shutil.ignore_patterns(*_MADE)
    shutil.copytree(EXAMPLES / name, target, ignore=ignored)
    return target


async def make(directory: Path, target: str, path: str | None = None) -> list[str]:
    """Run make with the gateway of this repository, and return what it printed."""
    programs = Path(sys.executable).parent
    process = await asyncio.create_subprocess_exec(
        *(shutil.which("make") or "make", target),
        *(f"PYTHON={sys.executable}", f"GATEWAY={programs / 'telegram-gateway'}"),
        cwd=directory,
        env={
            "PATH": os.environ["PATH"] if path is None else path,
            "PYTEST_ADDOPTS": "-p no:asyncio",
        },
        stdout=PIPE,
        stderr=STDOUT,
    )
    output, _ = await asyncio.wait_for(process.communicate(), SECONDS)
    text = output.decode()
    assert process.returncode == 0, text
    return text.splitlines()


def check_examination(lines: list[str]) -> None:
    """Check that an example was examined by the rules and played its scenarios."""
    assert any(re.fullmatch(r"\d+ passed", line) for line in lines)
    assert lines[-1].startswith("2 scenarios, all ok, ")
