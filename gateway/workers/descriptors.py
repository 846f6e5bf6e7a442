"""How the file descriptors of this process are shared out.

Whoever finds none left fails: a listener that accepts, a call to the Bot API, a probe
of a worker. So each kind of connection has a bound of its own, and all bounds together
are less than what the system lets this process have.
"""

import logging
import resource
from typing import NamedTuple

logger = logging.getLogger(__name__)

_MIN_RECOMMENDED = 4096
"""Connections to the Bot API, to services, and from Telegram and strangers."""

_MAX_DIVIDED = 65_536
"""More are not shared out: each connection takes memory as well."""


class ConnectionLimits(NamedTuple):
    """How many connections of each kind may be open.

    The quarter that is left is for Redis, services, uploads, downloads and probes.

    Attributes:
        webhook: to PORT.
        operations: to OPS_PORT.
        local: to the Unix socket between a worker and the process above it.
        bot_api: to the Bot API.
    """

    webhook: int
    operations: int
    local: int
    bot_api: int


def divide_descriptors(limit: int) -> ConnectionLimits:
    """Share out so many descriptors."""
    limit = min(limit, _MAX_DIVIDED)
    operations = min(256, limit // 8)
    local = min(64, limit // 16)
    bot_api = min(1000, limit // 4)
    webhook = limit - limit // 4 - operations - local - bot_api
    return ConnectionLimits(webhook, operations, local, bot_api)


def raise_descriptor_limit() -> int:
    """Let this process have as many descriptors as the system allows.

    Returns:
        How many that are.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY:
        hard = max(soft, _MAX_DIVIDED)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard < _MIN_RECOMMENDED:
        logger.warning(
            "few file descriptors: few connections can be open",
            extra={"limit": hard, "enough": _MIN_RECOMMENDED},
        )
    return hard
