"""The files in deploy/."""

import functools
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

DEPLOY = Path(__file__).parents[2] / "deploy"


@functools.cache
def documents(name: str) -> tuple[Any, ...]:
    """Read the YAML documents of a file."""
    text = (DEPLOY / name).read_text()
    return tuple(_parse(part) for part in re.split(r"^---$", text, flags=re.MULTILINE))


def _parse(text: str) -> Any:  # noqa: ANN401 - any document
    done = subprocess.run(
        [
            str(Path(sys.executable).with_name("buf")),
            *("convert", "--type", "google.protobuf.Struct"),
            *("--from", "-#format=yaml", "--to", "-#format=json"),
        ],
        input=text.encode(),
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    return json.loads(done.stdout)


@functools.cache
def manifests() -> dict[tuple[str, str], Any]:
    """Return all that is applied to Kubernetes, by kind and name."""
    (plan,) = documents("kubernetes/kustomization.yaml")
    found = {}
    for name in plan["resources"]:
        for manifest in documents(f"kubernetes/{name}"):
            key = (manifest["kind"], manifest["metadata"]["name"])
            assert key not in found
            found[key] = manifest
    return found


def pod(kind: str, name: str) -> Any:  # noqa: ANN401 - as it is written
    """Return the pod that something makes."""
    return manifests()[kind, name]["spec"]["template"]["spec"]
