"""The contenders of the comparison are those that they are called."""

import os
import subprocess
from asyncio.subprocess import Process
from pathlib import Path
from typing import cast

from benchmarks.children import ROOT
from benchmarks.lineup import earlier, settings_of
from benchmarks.processes import StandIns

_WHERE = "import gateway; print(gateway.__file__)"


def test_another_checkout_runs_its_own_code(tmp_path: Path) -> None:
    """A before and an after are not twice the same."""
    other = tmp_path / "gateway"
    other.mkdir()
    (other / "__init__.py").touch()
    (other / "__main__.py").write_text(_WHERE)
    around = StandIns(cast("Process", None), 1, 2, 3)  # ports only; nothing is asked
    for contender in earlier(tmp_path):
        settings = settings_of(contender, 1, 4, 5, around)
        found = subprocess.run(
            contender.command(1).words,
            cwd=ROOT,
            env={"PATH": os.environ["PATH"], **settings},
            stdout=subprocess.PIPE,
            check=True,
            text=True,
        )
        assert found.stdout.strip() == str(other / "__init__.py")
