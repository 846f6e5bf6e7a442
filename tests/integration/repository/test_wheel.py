"""What is installed by the wheel."""

import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

ROOT = Path(__file__).parents[3]


def test_the_wheel_has_the_protos_that_other_repositories_import(
    tmp_path: Path,
) -> None:
    """Beside their stubs: the folder of installed packages is an import path."""
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    [wheel] = tmp_path.glob("*.whl")
    names = [it for it in ZipFile(wheel).namelist() if it.endswith(".proto")]
    expected = [
        str(path.relative_to(ROOT / "proto"))
        for package in ("chat", "delivery", "route")
        for path in (ROOT / "proto" / "botgateway" / package / "v1").glob("*.proto")
    ]
    assert sorted(names) == sorted(expected)
