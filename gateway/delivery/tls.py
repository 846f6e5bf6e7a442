"""TLS of the Delivery service's server."""

import ssl
from pathlib import Path

import grpc
from msgspec import Struct

from gateway.domain.errors import ConfigurationError


class ServerTls(Struct, frozen=True, kw_only=True):
    """The PEM files with which the server of the Delivery service uses TLS.

    Attributes:
        certificate_file: the server's certificate chain.
        key_file: the private key of that certificate.
        client_ca_file: the authorities that sign the callers' certificates, which are
            then required; None to require none.
    """

    certificate_file: Path
    key_file: Path
    client_ca_file: Path | None = None


def find_tls_problems(tls: ServerTls) -> list[str]:
    """Return a line for each problem of the files; none if gRPC can use them.

    gRPC accepts invalid files and refuses every connection later, so Python's `ssl`
    module validates them first.
    """
    problems = []
    test_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        # The empty password keeps OpenSSL from asking for one on the terminal.
        test_context.load_cert_chain(tls.certificate_file, tls.key_file, password="")
    except OSError as error:
        problems.append(
            "DELIVERY_TLS_CERTIFICATE_FILE: it and DELIVERY_TLS_KEY_FILE are not a"
            f" certificate and its key: {_get_reason(error)}"
        )
    try:
        if tls.client_ca_file:
            test_context.load_verify_locations(tls.client_ca_file)
    except OSError as error:
        problems.append(
            "DELIVERY_TLS_CLIENT_CA_FILE: is not a file of TLS authorities:"
            f" {_get_reason(error)}"
        )
    return problems


def load_credentials(tls: ServerTls) -> grpc.ServerCredentials:
    """Read the files, and return credentials for a gRPC server.

    Raises:
        ConfigurationError: the files are invalid; it has all problems.
    """
    problems = find_tls_problems(tls)
    if problems:
        raise ConfigurationError(problems)
    ca_file = tls.client_ca_file
    return grpc.ssl_server_credentials(
        [(tls.key_file.read_bytes(), tls.certificate_file.read_bytes())],
        root_certificates=ca_file.read_bytes() if ca_file else None,
        require_client_auth=ca_file is not None,
    )


def _get_reason(error: OSError) -> str:
    return error.strerror or type(error).__name__
