"""A new service needs its contract and its target, and nothing of the gateway."""

import json
import subprocess
import sys
from pathlib import Path

from tests.support.services import sixth


def test_a_sixth_service_works_without_a_change_of_the_gateway(tmp_path: Path) -> None:
    """Its command, its button, its own field names and types: all from the contract."""
    environment = sixth.compile_contract(tmp_path)
    with sixth.running(environment) as target:
        output = subprocess.run(
            [sys.executable, "-m", "tests.support.services.sixth.trial", target],
            env=environment,
            check=True,
            capture_output=True,
            text=True,
        ).stdout
    seen = json.loads(output)
    assert seen["answers"] == {
        "/invoice 42": "invoice 42 of user-7, asked as /invoice 42",
        "/invoice": "invoice 0 of user-7, asked as /invoice",
        "/invoice many": None,
        "PAY:42:card": "invoice 42 of user-7, paid by PAYMENT_METHOD_CARD",
        "PAY:42:shells": None,
    }
    assert {"/invoice", "PAY:", "/start", "CONNECT:"} <= set(seen["names"])
    assert ["invoice", "Show an invoice"] in seen["menu"]
