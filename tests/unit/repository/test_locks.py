"""The lists of pinned packages: what production installs, and from anywhere."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
LOCKS = ("requirements.lock", "requirements-dev.lock")
BUILD_LOCK = "requirements-build.lock"


def packages(lock: str) -> set[str]:
    """Return the names of the packages that a lock pins."""
    text = (ROOT / lock).read_text()
    return set(re.findall(r"^([a-z0-9._-]+)==", text, re.MULTILINE))


@pytest.mark.parametrize("lock", [*LOCKS, BUILD_LOCK])
def test_a_lock_names_no_registry_and_no_path(lock: str) -> None:
    """It holds on every machine: nothing but names, versions, marks and hashes."""
    for line in (ROOT / lock).read_text().splitlines():
        pinned = r"[a-z0-9._-]+(\[[a-z,]+\])?==\S+( ; .*)? \\"
        hashed = r"    --hash=sha256:[0-9a-f]{64}( \\)?"
        reason = r"    #( {1,3}via)?( {1,3}[\w.:()\[\] -]+)?"
        assert re.fullmatch(f"{pinned}|{hashed}|{reason}", line), line


def test_the_image_is_built_by_what_builds_the_wheel_alone() -> None:
    """None of the other tools, and in the versions that developers have."""
    build = (ROOT / BUILD_LOCK).read_text()
    developers = (ROOT / "requirements-dev.lock").read_text()
    pins = re.findall(r"^[a-z0-9._-]+==\S+", build, re.MULTILINE)
    assert 0 < len(pins) < 10
    assert all(f"\n{pin} " in developers for pin in pins)
    dockerfile = (ROOT / "deploy" / "Dockerfile").read_text()
    assert re.findall(r"requirements\S*\.lock(?= \.| /)", dockerfile) == [
        BUILD_LOCK,
        "requirements.lock",
    ]


def test_production_installs_no_more_than_it_runs() -> None:
    """Tools stay with developers."""
    production, all_of_them = map(packages, LOCKS)
    assert production < all_of_them
    assert {"aiohttp", "grpcio", "pyyaml", "redis"} <= production
    assert not {"pytest", "fakeredis", "playwright"} & production
