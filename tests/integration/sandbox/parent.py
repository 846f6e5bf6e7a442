"""A process for the tests of children: starts one, and is killed.

python -m tests.integration.sandbox.parent FILE
"""

import asyncio
import sys

from gateway.sandbox.launcher.subprocesses import Subprocesses


async def _main() -> None:
    async def is_ready() -> bool:
        return True

    child = ("tests.integration.sandbox.child", "polite", sys.argv[1])
    environment = {"PYTHONPATH": ":".join(sys.path)}
    async with Subprocesses().running("child", child, environment, is_ready):
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_main())
