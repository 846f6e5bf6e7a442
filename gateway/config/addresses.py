"""Checks of the network addresses in settings."""

import contextlib
from ipaddress import ip_address

from pydantic import HttpUrl

_TELEGRAM_PORTS = (443, 80, 88, 8443)
"""The ports that Telegram sends updates to (Bot API: setWebhook)."""


def is_loopback(host: str) -> bool:
    """Return whether a host is "localhost" or a loopback address of this machine."""
    if host == "localhost":
        return True
    with contextlib.suppress(ValueError):
        return ip_address(host.strip("[]")).is_loopback
    return False


def check_public_webhook(url: HttpUrl) -> HttpUrl:
    """Return a webhook's address unchanged if Telegram's servers would send to it.

    Raises:
        ValueError: they would refuse it; the message says why.
    """
    if url.scheme != "https":
        raise ValueError("is not https, and Telegram sends updates to nothing else")
    if url.port not in _TELEGRAM_PORTS:
        ports = ", ".join(map(str, _TELEGRAM_PORTS))
        raise ValueError(f"has a port that Telegram does not send to: use {ports}")
    return url
