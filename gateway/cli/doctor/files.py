"""Examines FILES_URL, the address at which services read files."""

import asyncio
import http.client
from urllib.parse import urlsplit

from gateway.cli.doctor.report import Finding, Verdict
from gateway.telegram.files.signed_urls import FILES_PATH

_SUBJECT = "files"
_SECONDS = 5.0
_REJECTED = 403
"""The status of a gateway for an address that it has not signed."""


async def examine_files(base_url: str) -> list[Finding]:
    """Return whether FILES_URL leads to the gateway, by a request that it rejects.

    Args:
        base_url: FILES_URL without a trailing slash; "" if it is not set.
    """
    if not base_url:
        text = "FILES_URL is not set: services get no addresses of files"
        return [Finding(_SUBJECT, Verdict.OK, text)]
    url = f"{base_url}{FILES_PATH}/0-none/none"
    try:
        status = await asyncio.to_thread(_request_status, url)
    except (OSError, http.client.HTTPException):
        text = (
            f"nothing answers at {base_url}: start the gateway, or correct FILES_URL,"
            " which has to lead to OPS_PORT"
        )
        return [Finding(_SUBJECT, Verdict.FAILED, text)]
    if status != _REJECTED:
        text = (
            f"{base_url} is not the gateway, which would answer {_REJECTED} and not"
            f" {status}: FILES_URL has to lead to OPS_PORT"
        )
        return [Finding(_SUBJECT, Verdict.FAILED, text)]
    return [Finding(_SUBJECT, Verdict.OK, f"{base_url} leads to the gateway")]


def _request_status(url: str) -> int:
    parts = urlsplit(url)
    is_secure = parts.scheme == "https"
    connect = http.client.HTTPSConnection if is_secure else http.client.HTTPConnection
    connection = connect(parts.hostname or "", parts.port, timeout=_SECONDS)
    try:
        connection.request("GET", parts.path)
        return connection.getresponse().status
    finally:
        connection.close()
