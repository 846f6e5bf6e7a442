"""The example of a service in a repository of its own, in Python."""

import re
from pathlib import Path

from tests.support.examples import check_examination, copy_example, make


async def test_the_example_passes_its_own_tests(tmp_path: Path) -> None:
    """Its unit tests, the checks of its contract, the rules and its scenarios."""
    lines = await make(copy_example("billing-python", tmp_path), "test")
    assert any(re.match(r"\d+ passed in", line) for line in lines)
    check_examination(lines)
