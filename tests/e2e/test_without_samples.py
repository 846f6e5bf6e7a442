"""An installed gateway from which the four services of its own are removed."""

import asyncio
import shutil
import subprocess
import sys
import sysconfig
import venv
from asyncio.subprocess import PIPE, STDOUT
from pathlib import Path
from zipfile import ZipFile

import pytest

from tests.support.process import ROOT
from tests.support.services.foreign import (
    ForeignService,
    compile_descriptor_set,
    serving_foreign,
)
from tests.support.waiting import LIMIT

REMOVED = ("conversation", "matching", "notification", "profile")
SCENARIO = """
users: [ada]
steps:
  - ada says: /invoice 42
  - ada sees: invoice 42 of *
  - ada presses: Pay
  - ada sees toast: '* paid 42 by 1'
"""


@pytest.fixture
def gateway(tmp_path: Path) -> Path:
    """Install the wheel in an environment of its own; gives its Python.

    The packages that the gateway needs are those of the environment of the tests. What
    is installed there in editable form is not found.
    """
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    home = tmp_path / "environment"
    venv.create(home, symlinks=True)
    [packages] = home.glob("lib/python*/site-packages")
    [wheel] = tmp_path.glob("*.whl")
    ZipFile(wheel).extractall(packages)
    for name in REMOVED:
        shutil.rmtree(packages / "botgateway" / name)
    (packages / "needed.pth").write_text(sysconfig.get_path("purelib"))
    return home / "bin" / "python"


async def test_a_foreign_service_passes_a_scenario(
    gateway: Path, tmp_path: Path
) -> None:
    """In the sandbox, which starts neither the samples nor their contracts."""
    scenario = tmp_path / "invoice.yaml"
    scenario.write_text(SCENARIO)
    contract = compile_descriptor_set(tmp_path)
    async with serving_foreign(ForeignService(contract)) as target:
        process = await asyncio.create_subprocess_exec(
            *(gateway, "-P", "-m", "gateway", "sandbox", "run", scenario),
            *("--service", f"billing={target}"),
            cwd=tmp_path,
            env={"CONTRACTS": str(contract)},
            stdout=PIPE,
            stderr=STDOUT,
        )
        output, _ = await asyncio.wait_for(process.communicate(), LIMIT)
    assert process.returncode == 0, output.decode()
    assert "1 scenario, all ok" in output.decode()


def test_the_environment_has_none_of_them(gateway: Path) -> None:
    """Otherwise the test above would show nothing."""
    for name in REMOVED:
        done = subprocess.run(
            [gateway, "-P", "-c", f"import botgateway.{name}.v1"],
            capture_output=True,
            check=False,
        )
        assert b"ModuleNotFoundError" in done.stderr
