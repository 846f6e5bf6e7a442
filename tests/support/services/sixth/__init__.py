"""A sixth service, which no part of the gateway knows.

Its contract lies beside this file. It is compiled by the tests and loaded in processes
of their own only: what one process has imported cannot be taken back, and the other
tests are to see the gateway's own contracts.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[3]
CONTRACT = "botgateway/billing/v1/billing_service.proto"
SETTING = "BILLING"
"""The service's name in settings: BILLING_TARGET is where it is."""


def compile_contract(into: Path) -> dict[str, str]:
    """Generate the stubs, as `make proto` does.

    Args:
        into: an empty folder.

    Returns:
        The environment for processes that are to know the contract.
    """
    command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{ROOT / 'proto'}"]
    command += [f"-I{HERE}", f"--python_out={into}", f"--grpc_python_out={into}"]
    subprocess.run([*command, CONTRACT], check=True)
    path = os.pathsep.join(str(part) for part in (into, ROOT / "generated", ROOT))
    return {**os.environ, "PYTHONPATH": path}


@contextmanager
def running(environment: dict[str, str]) -> Iterator[str]:
    """Run the service in a process of its own; gives its target."""
    with subprocess.Popen(
        [sys.executable, "-m", f"{__name__}.service"],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout
            yield process.stdout.readline().strip()
        finally:
            process.terminate()
