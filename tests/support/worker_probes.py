"""What can be seen of a gateway from outside."""

from contextlib import suppress
from pathlib import Path

import aiohttp


def workers_of(parent: int) -> dict[int, int]:
    """Find the workers of a process by what the system knows."""
    found = {}
    for entry in Path("/proc").iterdir():
        with suppress(OSError, ValueError, IndexError):
            stat = (entry / "stat").read_text().rpartition(")")[2].split()
            if int(stat[1]) == parent and stat[0] != "Z":
                words = (entry / "cmdline").read_text().rstrip("\0").split("\0")
                found[int(Path(words[-1]).name)] = int(entry.name)
    return found


def gone(pids: dict[int, int]) -> bool:
    """Return whether none of these processes runs any more."""
    for pid in pids.values():
        with suppress(OSError):
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
            if state != "Z":
                return False
    return True


def stopped(pid: int) -> bool:
    """Return whether all threads of this process are stopped."""
    states = (
        stat.read_text().rpartition(")")[2].split()[0]
        for stat in Path(f"/proc/{pid}/task").glob("*/stat")
    )
    return set(states) == {"T"}


async def get(port: int, path: str) -> tuple[int, str]:
    """Get a page over a connection of its own."""
    async with (
        aiohttp.ClientSession() as client,
        client.get(f"http://127.0.0.1:{port}{path}") as response,
    ):
        return response.status, await response.text()
