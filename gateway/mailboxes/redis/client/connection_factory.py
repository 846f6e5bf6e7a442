"""How connections to Redis are made: no retries, no deadlines but our own."""

from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from redis.asyncio.connection import AbstractConnection, Connection, parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from gateway.config.settings import is_loopback
from gateway.domain.errors import ConfigurationError
from gateway.mailboxes.redis.client.sentinel import SENTINEL_SCHEMES, parse_sentinel_url

ConnectionFactory = Callable[[], AbstractConnection]
"""Makes a connection object, not yet connected."""


def make_connection_factory(url: str, **address: Any) -> ConnectionFactory:  # noqa: ANN401 - redis-py's options
    """Give a way to make connections.

    Args:
        url: redis://, rediss:// or unix://, as redis-py reads it, or that of Sentinels,
            see `parse_sentinel_url`.
        address: the host and port to connect to in place of the URL's.

    Raises:
        ValueError: it is no such URL. The text does not quote it.
    """
    parse = (
        parse_sentinel_url if urlsplit(url).scheme in SENTINEL_SCHEMES else parse_url
    )
    options: dict[str, Any] = {**parse(url), **address}
    connection_class: type[AbstractConnection] = options.pop(
        "connection_class", Connection
    )
    # redis-py's own deadlines and repetitions take seconds per call where a server
    # refuses, and a minute where it is silent.
    options |= {
        "retry": Retry(NoBackoff(), 0),
        "socket_timeout": None,
        "socket_connect_timeout": None,
        "health_check_interval": 0,
        # RESP 3 turns some replies into maps.
        "protocol": 2,
        "decode_responses": False,
        "driver_info": None,
    }
    return lambda: connection_class(**options)


def is_unprotected(url: str) -> bool:
    """Return whether a Redis elsewhere is spoken to without a password or TLS.

    Args:
        url: one that `make_connection_factory` takes.
    """
    parts = urlsplit(url)
    if parts.scheme not in {"redis", "redis+sentinel"}:
        return False
    has_sentinels = parts.scheme in SENTINEL_SCHEMES
    options: dict[str, Any] = dict(
        parse_sentinel_url(url) if has_sentinels else parse_url(url)
    )
    if options.get("password"):
        return False
    if has_sentinels:
        hosts = [host for host, _ in options["sentinels"]]
    else:
        hosts = [options.get("host", "localhost")]
    return not all(map(is_loopback, hosts))


def make_checked_connection_factory(url: str) -> ConnectionFactory:
    """Do the same for a URL that nothing is known of yet.

    Raises:
        ConfigurationError: it cannot be used.
    """
    try:
        make_connection = make_connection_factory(url)
        make_connection()
    except (TypeError, ValueError):
        # redis-py takes every word of the query for a setting; its errors quote them.
        raise ConfigurationError(
            ["REDIS_URL: has settings that are none of redis-py"]
        ) from None
    return make_connection
