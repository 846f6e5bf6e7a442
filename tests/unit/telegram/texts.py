"""Texts of all kinds, and what must hold for their parts."""

from hypothesis import strategies as st

from gateway.telegram.outbound.text_splitting import (
    is_blank,
)

FAMILY = "👨‍👩‍👧‍👦"

FLAG = "🇩🇪"

SCOTLAND = "🏴\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f"

ALONE = " a\t\n漢😀\u200d\u2800\xa0\\"

TOGETHER = ("word ", "слово ", "\n\n", "\r\n", "e\u0301", "👍🏽", "<b>", "&amp;")

PIECES = st.sampled_from([*ALONE, *TOGETHER, FAMILY, FLAG, SCOTLAND])

TEXTS = st.lists(
    st.tuples(PIECES | st.text(max_size=30), st.integers(1, 3000)), max_size=8
).map(lambda runs: "".join(piece * times for piece, times in runs)[:20_000])


def utf16(text: str) -> int:
    """Count UTF-16 code units in another way than the code does."""
    return sum(2 if ord(character) > 0xFFFF else 1 for character in text)


def assert_nothing_lost(text: str, parts: list[str]) -> None:
    """Fail unless the parts are the text, but for gaps that nobody can see."""
    position = 0
    for part in parts:
        start = text.find(part, position)
        assert start >= 0
        assert is_blank(text[position:start])
        position = start + len(part)
    assert is_blank(text[position:])
