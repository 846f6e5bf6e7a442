"""Checks links, with Telegram's error messages.

This is independent of the gateway's own rules, so that a mistake in one of them is
found by the other; tests compare both with TDLib.
"""

import string
from ipaddress import IPv6Address
from urllib.parse import quote

_APPS = ("tg:", "ton:", "tonsite:")
_LETTERS = frozenset(string.ascii_letters + string.digits)
_IN_HOST = _LETTERS | frozenset(".-_!$,~*'();&+=")
_IN_USER = _IN_HOST | {":"}
_HEX = frozenset(string.hexdigits)


class InvalidLink(Exception):
    """Telegram does not accept a link. The message is Telegram's error text."""


def check_link(link: str, *, https_only: bool = False) -> str:
    """Check a link, and return it as Telegram stores it.

    Args:
        link: the link that a bot sent.
        https_only: True to reject all other schemes, as for web apps.

    Raises:
        InvalidLink: Telegram does not accept the link.
    """
    lower = link.lower()
    app = next((name for name in _APPS if lower.startswith(name)), "")
    rest = link[len(app) :]
    if app:
        rest = rest.removeprefix("//")
    protocol, rest = _read_protocol(rest)
    end = min((rest.find(each) for each in "/?#" if each in rest), default=len(rest))
    user, host, port = _read_authority(rest[:end])
    if https_only and (app or protocol != "https"):
        raise InvalidLink("Only HTTPS links are allowed")
    query = _read_query(rest[end:])
    if app:
        if protocol or user or port or host.startswith("["):
            raise InvalidLink("Wrong tg URL" if app == "tg:" else "Wrong ton URL")
        allowed = _LETTERS | frozenset("-_." if app == "tonsite:" else "-_")
        if not allowed.issuperset(host):
            raise InvalidLink("Unallowed characters in URL host")
        return f"{app}//{host}{query[1:] if query.startswith('/?') else query}"
    if "." not in host and not host.startswith("["):
        raise InvalidLink("Wrong HTTP URL")
    account = f"{user}@" if user else ""
    place = f":{port}" if port else ""
    return f"{protocol or 'http'}://{account}{host}{place}{query}"


def _read_protocol(link: str) -> tuple[str, str]:
    """Split off the protocol, or "" if there is none."""
    protocol, found, rest = link.partition("://")
    if not found or any(each in protocol for each in ":/?#@[]"):
        return "", link
    if protocol.lower() not in {"http", "https"}:
        raise InvalidLink("Unsupported URL protocol")
    return protocol.lower(), rest


def _read_authority(authority: str) -> tuple[str, str, int]:
    """Parse user, host and port; the port is 0 if there is none."""
    port = 0
    host, colon, digits = authority.rpartition(":")
    if host and colon and not {"]", "@"}.intersection(digits):
        digits = digits[: len(digits) - 1].lstrip("0") + digits[-1:]
        is_number = digits.isascii() and digits.isdecimal() and len(digits) < 6
        port = int(digits) if is_number else 0
        if not 1 <= port <= 65535:
            raise InvalidLink("Wrong port number specified in the URL")
    else:
        host = authority
    user, _, host = host.rpartition("@")
    if not host:
        raise InvalidLink("URL host is empty")
    if host == ".":
        raise InvalidLink("Host is invalid")
    if host[0] == "[" and host[-1] == "]":
        try:
            IPv6Address(host[1:-1].partition("%")[0])
        except ValueError:
            raise InvalidLink("Wrong IPv6 address specified in the URL") from None
        if "%" in host:
            raise InvalidLink("Wrong IPv6 URL host")
    else:
        _check_characters(host, _IN_HOST, "host")
        _check_characters(user, _IN_USER, "userinfo")
    # Telegram only lowercases ASCII letters.
    small = "".join(each.lower() if each.isascii() else each for each in host)
    return user, small, port


def _check_characters(part: str, allowed: frozenset[str], name: str) -> None:
    position = 0
    while position < len(part):
        character = part[position]
        if character == "%":
            digits = part[position + 1 : position + 3]
            if len(digits) < 2 or not _HEX.issuperset(digits):
                raise InvalidLink(f"Wrong percent-encoded symbol in URL {name}")
            position += 2
        elif character.isascii() and character not in allowed:
            raise InvalidLink(f"Disallowed character in URL {name}")
        position += 1


def _read_query(query: str) -> str:
    """Return path and query with a leading slash and without white space."""
    query = query.rstrip(" \t\r\n\0\v")
    if not query.startswith("/"):
        query = f"/{query}"
    return "".join(quote(each) if each <= " " else each for each in query)
