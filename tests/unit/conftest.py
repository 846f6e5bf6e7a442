"""Unit tests start no server and no process: a test that tries to fails here."""

import socket
import subprocess
from collections.abc import Iterator
from typing import Never

import grpc
import pytest


@pytest.fixture(scope="package", autouse=True)
def no_server_and_no_process() -> Iterator[None]:
    """Refuse what a server or a process starts with."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "bind", _refuse)
        patch.setattr(socket.socket, "connect", _refuse)
        patch.setattr(subprocess.Popen, "__init__", _refuse)
        patch.setattr(grpc.aio, "server", _refuse)
        yield


def _refuse(*_: object, **__: object) -> Never:
    raise AssertionError("a unit test starts no server and no process")
