"""Examines the Redis with the mailboxes."""

from pathlib import Path

from gateway.cli.doctor.report import Finding, Verdict
from gateway.domain.errors import StoreUnavailable
from gateway.mailboxes.redis.client.connection_factory import (
    is_unprotected,
    make_checked_connection_factory,
)
from gateway.mailboxes.redis.client.server_checks import inspect_server

_SUBJECT = "redis"


async def examine_redis(url: str | None, data_dir: Path | None) -> list[Finding]:
    """Return whether Redis answers, and which of its settings may lose or leak updates.

    Args:
        url: the address of the Redis; None if Redis is not used.
        data_dir: the directory of the mailboxes without Redis; None if they are in
            memory.

    Raises:
        ConfigurationError: the address is invalid.
    """
    if url is None and data_dir is not None:
        text = "is not used: the mailboxes are in DATA_DIR"
        return [Finding(_SUBJECT, Verdict.OK, text)]
    if url is None:
        text = (
            "is not used: a crash loses unfinished updates; set DATA_DIR or REDIS_URL"
        )
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
