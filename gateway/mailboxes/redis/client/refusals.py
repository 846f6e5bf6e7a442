"""Explains to an operator how to fix a refusal by Redis."""

from redis.exceptions import AuthenticationError, NoPermissionError, ResponseError


def explain_refusal(error: BaseException) -> str:
    """Return what to do about an error of Redis, or an empty string if unknown.

    The text never contains the address, the user or the password.
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
