"""The example of a service in a repository of its own, in Python."""

import asyncio
import os
import re
import shutil
import sys
from asyncio.subprocess import PIPE, STDOUT
from pathlib import Path

from tests.support.process import ROOT
from tests.support.waiting import LIMIT

EXAMPLE = ROOT / "examples" / "billing-python"


async def test_the_example_passes_its_own_tests(tmp_path: Path) -> None:
    """Its unit tests, the checks of its contract, the rules and its scenarios."""
    copy = tmp_path / "billing"
    made = shutil.ignore_patterns("generated", "third_party", "*.binpb", "__pycache__")
    shutil.copytree(EXAMPLE, copy, ignore=made)
    programs = Path(sys.executable).parent
    process = await asyncio.create_subprocess_exec(
        *("make", "test"),
        *(f"PYTHON={sys.executable}", f"GATEWAY={programs / 'telegram-gateway'}"),
        cwd=copy,
        env={"PATH": os.environ["PATH"], "PYTEST_ADDOPTS": "-p no:asyncio"},
        stdout=PIPE,
        stderr=STDOUT,
    )
    output, _ = await asyncio.wait_for(process.communicate(), 2 * LIMIT)
    assert process.returncode == 0, output.decode()
    lines = output.decode().splitlines()
    assert any(re.match(r"\d+ passed in", line) for line in lines)  # unit tests
    assert any(re.fullmatch(r"\d+ passed", line) for line in lines)  # rules
    assert lines[-1].startswith("2 scenarios, all ok, ")
