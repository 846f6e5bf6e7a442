"""Patterns of the texts that a scenario expects."""

import re

from msgspec import Struct

_PARTS = re.compile(r"\\\*|\*|\\|[^*\\]+")


class Pattern(Struct, frozen=True):
    """A pattern of a complete text, in which `*` matches any text, also an empty one.

    Attributes:
        words: the pattern as written in the scenario.
        expression: the equivalent regular expression.
    """

    words: str
    expression: re.Pattern[str]

    def matches(self, text: str) -> bool:
        """Return whether a text matches; surrounding space is ignored."""
        return bool(self.expression.fullmatch(text.strip()))


def parse_pattern(words: str) -> Pattern:
    r"""Parse a pattern: `*` matches any text, `\*` an asterisk, all else itself."""
    parts = (_expression(part) for part in _PARTS.findall(words.strip()))
    return Pattern(words, re.compile("".join(parts), re.DOTALL))


def _expression(part: str) -> str:
    if part == "*":
        return ".*"
    return re.escape("*" if part == r"\*" else part)
