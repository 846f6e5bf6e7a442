"""Examines the services: whether they answer, and are healthy."""

import asyncio
from collections.abc import Collection, Mapping

from gateway.cli.doctor.report import Finding, Verdict
from gateway.services.channels import ServiceChannels
from gateway.services.diagnosis.prober import ServiceProber


async def examine_services(
    channels: ServiceChannels, rpc_services: Mapping[str, Collection[str]]
) -> list[Finding]:
    """Connect to all services, and return one finding for each.

    A finding says whether the service answers, and what its health service and its
    reflection say.

    Args:
        channels: have the target and the credentials of each service. They are not
            opened.
        rpc_services: for each service, the full names of the gRPC services that the
            contracts expect there.
    """
    return await asyncio.gather(
        *(
            _examine_service(
                ServiceProber(channels.get_credentials(service)),
                service,
                target,
                rpc_services[service],
            )
            for service, target in channels.targets.items()
        )
    )


async def _examine_service(
    prober: ServiceProber, service: str, target: str, rpc_services: Collection[str]
) -> Finding:
    subject = f"service {service}"
    finding = await prober.probe(target, rpc_services)
    if finding.problem is not None:
        text = f"{target}: {finding.problem.explanation}"
        return Finding(subject, Verdict.FAILED, text)
    encryption = "without TLS" if prober.credentials is None else "with TLS"
    health = "no health service" if finding.health is None else "its health is SERVING"
    found = f"{target} answers {encryption}; {health}"
    listed = await prober.list_services(target)
    if listed is None:
        return Finding(subject, Verdict.OK, f"{found}; no reflection")
    if missing := sorted(set(rpc_services) - set(listed)):
        text = (
            f"{found}; its reflection does not list {', '.join(missing)}: check that"
            " this is the address of the service, and that the contracts agree"
        )
        return Finding(subject, Verdict.WARNING, text)
    return Finding(subject, Verdict.OK, f"{found}; its reflection lists its contract")
