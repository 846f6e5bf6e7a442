"""Divides this process's file descriptors among the kinds of connections.

Without a free descriptor, every operation that opens a connection fails: accepting one,
calling the Bot API, probing a worker. Therefore each kind of connection has its own
limit, and the sum of the limits is below the limit of the process.
"""

import logging
import resource
from typing import NamedTuple

logger = logging.getLogger(__name__)

_MIN_RECOMMENDED = 4096
"""Enough for connections to the Bot API and services, and from Telegram and others."""

_MAX_DIVIDED = 65_536
"""Descriptors above this number are not used: each connection also needs memory."""


class ConnectionLimits(NamedTuple):
    """The maximum number of open connections of each kind in this process.

    Together they use three quarters of the file descriptors. The remaining quarter is
    for Redis, services, uploads, downloads and probes.

    Attributes:
        webhook: connections to PORT.
        operations: connections to OPS_PORT.
        local: connections to the Unix socket between a worker and the supervisor.
        bot_api: connections to the Bot API.
    """

    webhook: int
    operations: int
    local: int
    bot_api: int


def divide_descriptors(limit: int) -> ConnectionLimits:
    """Divide file descriptors among the kinds of connections.

    Args:
        limit: the number of descriptors that this process may have open, as returned by
            `raise_descriptor_limit`.
    """
    limit = min(limit, _MAX_DIVIDED)
    operations = min(256, limit // 8)
    local = min(64, limit // 16)
    bot_api = min(1000, limit // 4)
    webhook = limit - limit // 4 - operations - local - bot_api
    return ConnectionLimits(webhook, operations, local, bot_api)


def raise_descriptor_limit() -> int:
    """Raise this process's limit on open file descriptors as far as the system allows.

    Logs a warning if the new limit is below `_MIN_RECOMMENDED`.

    Returns:
        The new limit.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY:
        hard = max(soft, _MAX_DIVIDED)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard < _MIN_RECOMMENDED:
        logger.warning(
            "file_descriptor_limit_low",
            extra={"limit": hard, "recommended": _MIN_RECOMMENDED},
        )
    return hard
