"""Makes redis-py connections that do not retry and have no timeouts themselves."""

from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from redis.asyncio.connection import AbstractConnection, Connection, parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from gateway.config.addresses import is_loopback
from gateway.domain.errors import ConfigurationError
from gateway.mailboxes.redis.client.sentinel import SENTINEL_SCHEMES, parse_sentinel_url

ConnectionFactory = Callable[[], AbstractConnection]
"""Makes a connection object, not yet connected."""


def make_connection_factory(url: str, **address: Any) -> ConnectionFactory:  # noqa: ANN401 - redis-py's options
    """Return a function that makes connection objects, which are not yet connected.

    Args:
        url: a redis://, rediss:// or unix:// URL in the form of redis-py, or a URL of
            Sentinels; see `parse_sentinel_url`.
        address: `host` and `port` to connect to instead of those in the URL.

    Raises:
        ValueError: the URL is invalid. The message does not quote it.
    """
    parse = (
        parse_sentinel_url if urlsplit(url).scheme in SENTINEL_SCHEMES else parse_url
    )
    options: dict[str, Any] = {**parse(url), **address}
    connection_class: type[AbstractConnection] = options.pop(
        "connection_class", Connection
    )
    # redis-py's own timeouts and retries take seconds per call if a server refuses it,
    # and a minute if the server does not answer.
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
    """Return whether a URL leads to another machine without a password and TLS.

    Args:
        url: a URL that `make_connection_factory` accepts.
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
    """Check a URL from the settings, and return a factory for connections to it.

    Nothing is connected. See `make_connection_factory`.

    Raises:
        ConfigurationError: the URL is invalid. The message does not quote it.
    """
    try:
        make_connection = make_connection_factory(url)
        make_connection()
    except (TypeError, ValueError):
        # redis-py takes every parameter of the query for a setting, and its errors
        # quote them, so they are not passed on.
        raise ConfigurationError(
            ["REDIS_URL: has a setting that redis-py does not have"]
        ) from None
    return make_connection
