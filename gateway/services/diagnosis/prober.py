"""Connects to a service as the gateway's channels do, to find out why they fail.

Such a probe opens connections of its own, one for each address of the target, because
the error of a channel is about one address only.
"""

import asyncio
import contextlib
import json
import re
import socket
import ssl
from collections.abc import AsyncIterator, Collection
from urllib.parse import unquote

import grpc
from grpc import aio
from msgspec import Struct

from gateway.services.diagnosis.grpc_errors import recognize_problem
from gateway.services.diagnosis.health_rpc import Health, get_health
from gateway.services.diagnosis.problems import ServiceProblem
from gateway.services.diagnosis.reflection import list_services

_CONNECT_SECONDS = 2
"""As long as a channel of the gateway tries to connect."""

_CALL_SECONDS = 5.0

_SERVICE_CONFIG = {
    "methodConfig": [
        {
            "name": [{}],
            "retryPolicy": {
                "maxAttempts": 3,
                "initialBackoff": "0.1s",
                "maxBackoff": "0.1s",
                "backoffMultiplier": 1,
                # As in the gateway's channels. A target that is unavailable is what a
                # probe looks for.
                "retryableStatusCodes": ["CANCELLED"],
            },
        }
    ]
}

_OPTIONS = (
    ("grpc.enable_retries", 1),
    ("grpc.service_config", json.dumps(_SERVICE_CONFIG)),
    ("grpc.min_reconnect_backoff_ms", _CONNECT_SECONDS * 1000),
    # Share no connection, and no failure, with another channel to the target.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_http_proxy", 0),
)

_BY_HOST = re.compile(r"(?:dns:(?:///)?)?(\[[0-9a-fA-F:.]+\]|[^\s:/\[\]]+):(\d{1,5})")
"""A target with one host, by name or address."""

_ADDRESS = re.compile(r"(ipv4|ipv6):(\S+):(\d+): ")
"""An address in gRPC's text of an error."""


class Finding(Struct, frozen=True, kw_only=True):
    """What a probe of a service found.

    Attributes:
        problem: what keeps the gateway from calling the service; None if nothing does.
        health: the health that the server reports; None if the server has no health
            service or was not reached.
    """

    problem: ServiceProblem | None
    health: Health | None = None


class ServiceProber(Struct, frozen=True):
    """Connects to services to find out why the gateway's channels cannot call them.

    Attributes:
        credentials: the TLS credentials that the channels use; None for no encryption.
    """

    credentials: grpc.ChannelCredentials | None

    async def probe(self, target: str, services: Collection[str]) -> Finding:
        """Connect to each address of a target, and ask for its health.

        Never raises: a failure is the result. Of several addresses, the one that the
        probe got furthest with decides. Each address takes up to about five seconds per
        request.

        Args:
            target: the gRPC name of the target, such as "profile:50051".
            services: the full names of the gRPC services that should be there. Their
                health is asked for if the server does not know the health of "".
        """
        host, addresses = await _resolve(target)
        if not addresses:
            return Finding(problem=ServiceProblem.NAME_NOT_FOUND)
        findings = await asyncio.gather(
            *(self._probe_address(it, host, services) for it in addresses)
        )
        return max(findings, key=_rank)

    async def list_services(self, target: str) -> list[str] | None:
        """Return the full names of a target's gRPC services.

        Returns:
            The sorted names; None if the server has no reflection or does not answer.
        """
        async with self._open_channel(target) as channel:
            return await list_services(channel, _CALL_SECONDS)

    @contextlib.asynccontextmanager
    async def _open_channel(
        self, target: str, host: str | None = None
    ) -> AsyncIterator[aio.Channel]:
        """Open a channel that calls a service whatever health it reports.

        Args:
            target: the name of the target for gRPC.
            host: the host name that the server's certificate is for, if the target is
                one of its addresses; else None.
        """
        options: tuple[tuple[str, str | int], ...] = _OPTIONS
        if host is not None:
            options = (*options, ("grpc.default_authority", host))
        if self.credentials is None:
            channel = aio.insecure_channel(target, options)
        else:
            channel = aio.secure_channel(target, self.credentials, options)
        async with channel:
            yield channel

    async def _probe_address(
        self, address: str, host: str | None, services: Collection[str]
    ) -> Finding:
        async with self._open_channel(address, host) as channel:
            try:
                health = await get_health(channel, "", _CALL_SECONDS)
            except aio.AioRpcError as error:
                return Finding(problem=await self._explain(error))
            if health is Health.SERVICE_UNKNOWN:
                problem = await _find_named_health(channel, services)
                return Finding(problem=problem, health=health)
        is_healthy = health in {Health.SERVING, None}
        return Finding(
            problem=None if is_healthy else ServiceProblem.NOT_SERVING, health=health
        )

    async def _explain(self, error: aio.AioRpcError) -> ServiceProblem:
        problem = recognize_problem(error) or ServiceProblem.HEALTH_CHECK_FAILED
        if problem is ServiceProblem.DEADLINE_EXCEEDED:
            return ServiceProblem.NO_RESPONSE
        if problem.is_of_call:
            return ServiceProblem.HEALTH_CHECK_FAILED
        is_plain = self.credentials is None
        is_closed = is_plain and problem is ServiceProblem.CONNECTION_CLOSED
        # A server with TLS closes a connection that does not begin with TLS.
        if is_closed and await _speaks_tls(error.details() or ""):
            return ServiceProblem.TLS_EXPECTED
        return problem


def _rank(finding: Finding) -> int:
    if finding.problem is None:
        return len(ServiceProblem)
    return list(ServiceProblem).index(finding.problem)


async def _find_named_health(
    channel: aio.Channel, services: Collection[str]
) -> ServiceProblem:
    """Return the problem of a server that does not know the health of "" ."""
    for service in services:
        with contextlib.suppress(aio.AioRpcError):
            health = await get_health(channel, service, _CALL_SECONDS)
            if health in {Health.SERVING, Health.NOT_SERVING}:
                return ServiceProblem.HEALTH_ONLY_BY_NAME
    return ServiceProblem.HEALTH_CHECK_FAILED


async def _resolve(target: str) -> tuple[str | None, list[str]]:
    """Return the host of a target, and a target for each of its addresses.

    A target that is not one host name is left as it is, without a host.
    """
    by_host = _BY_HOST.fullmatch(target)
    if not by_host:
        return None, [target]
    host, port = by_host[1].strip("[]"), int(by_host[2])
    try:
        found = await asyncio.get_running_loop().getaddrinfo(
            host, port, type=socket.SOCK_STREAM
        )
    except (OSError, UnicodeError):
        return host, []
    addresses = []
    for family, _, _, _, address in found:
        if family == socket.AF_INET:
            addresses.append(f"ipv4:{address[0]}:{port}")
        elif family == socket.AF_INET6:
            addresses.append(f"ipv6:[{address[0]}]:{port}")
    # The authority has the port, like that of the channels.
    return by_host[0].removeprefix("dns:").lstrip("/"), addresses


async def _speaks_tls(details: str) -> bool:
    """Return whether the server at the address in an error completes a handshake."""
    found = _ADDRESS.search(details)
    if not found:
        return False
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # nothing is sent: only the protocol matters
    context.set_alpn_protocols(["h2"])
    host, port = unquote(found[2]).strip("[]"), int(found[3])
    try:
        async with asyncio.timeout(_CONNECT_SECONDS):
            _, writer = await asyncio.open_connection(host, port, ssl=context)
    except OSError:  # including a timeout and an SSLError
        return False
    writer.transport.abort()
    return True
