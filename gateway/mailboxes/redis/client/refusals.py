"""Tells an operator how to fix a refusal by Redis, or a failed connection."""

from redis.exceptions import AuthenticationError, NoPermissionError, ResponseError


def explain_refusal(error: BaseException) -> str:
    """Return a text that says what to do about an error that Redis returned.

    Returns an empty string if nothing is known about the error. The text never contains
    the address, the user or the password.
    """
    if isinstance(error, AuthenticationError):
        # The error is NOAUTH or WRONGPASS. redis-py removes the code, but not the text.
        if "required" in str(error).lower():
            return (
                "Redis requires a password: add it to REDIS_URL, as"
                " redis://user:password@host:6379"
            )
        return (
            "Redis rejects the user or the password in REDIS_URL: correct them there or"
            " in Redis"
        )
    if isinstance(error, NoPermissionError):
        return (
            "the user in REDIS_URL lacks permissions that a gateway needs: grant it the"
            " permissions listed in deploy/compose.yaml"
        )
    if isinstance(error, ResponseError) and "DB index" in str(error):
        return (
            "Redis has no database with the number in REDIS_URL: correct it there, or"
            " raise `databases` in Redis"
        )
    return ""


_NOT_FOUND = "the host name in REDIS_URL is not found: correct the name, or the DNS"
_NOTHING_LISTENS = (
    "nothing listens at the address in REDIS_URL: start Redis, or correct the address"
)
_CLOSED = "Redis closes the connection: a Redis with TLS needs rediss:// in REDIS_URL"
_FAILED_CONNECTIONS = {
    "Name or service not known": _NOT_FOUND,
    "No address associated": _NOT_FOUND,
    "name resolution": _NOT_FOUND,
    "no Sentinel knows": "no Sentinel in REDIS_URL answers and knows the master",
    "CERTIFICATE_VERIFY_FAILED": (
        "the certificate of Redis is not trusted: it needs a known authority, and the"
        " host name in REDIS_URL"
    ),
    "SSL": (
        "the TLS handshake with Redis fails: rediss:// in REDIS_URL is for a Redis with"
        " TLS only"
    ),
    "closed by server": _CLOSED,
    "reset by peer": _CLOSED,
    "Connect call failed": _NOTHING_LISTENS,
    "refused": _NOTHING_LISTENS,
    "No such file": _NOTHING_LISTENS,
}
"""Parts of error texts of redis-py and asyncio. The first one that occurs decides."""


def explain_failed_connection(error: BaseException) -> str:
    """Return a text that says what to do about a connection that failed.

    The text never contains the address, the user or the password.
    """
    if isinstance(error, TimeoutError):
        return (
            "Redis does not answer in time: check the address in REDIS_URL, and use"
            " rediss:// only for a Redis with TLS"
        )
    message = str(error)
    found = (it for text, it in _FAILED_CONNECTIONS.items() if text in message)
    return next(found, "Redis does not answer: check the address in REDIS_URL")
