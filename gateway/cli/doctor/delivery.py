"""Examines DELIVERY_PORT, at which services send messages on their own initiative."""

from gateway.cli.doctor.report import Finding, Verdict
from gateway.config.settings import Settings
from gateway.services.channels import ServiceChannels, TlsFiles
from gateway.services.diagnosis.prober import ServiceProber
from gateway.services.diagnosis.problems import ServiceProblem

_SUBJECT = "delivery"
_EVERY_HOST = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}  # noqa: S104 - not to listen at

_OF_CERTIFICATES = {
    ServiceProblem.CERTIFICATE_UNTRUSTED,
    ServiceProblem.CERTIFICATE_FOR_OTHER_HOST,
    ServiceProblem.CLIENT_CERTIFICATE_REFUSED,
}
"""What only a server with TLS causes. The doctor has neither the address that callers
use nor a certificate of a caller."""

_EXPLANATIONS = {
    ServiceProblem.CONNECTION_REFUSED: (
        "nothing listens: start the gateway, or correct DELIVERY_HOST and DELIVERY_PORT"
    ),
    ServiceProblem.TLS_EXPECTED: (
        "it expects TLS, which the settings do not have: restart the gateway with them"
    ),
    ServiceProblem.TLS_NOT_SPOKEN: (
        "it does not speak TLS, which the settings have: restart the gateway with them"
    ),
    ServiceProblem.CERTIFICATE_EXPIRED: (
        "DELIVERY_TLS_CERTIFICATE_FILE has expired, or is not valid yet: renew it"
    ),
    ServiceProblem.NOT_GRPC: (
        "something else than the gateway listens there: correct DELIVERY_PORT"
    ),
}


async def examine_delivery(settings: Settings) -> list[Finding]:
    """Return whether DELIVERY_PORT of the gateway answers on this machine.

    It connects as a service does, with TLS if the settings have a certificate.
    """
    if settings.delivery_port is None:
        text = "DELIVERY_PORT is not set: services only answer"
        return [Finding(_SUBJECT, Verdict.OK, text)]
    host = settings.delivery_address
    if ":" in host and host not in _EVERY_HOST:
        host = f"[{host}]"
    target = f"{_EVERY_HOST.get(host, host)}:{settings.delivery_port}"
    certificate = settings.delivery_tls_certificate_file
    # A certificate that is signed by itself is its own authority.
    tls = None if certificate is None else TlsFiles(ca_file=certificate)
    channels = ServiceChannels({_SUBJECT: target}, tls)
    prober = ServiceProber(channels.get_credentials(_SUBJECT))
    problem = (await prober.probe(target, ())).problem
    if problem is None or (tls and problem in _OF_CERTIFICATES):
        encryption = "with TLS" if tls else "without TLS"
        text = f"{target} answers {encryption}"
        return [Finding(_SUBJECT, Verdict.OK, text)]
    explanation = _EXPLANATIONS.get(problem, problem.explanation)
    return [Finding(_SUBJECT, Verdict.FAILED, f"{target}: {explanation}")]
