"""Rules about the gRPC server of a service, and not about its rpcs."""

from collections.abc import Sequence

from gateway.conformance.rule import Rule, Subject


async def _check_health(subject: Subject) -> Sequence[str]:
    finding = await subject.prober.probe(subject.target, subject.rpc_services)
    return [] if finding.problem is None else [finding.problem.explanation]


HEALTH_RULES = (
    Rule(
        "reports_health",
        'A health service reports the status of the empty name "" as SERVING.',
        _check_health,
        is_of_service=True,
    ),
)
