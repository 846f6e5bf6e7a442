"""Makes fencing tokens: each lease gets a token of its own, and none is used twice."""

from collections.abc import Iterator
from itertools import count
from secrets import token_hex


def make_fencing_tokens(prefix: str = "") -> Iterator[str]:
    """Return an endless iterator over tokens, none of which occurs anywhere else.

    A token is the prefix, a random text for this iterator, and a counter. This is
    cheaper than a random token per lease.

    Args:
        prefix: the start of each token, which can say which store granted a lease.
    """
    start = f"{prefix}{token_hex(8)}-"
    return map(start.__add__, map(str, count(1)))
