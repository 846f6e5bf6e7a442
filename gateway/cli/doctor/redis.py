"""Examines the Redis with the mailboxes."""

from gateway.cli.doctor.report import Finding, Verdict
from gateway.domain.errors import StoreUnavailable
from gateway.mailboxes.redis.client.connection_factory import (
    is_unprotected,
    make_checked_connection_factory,
)
from gateway.mailboxes.redis.client.server_checks import inspect_server

_SUBJECT = "redis"


async def examine_redis(url: str | None) -> list[Finding]:
    """Connect to Redis, and read its settings.

    Args:
        url: the address; None if the mailboxes are in memory.

    Raises:
        ConfigurationError: the address is invalid.
    """
    if url is None:
        text = "is not used: a crash loses unfinished updates; set REDIS_URL"
        return [Finding(_SUBJECT, Verdict.WARNING, text)]
    make_connection = make_checked_connection_factory(url)
    try:
        inspection = await inspect_server(make_connection)
    except StoreUnavailable as error:
        return [Finding(_SUBJECT, Verdict.FAILED, str(error))]
    findings = [Finding(_SUBJECT, Verdict.OK, inspection.description)]
    if is_unprotected(url):
        text = "has no password: whoever connects to it can read messages; set one"
        findings.append(Finding(_SUBJECT, Verdict.WARNING, text))
    return findings + [
        Finding(_SUBJECT, Verdict.WARNING, warning) for warning in inspection.warnings
    ]
