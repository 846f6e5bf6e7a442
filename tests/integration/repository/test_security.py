"""What operators are told about security is true, and the audit claims nothing."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from gateway.config.settings import Settings

ROOT = Path(__file__).parents[3]
OF_COMMANDS = {"SECRETS_DIR", "CHANGELOG", "README", "SECURITY"}


@pytest.mark.parametrize("name", ["docs/security.md", "SECURITY.md"])
def test_operators_are_told_of_settings_and_files_that_exist(name: str) -> None:
    """A misspelt setting would be silence, and a file that is gone a dead end."""
    text = (ROOT / name).read_text()
    named = set(re.findall(r"`([A-Z]+(?:_[A-Z]+)+)(?:=\w+)?`", text))
    assert named <= {field.upper() for field in Settings.model_fields} | OF_COMMANDS
    for path in re.findall(r"`((?:deploy|docs)/[\w./]+)`|\]\(([\w./]+)\)", text):
        assert (ROOT / "".join(path)).exists(), path


@pytest.mark.parametrize("fails", ["cyclonedx-py", "pip-audit", ""])
def test_an_audit_that_could_not_be_made_is_no_good_news(
    tmp_path: Path, fails: str
) -> None:
    """It fails, and says that nothing is known; it looks at production's packages."""
    tool = tmp_path / "uv"
    tool.write_text(
        "#!/bin/sh\n"
        f'echo "$@" >> {tmp_path}/calls\n'
        f'case "$@" in *"{fails or "never"} "*) exit 1;; esac\n'
    )
    tool.chmod(0o755)
    done = subprocess.run(
        ["make", "-o", ".venv/.ready", "audit", f"UV={tool}"],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode == 0) == (not fails)
    assert ("nothing is known" in done.stderr) == (fails == "pip-audit")
    calls = (tmp_path / "calls").read_text().splitlines()
    assert len(calls) == (1 if fails == "cyclonedx-py" else 2)
    for call in calls:
        assert re.search(r"[ ]requirements\.lock\b", call)
        assert re.search(r"==\d+\.\d+\.\d+", call)
