"""Checks whether Telegram accepts a URL in buttons, previews and media.

The rules are TDLib's own (tdutils, HttpUrl.cpp: parse_url; LinkManager.cpp:
check_link), not those of a browser: Telegram rejects the message if it rejects the URL
of one button.
"""

import ipaddress
import re
import socket
import unicodedata
from urllib.parse import unquote

from msgspec import Struct

_APP_LINK = re.compile(r"(tg|ton|tonsite):(?://)?", re.IGNORECASE)
_PROTOCOL = re.compile(r"([^:/?#@\[\]]*)://")
_AUTHORITY = re.compile(r"[^/?#]*")
_PORT = re.compile(r"0*([1-9][0-9]{0,4})")
_HOST_CHARACTER = r"[A-Za-z0-9.\-_!$,~*'();&+=\x80-\U0010ffff]|%[0-9A-Fa-f]{2}"
_HOST = re.compile(f"(?:{_HOST_CHARACTER})+")
_USER = re.compile(f"(?:{_HOST_CHARACTER}|:)*")
_IPV6 = re.compile(r"\[([0-9A-Fa-f:.]+)\]")
_APP_HOST = re.compile(r"[A-Za-z0-9_-]+")
_SITE_HOST = re.compile(r"[A-Za-z0-9_.-]+")

_PRIVATE_NAMES = ("localhost", "local", "internal", "lan", "home.arpa")
"""Suffixes of host names that are never on the Internet (RFC 6761, 6762, 8375)."""

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
"""Addresses that lead to the IPv4 address in their last 32 bits (RFC 6052)."""


class ParsedUrl(Struct, frozen=True):
    """A URL that TDLib accepts.

    Attributes:
        scheme: "http", "https", "tg", "ton" or "tonsite". A URL without a scheme is
            read as "http".
        host: the name or the IP address; an IPv6 address has no brackets.
        has_scheme: whether the text includes the scheme.
    """

    scheme: str
    host: str
    has_scheme: bool


def parse_url(text: str) -> ParsedUrl | None:
    """Parse a URL by TDLib's rules; return None if TDLib rejects it as a link."""
    app = _APP_LINK.match(text)
    rest = text[app.end() :] if app else text
    protocol = _PROTOCOL.match(rest)
    scheme = protocol[1].lower() if protocol else "http"
    if scheme not in {"http", "https"}:
        return None
    authority = _AUTHORITY.match(rest, protocol.end() if protocol else 0)
    parts = _split_authority(authority[0] if authority else "")
    if parts is None:
        return None
    user, host, port = parts
    ipv6 = _IPV6.fullmatch(host)
    if app:
        plain = not (protocol or user or port or ipv6)
        return _parse_app_link(app[1].lower(), host) if plain else None
    if ipv6:
        return ParsedUrl(scheme, ipv6[1], bool(protocol))
    return ParsedUrl(scheme, host, bool(protocol)) if "." in host else None


def is_complete_url(text: str, *schemes: str) -> bool:
    """Return whether a text is a valid URL that includes one of these schemes."""
    parsed = parse_url(text)
    return parsed is not None and parsed.has_scheme and parsed.scheme in schemes


def is_private_url(text: str) -> bool:
    """Return whether a URL leads to a private network, or is invalid.

    Only the text is checked: host names are not looked up.
    """
    parsed = parse_url(text)
    if parsed is None:
        return True
    host = _normalize_host(parsed.host)
    if host.endswith(tuple(f".{name}" for name in _PRIVATE_NAMES)):
        return True
    try:
        # inet_aton reads unusual notations, as connecting does: 127.1, 0x7f.0.0.1.
        ip: ipaddress.IPv4Address | ipaddress.IPv6Address
        ip = ipaddress.ip_address(host if ":" in host else socket.inet_aton(host))
    except (ValueError, OSError):
        return False  # It is a name.
    if isinstance(ip, ipaddress.IPv6Address):
        ip = _extract_embedded_ipv4(ip) or ip
    return not ip.is_global


def _normalize_host(host: str) -> str:
    """Normalize a host in the way of the programs that connect to it.

    They decode percent signs, and read full-width digits and dots as plain ones (UTS
    46).
    """
    plain = unicodedata.normalize("NFKC", unquote(host)).replace("\u3002", ".")
    return plain.rstrip(".").lower()


def _extract_embedded_ipv4(ip: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """Return the IPv4 address that an IPv6 address leads to, or None."""
    if ip in _NAT64:
        return ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip.ipv4_mapped or ip.sixtofour


def _split_authority(authority: str) -> tuple[str, str, int] | None:
    """Split the authority of a URL into user, host and port.

    Returns:
        User, host and port (0 if there is none), or None if one of them is not allowed.
    """
    port = 0
    separator = max(authority.rfind(each) for each in ":]@")
    if separator > 0 and authority[separator] == ":":
        digits = _PORT.fullmatch(authority, separator + 1)
        port = int(digits[1]) if digits else 0
        if not 0 < port < 65536:
            return None
        authority = authority[:separator]
    user, _, host = authority.rpartition("@")
    if host.startswith("[") and host.endswith("]"):
        return (user, host, port) if _is_ipv6(host) else None
    valid = host != "." and _HOST.fullmatch(host) and _USER.fullmatch(user)
    return (user, host, port) if valid else None


def _is_ipv6(host: str) -> bool:
    literal = _IPV6.fullmatch(host)
    try:
        return literal is not None and bool(ipaddress.IPv6Address(literal[1]))
    except ValueError:
        return False


def _parse_app_link(scheme: str, host: str) -> ParsedUrl | None:
    allowed = _SITE_HOST if scheme == "tonsite" else _APP_HOST
    return ParsedUrl(scheme, host, has_scheme=True) if allowed.fullmatch(host) else None
