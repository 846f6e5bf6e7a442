"""What test modules share is in modules for that: they do not import each other."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[2]
TIERS = ("unit", "contract", "integration", "e2e", "chaos", "browser")


def list_imports(source: str) -> Iterator[str]:
    """Yield the modules and names that a module imports, as dotted names."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def find_wrong_imports(source: str, tier: str) -> list[str]:
    """Find imports of test modules, of conftest, and of another tier."""
    return [
        name
        for name in list_imports(source)
        if name.startswith("tests.")
        and (
            any(part.startswith(("test_", "conftest")) for part in name.split(".")[:-1])
            or name.split(".")[1] in {*TIERS} - {tier}
        )
    ]


def test_no_module_imports_a_test_module_or_another_tier() -> None:
    wrong = {
        str(path): find_wrong_imports(
            path.read_text(), path.relative_to(TESTS).parts[0]
        )
        for path in TESTS.rglob("*.py")
    }
    assert len(wrong) > 100
    assert {path: names for path, names in wrong.items() if names} == {}


@pytest.mark.parametrize(
    "line",
    [
        "from tests.unit.actors.test_scheduler import Harness",
        "import tests.unit.actors.test_scheduler.x",
        "from tests.unit.actors.conftest import harness",
        "from tests.e2e.probes import get",
    ],
)
def test_wrong_imports_are_found(line: str) -> None:
    assert find_wrong_imports(line, "unit")


def test_shared_modules_may_be_imported() -> None:
    line = "from tests.factories import build_update\nfrom tests.unit.x import y"
    assert not find_wrong_imports(line, "unit")
