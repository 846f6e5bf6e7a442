"""What an operator has to mend where Redis refuses a gateway, in words."""

from redis.exceptions import AuthenticationError, NoPermissionError


def explain_refusal(error: BaseException) -> str:
    """Say what to do about an error of Redis. Empty: nothing, or nobody knows.

    Neither the address nor the user nor the password is ever in it.
    """
    if isinstance(error, AuthenticationError):
        # Redis answers NOAUTH, of which redis-py leaves the text, or WRONGPASS.
        if "required" in str(error).lower():
            return (
                "Redis wants a password: put it into REDIS_URL, as"
                " redis://user:password@host:6379"
            )
        return (
            "Redis refuses the user or the password in REDIS_URL: correct them there,"
            " or in Redis"
        )
    if isinstance(error, NoPermissionError):
        return (
            "the user in REDIS_URL may not do all that a gateway does: give it the"
            " rights that deploy/compose.yaml gives"
        )
    return ""
