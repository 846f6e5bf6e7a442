"""What a text should look like."""

import re

from msgspec import Struct

_PARTS = re.compile(r"\\\*|\*|\\|[^*\\]+")


class Pattern(Struct, frozen=True):
    """A whole text, in which `*` stands for anything, also for nothing.

    Attributes:
        words: as it was written.
        expression: the same as a regular expression.
    """

    words: str
    expression: re.Pattern[str]

    def matches(self, text: str) -> bool:
        """Tell whether a text looks like this; space around it does not count."""
        return bool(self.expression.fullmatch(text.strip()))


def parse_pattern(words: str) -> Pattern:
    r"""Make a pattern from words; `\*` is a real asterisk."""
    parts = (_expression(part) for part in _PARTS.findall(words.strip()))
    return Pattern(words, re.compile("".join(parts), re.DOTALL))


def _expression(part: str) -> str:
    if part == "*":
        return ".*"
    return re.escape("*" if part == r"\*" else part)
