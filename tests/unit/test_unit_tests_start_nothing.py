"""Unit tests cannot start a server, a connection or a process."""

import asyncio
import subprocess
from pathlib import Path

import grpc
import pytest

REFUSED = "a unit test starts no server"


async def test_no_tcp_server_starts() -> None:
    with pytest.raises(AssertionError, match=REFUSED):
        await asyncio.start_server(print, "127.0.0.1", 0)


async def test_no_unix_server_starts(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=REFUSED):
        await asyncio.start_unix_server(print, tmp_path / "socket")


async def test_no_grpc_server_starts() -> None:
    with pytest.raises(AssertionError, match=REFUSED):
        grpc.aio.server()


async def test_no_connection_opens() -> None:
    with pytest.raises(AssertionError, match=REFUSED):
        await asyncio.open_connection("127.0.0.1", 9)


async def test_no_process_starts() -> None:
    with pytest.raises(AssertionError, match=REFUSED):
        subprocess.run(["true"], check=True)
    with pytest.raises(AssertionError, match=REFUSED):
        await asyncio.create_subprocess_exec("true")
