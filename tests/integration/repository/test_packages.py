"""The packages of the contracts for services that run without the gateway."""

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path
from zipfile import ZipFile

import pytest

from tests.support.process import ROOT

PACKAGES = ROOT / "deploy" / "packages"
SCRIPT = """
from botgateway.chat.v1 import reply_pb2
from botgateway.delivery.v1 import delivery_service_pb2_grpc
from botgateway.route.v1 import route_pb2

reply = reply_pb2.Reply(messages=[reply_pb2.OutgoingMessage(text="hello")])
assert reply_pb2.Reply.FromString(reply.SerializeToString()) == reply
print(reply_pb2.__file__, delivery_service_pb2_grpc.__file__, route_pb2.__file__)
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel."""
    target = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", target],
        cwd=PACKAGES / "python",
        check=True,
        capture_output=True,
    )
    [path] = target.glob("botgateway_contracts-*.whl")
    return path


def test_the_python_package_works_from_where_it_is_installed(
    wheel: Path, tmp_path: Path
) -> None:
    """Its modules, and not those of this repository."""
    installed = tmp_path / "installed"
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "--disable-pip-version-check", "install"),
            *("--quiet", "--no-deps", "--no-index", "--target", installed, wheel),
        ],
        check=True,
    )
    done = subprocess.run(
        [sys.executable, "-P", "-W", "error", "-c", SCRIPT],
        env=os.environ | {"PYTHONPATH": str(installed)},
        check=True,
        capture_output=True,
        text=True,
    )
    for path in done.stdout.split():
        assert Path(path).is_relative_to(installed)


def test_the_python_package_needs_protobuf_and_grpc_alone(wheel: Path) -> None:
    """And contains no service of this product, and nothing of the gateway."""
    archive = ZipFile(wheel)
    names = archive.namelist()
    [metadata] = [name for name in names if name.endswith("/METADATA")]
    lines = archive.read(metadata).decode().splitlines()
    needed = [line.split()[1] for line in lines if line.startswith("Requires-Dist:")]
    assert sorted(it.partition("<")[0] for it in needed) == ["grpcio", "protobuf"]
    packages = {name.split("/")[1] for name in names if name.endswith((".py", "proto"))}
    assert packages == {"chat", "delivery", "route"}
    assert "botgateway/py.typed" in names


def test_the_packages_have_the_version_of_the_gateway(wheel: Path) -> None:
    """So that a team sees which contracts it has."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    version = project["version"]
    assert wheel.name.startswith(f"botgateway_contracts-{version}-")
    for lock in ("package.json", "package-lock.json"):
        assert json.loads((PACKAGES / "npm" / lock).read_text())["version"] == version


def test_the_deployment_has_the_version_of_the_gateway() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    plan = (ROOT / "deploy" / "kubernetes" / "kustomization.yaml").read_text()
    assert f'newTag: "{project["version"]}"' in plan


def test_the_locks_of_npm_name_no_registry() -> None:
    """They are used with the registry of each company."""
    for folder in (PACKAGES / "npm", *(ROOT / "examples").glob("*/typescript")):
        assert '"resolved"' not in (folder / "package-lock.json").read_text(), folder
