"""A probe of a service says what keeps the gateway from calling it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager

import grpc
import pytest

from gateway.services.channels import ServiceChannels, TlsFiles
from gateway.services.diagnosis.health_rpc import Health as Reported
from gateway.services.diagnosis.prober import Finding, ServiceProber
from gateway.services.diagnosis.problems import ServiceProblem
from tests.support.services.health import NOT_SERVING, SERVING, Health
from tests.support.services.serving import Services, serving
from tests.support.services.tls import CA, CERTIFICATES, server_credentials
from tests.support.tcp_ports import free_ports, reserved_port

SERVICE = "botgateway.profile.v1.ProfileService"
TRUSTING = TlsFiles(ca_file=CA)
EXPIRED = TlsFiles(ca_file=CERTIFICATES / "expired.pem")

Target = AbstractAsyncContextManager[str]
"""Runs what a test probes, and yields its target."""


async def probe(target: str, tls: TlsFiles | None = None) -> Finding:
    """Probe a target with the credentials of the gateway's channels."""
    credentials = ServiceChannels({"ANY": target}, tls).get_credentials("ANY")
    return await ServiceProber(credentials).probe(target, [SERVICE])


@contextlib.asynccontextmanager
async def grpc_server(
    *parts: grpc.GenericRpcHandler,
    credentials: grpc.ServerCredentials | None = None,
    host: str = "127.0.0.1",
) -> AsyncIterator[str]:
    """Serve the four services, and further parts."""
    async with serving(Services(), *parts, credentials=credentials, host=host) as port:
        yield f"{host}:{port}"


@contextlib.asynccontextmanager
async def nothing() -> AsyncIterator[str]:
    """Keep a port that nothing listens on."""
    with reserved_port() as port:
        yield f"127.0.0.1:{port}"


@contextlib.asynccontextmanager
async def only(target: str) -> AsyncIterator[str]:
    """Start nothing."""
    yield target


class Peer(asyncio.Protocol):
    """A server that is not a gRPC server.

    Args:
        greeting: what it sends at once; None to close the connection.
        connections: has the open connections.
    """

    def __init__(
        self, greeting: bytes | None, connections: set[asyncio.Transport]
    ) -> None:
        self._greeting = greeting
        self._connections = connections

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greet the client, or close the connection."""
        assert isinstance(transport, asyncio.Transport)
        self._connections.add(transport)
        if self._greeting is None:
            transport.abort()
        else:
            transport.write(self._greeting)


@contextlib.asynccontextmanager
async def other_server(greeting: bytes | None) -> AsyncIterator[str]:
    """Serve something else than gRPC."""
    connections: set[asyncio.Transport] = set()
    loop = asyncio.get_running_loop()
    (port,) = free_ports(1)
    async with await loop.create_server(
        lambda: Peer(greeting, connections), "127.0.0.1", port
    ):
        yield f"127.0.0.1:{port}"
        for connection in connections:
            connection.abort()


@pytest.mark.parametrize(
    ("start", "tls", "expected"),
    [
        pytest.param(nothing, None, "connection_refused", id="nothing listens"),
        pytest.param(
            lambda: only("unix:/nowhere/service.sock"),
            None,
            "connection_refused",
            id="no Unix socket",
        ),
        pytest.param(
            lambda: only("no-such-host.invalid:50051"),
            None,
            "name_not_found",
            id="unknown name",
        ),
        pytest.param(
            lambda: only("dns:///no-such-host.invalid:50051"),
            None,
            "name_not_found",
            id="unknown name with a scheme",
        ),
        pytest.param(
            # A broadcast address is refused by the kernel, on every machine.
            lambda: only("255.255.255.255:50051"),
            None,
            "unreachable",
            id="unreachable",
        ),
        pytest.param(
            lambda: grpc_server(credentials=server_credentials()),
            None,
            "tls_expected",
            id="TLS expected",
        ),
        pytest.param(
            lambda: grpc_server(credentials=server_credentials(mutual=True)),
            None,
            "tls_expected",
            id="mutual TLS expected",
        ),
        pytest.param(grpc_server, TRUSTING, "tls_not_spoken", id="TLS not spoken"),
        pytest.param(
            lambda: grpc_server(credentials=server_credentials()),
            TlsFiles(),
            "certificate_untrusted",
            id="unknown authority",
        ),
        pytest.param(
            lambda: grpc_server(credentials=server_credentials(name="expired")),
            EXPIRED,
            "certificate_expired",
            id="expired",
        ),
        pytest.param(
            lambda: grpc_server(credentials=server_credentials(), host="127.0.0.2"),
            TRUSTING,
            "certificate_for_other_host",
            id="other host",
        ),
        pytest.param(
            lambda: grpc_server(credentials=server_credentials(mutual=True)),
            TRUSTING,
            "client_certificate_refused",
            id="no client certificate",
        ),
        pytest.param(
            lambda: other_server(b"HTTP/1.1 400 Bad Request\r\n\r\n"),
            None,
            "not_grpc",
            id="HTTP/1",
        ),
        pytest.param(
            lambda: other_server(b"SSH-2.0-OpenSSH_9.9\r\n"), None, "not_grpc", id="SSH"
        ),
        pytest.param(
            lambda: other_server(None), None, "connection_closed", id="closes"
        ),
        pytest.param(lambda: other_server(b""), None, "no_response", id="silent"),
        pytest.param(
            lambda: grpc_server(Health({"": NOT_SERVING})),
            None,
            "not_serving",
            id="not serving",
        ),
        pytest.param(
            lambda: grpc_server(Health({SERVICE: SERVING})),
            None,
            "health_only_by_name",
            id="health by name",
        ),
        pytest.param(
            lambda: grpc_server(
                Health({SERVICE: SERVING}, aborts_with=grpc.StatusCode.NOT_FOUND)
            ),
            None,
            "health_only_by_name",
            id="health by name, else NOT_FOUND",
        ),
        pytest.param(
            lambda: grpc_server(Health({})),
            None,
            "health_check_failed",
            id="health of nothing",
        ),
        pytest.param(
            lambda: grpc_server(Health({}, aborts_with=grpc.StatusCode.INTERNAL)),
            None,
            "health_check_failed",
            id="broken health",
        ),
    ],
)
async def test_every_problem_is_told_apart(
    start: Callable[[], Target], tls: TlsFiles | None, expected: str
) -> None:
    async with start() as target:
        assert (await probe(target, tls)).problem == expected


@pytest.mark.parametrize(
    ("health", "reported"),
    [
        pytest.param((), None, id="without health"),
        pytest.param((Health({"": SERVING}),), Reported.SERVING, id="serving"),
    ],
)
async def test_a_service_that_works_has_no_problem(
    health: tuple[Health, ...], reported: Reported | None
) -> None:
    async with grpc_server(*health) as target:
        assert await probe(target) == Finding(problem=None, health=reported)


async def test_the_address_of_a_name_that_got_furthest_explains_most() -> None:
    """A name often has an IPv6 address that nothing listens on."""
    async with grpc_server(credentials=server_credentials()) as target:
        port = target.rpartition(":")[2]
        assert (await probe(f"localhost:{port}")).problem == "tls_expected"
        assert (await probe(f"localhost:{port}", TRUSTING)).problem is None


def test_every_problem_is_explained_in_one_line() -> None:
    for problem in ServiceProblem:
        assert "\n" not in problem.explanation
        assert len(problem.explanation) > 30
