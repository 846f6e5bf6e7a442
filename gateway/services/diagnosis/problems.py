"""The problems of services that the gateway distinguishes, with explanations."""

from enum import StrEnum


class ServiceProblem(StrEnum):
    """The reasons why calls of a service fail.

    They are in the order of the steps of a call. If the addresses of a target have
    different problems, the one that comes last here is reported: the connection to its
    address got furthest, so it explains the most.
    """

    NAME_NOT_FOUND = "name_not_found"
    UNREACHABLE = "unreachable"
    CONNECTION_REFUSED = "connection_refused"
    CONNECTION_FAILED = "connection_failed"
    """For a reason that has no name here."""
    CONNECTION_CLOSED = "connection_closed"
    NO_RESPONSE = "no_response"
    NOT_GRPC = "not_grpc"
    TLS_FAILED = "tls_failed"
    """For a reason that has no name here."""
    TLS_EXPECTED = "tls_expected"
    TLS_NOT_SPOKEN = "tls_not_spoken"
    CERTIFICATE_UNTRUSTED = "certificate_untrusted"
    CERTIFICATE_EXPIRED = "certificate_expired"
    CERTIFICATE_FOR_OTHER_HOST = "certificate_for_other_host"
    CLIENT_CERTIFICATE_REFUSED = "client_certificate_refused"
    HEALTH_CHECK_FAILED = "health_check_failed"
    HEALTH_ONLY_BY_NAME = "health_only_by_name"
    NOT_SERVING = "not_serving"
    UNIMPLEMENTED = "unimplemented"
    REQUEST_TOO_LARGE = "request_too_large"
    REPLY_TOO_LARGE = "reply_too_large"
    DEADLINE_EXCEEDED = "deadline_exceeded"
    SAYS_UNAVAILABLE = "says_unavailable"

    @property
    def explanation(self) -> str:
        """What is wrong, and what to do about it, in one line."""
        return _EXPLANATIONS[self]

    @property
    def is_of_call(self) -> bool:
        """Whether the service was reached, so that only some of its calls may fail."""
        return self in CALL_PROBLEMS


CALL_PROBLEMS = frozenset(
    {
        ServiceProblem.UNIMPLEMENTED,
        ServiceProblem.REQUEST_TOO_LARGE,
        ServiceProblem.REPLY_TOO_LARGE,
        ServiceProblem.DEADLINE_EXCEEDED,
        ServiceProblem.SAYS_UNAVAILABLE,
    }
)
"""The problems that a reached service causes itself."""

_EXPLANATIONS = {
    ServiceProblem.NAME_NOT_FOUND: (
        "the host name of its target is not found: correct the name, or the DNS"
    ),
    ServiceProblem.UNREACHABLE: (
        "its target cannot be reached, or does not answer a connection attempt: check"
        " the address, the network and its firewalls"
    ),
    ServiceProblem.CONNECTION_REFUSED: (
        "nothing listens at its target: start the service, or correct the address and"
        " the port"
    ),
    ServiceProblem.CONNECTION_FAILED: (
        "its target accepts no connection: check the address, and what runs there"
    ),
    ServiceProblem.CONNECTION_CLOSED: (
        "its target closes every connection at once: check what listens there, such as"
        " a proxy without a backend"
    ),
    ServiceProblem.NO_RESPONSE: (
        "its target accepts connections but does not respond: check whether the service"
        " hangs, and whether a gRPC server listens there"
    ),
    ServiceProblem.NOT_GRPC: (
        "something else than a gRPC server listens at its target: correct the port"
    ),
    ServiceProblem.TLS_FAILED: (
        "the TLS handshake fails: compare the TLS versions, ciphers and certificates of"
        " both sides"
    ),
    ServiceProblem.TLS_EXPECTED: (
        "it expects TLS, but the gateway connects without: turn on SERVICES_TLS, or TLS"
        " for this service only"
    ),
    ServiceProblem.TLS_NOT_SPOKEN: (
        "it does not speak TLS, but the gateway does: turn on TLS in the service, or"
        " turn off SERVICES_TLS, or TLS for this service only"
    ),
    ServiceProblem.CERTIFICATE_UNTRUSTED: (
        "its certificate is signed by an unknown authority: set SERVICES_TLS_CA_FILE,"
        " or the file of this service, to the authority that signed it"
    ),
    ServiceProblem.CERTIFICATE_EXPIRED: (
        "its certificate has expired, or is not valid yet: renew it, or correct the"
        " clock"
    ),
    ServiceProblem.CERTIFICATE_FOR_OTHER_HOST: (
        "its certificate is for another host name: use a target with the name in the"
        " certificate, or a certificate with the name in the target"
    ),
    ServiceProblem.CLIENT_CERTIFICATE_REFUSED: (
        "it closes the connection after the TLS handshake, so it probably requires"
        " another certificate of the gateway: check SERVICES_TLS_CERTIFICATE_FILE and"
        " SERVICES_TLS_KEY_FILE, or the files of this service"
    ),
    ServiceProblem.HEALTH_CHECK_FAILED: (
        "its health service fails: Watch of grpc.health.v1.Health has to work for the"
        ' empty service name ""'
    ),
    ServiceProblem.HEALTH_ONLY_BY_NAME: (
        "it reports its health only under its own name: it has to set the status of the"
        ' empty service name "" as well'
    ),
    ServiceProblem.NOT_SERVING: (
        "it reports that it is not serving: check the service and what it depends on"
    ),
    ServiceProblem.UNIMPLEMENTED: (
        "it does not implement the rpc: compare the contracts of both sides, and check"
        " that the target is the address of this service"
    ),
    ServiceProblem.REQUEST_TOO_LARGE: (
        "it refuses a request as larger than its limit: raise the limit of its server"
        " for received messages, which is 4 MiB in most libraries"
    ),
    ServiceProblem.REPLY_TOO_LARGE: (
        "its reply is too large: 4 MiB without files and 51 MiB with them are accepted"
    ),
    ServiceProblem.DEADLINE_EXCEEDED: (
        "it did not answer before the deadline several times: check whether it hangs,"
        " or raise its timeout"
    ),
    ServiceProblem.SAYS_UNAVAILABLE: (
        "it is reached but answered UNAVAILABLE several times: look at its own log"
    ),
}
