"""The commands that start a developer's own services."""

from pathlib import Path

import pytest

from gateway.domain.errors import ConfigurationError
from gateway.sandbox.launcher.own_services import (
    OwnService,
    add_targets,
    read_commands,
)

NAMES = ("BILLING", "SHOP")


def test_a_command_has_a_name_words_and_a_folder(tmp_path: Path) -> None:
    given = ["billing=python -m 'my server'", f"shop@{tmp_path}=node a=b.js"]
    assert read_commands(given, NAMES) == [
        OwnService(
            name="BILLING", command=("python", "-m", "my server"), folder=Path()
        ),
        OwnService(name="SHOP", command=("node", "a=b.js"), folder=tmp_path),
    ]


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ("bill=python a.py", "--run bill=python a.py: the services are billing, shop"),
        ("billing", "--run billing: should be billing=command"),
        ("billing=", "--run billing=: should be billing=command"),
        ("billing='", "--run billing=': should be billing=command"),
        ("billing@none=a", "--run billing@none=a: there is no folder none"),
    ],
)
def test_a_malformed_command_is_one_clear_line(given: str, problem: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read_commands([given], NAMES)
    assert caught.value.problems == (problem,)


def test_a_service_without_an_address_gets_a_free_port() -> None:
    commands = read_commands(["billing=a", "shop=b"], NAMES)
    given = {"SHOP": "localhost:1", "MATCHING": "m:2"}
    targets = add_targets(commands, given, lambda count: [7000][:count])
    assert targets == {**given, "BILLING": "127.0.0.1:7000"}
