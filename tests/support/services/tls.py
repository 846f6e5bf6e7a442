"""Certificates made for the tests only, and a server that uses them.

There is an authority, and a server and a client signed by it, valid from 2020 to 2120,
for localhost and 127.0.0.1. `expired` is signed by itself and was valid in 2020.
"""

from pathlib import Path

import grpc

CERTIFICATES = Path(__file__).parents[1] / "certificates"
CA = CERTIFICATES / "ca.pem"


def server_credentials(
    *, mutual: bool = False, name: str = "server"
) -> grpc.ServerCredentials:
    """Make a server's side of TLS.

    Args:
        mutual: require a certificate of the client.
        name: the certificate.
    """
    key = (CERTIFICATES / f"{name}.key").read_bytes()
    chain = (CERTIFICATES / f"{name}.pem").read_bytes()
    return grpc.ssl_server_credentials(
        [(key, chain)], CA.read_bytes() if mutual else None, mutual
    )
