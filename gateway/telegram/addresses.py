"""Which addresses Telegram takes in buttons and previews."""

import re
from urllib.parse import urlsplit

_UNSAFE = re.compile(r"[\x00-\x20\x7f]")
"""urlsplit takes these out of an address silently, and Telegram does not."""


def is_address(text: str, *schemes: str) -> bool:
    """Tell whether something is an address of one of these schemes.

    Telegram refuses hosts that nobody else can reach, such as "localhost", and with
    them the whole message.
    """
    if _UNSAFE.search(text):
        return False
    try:
        address = urlsplit(text)
        host = address.hostname
        _ = address.port  # raises if it is none
    except ValueError:
        return False
    if not host or address.scheme not in schemes:
        return False
    return address.scheme == "tg" or "." in host or ":" in host
