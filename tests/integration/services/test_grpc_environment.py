"""gRPC is imported with our settings, whichever way the program starts."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.waiting import LIMIT

ROOT = Path(__file__).parents[3]
PYTHON = sys.executable
WATCH_IMPORTS = """
import os, sys

class Watch:
    def find_spec(self, name, path=None, target=None):
        if name == "grpc":
            with open(os.environ["SEEN_FILE"], "a") as file:
                print(os.environ.get("GRPC_EXPERIMENTS"), file=file)

sys.meta_path.insert(0, Watch())
"""
WAYS_IN = {
    "app": (PYTHON, "-c", "import gateway.server"),
    "cli": (PYTHON, "-c", "import gateway.cli.serve"),
    "sandbox": (PYTHON, "-c", "import gateway.sandbox.tracing.adapters"),
    "traced": (PYTHON, "-m", "gateway.traced_gateway"),
    "services": (PYTHON, "-c", "import gateway.services.channels"),
    "module": (PYTHON, "-m", "gateway", "serve"),
    "script": (str(Path(PYTHON).parent / "telegram-gateway"), "serve"),
    "worker": (PYTHON, "-m", "gateway", "serve", "--worker", "0"),
    "tests": (PYTHON, "-m", "pytest", "-q", "--collect-only", "tests/e2e/test_cli.py"),
}


def seen_at_import(
    command: tuple[str, ...], directory: Path, **environment: str
) -> list[str]:
    """Run a command; gives GRPC_EXPERIMENTS as it was whenever gRPC was imported."""
    (directory / "sitecustomize.py").write_text(WATCH_IMPORTS)
    seen = directory / "seen"
    path = [str(directory), str(ROOT), str(ROOT / "generated")]
    subprocess.run(
        command,
        cwd=ROOT,
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": os.pathsep.join(path),
            "ENV_FILE": "",
            "SEEN_FILE": str(seen),
            **environment,
        },
        capture_output=True,
        check=False,  # without settings a gateway fails, after it imported everything
        timeout=LIMIT,
    )
    return seen.read_text().split()


@pytest.mark.parametrize("way", WAYS_IN)
def test_grpc_is_imported_with_our_settings(way: str, tmp_path: Path) -> None:
    """Nothing imports gRPC before the package has set the environment."""
    assert seen_at_import(WAYS_IN[way], tmp_path) == ["-event_engine_client"]


def test_the_users_own_choice_wins(tmp_path: Path) -> None:
    """Whoever sets GRPC_EXPERIMENTS knows why."""
    seen = seen_at_import(WAYS_IN["app"], tmp_path, GRPC_EXPERIMENTS="tcp_read_chunks")
    assert seen == ["tcp_read_chunks"]
