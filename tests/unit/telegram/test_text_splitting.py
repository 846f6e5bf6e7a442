"""Texts are cut where a reader expects it, and never lose a character."""

import time

import pytest
from botgateway.chat.v1.reply_pb2 import TEXT_FORMAT_HTML, TEXT_FORMAT_MARKDOWN_V2
from hypothesis import given
from hypothesis import strategies as st

from gateway.telegram.outbound.formatted_text_splitting import split_formatted_text
from gateway.telegram.outbound.text_splitting import (
    count_utf16_units,
    is_blank,
    split_text,
    truncate,
)
from tests.unit.telegram.texts import (
    FAMILY,
    FLAG,
    SCOTLAND,
    TEXTS,
    assert_nothing_lost,
    utf16,
)


@given(TEXTS, st.sampled_from([1024, 4096]))
def test_parts_fit_and_lose_nothing(text: str, limit: int) -> None:
    """Whatever the text: parts of the right length that together are the text."""
    parts = split_text(text, limit)
    assert all(1 <= utf16(part) <= limit and not is_blank(part) for part in parts)
    assert_nothing_lost(text, parts)


@given(TEXTS)
def test_units_are_utf16_code_units(text: str) -> None:
    """A character beyond the BMP counts as two."""
    assert count_utf16_units(text) == utf16(text)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        pytest.param("", [], id="nothing"),
        pytest.param("short", ["short"], id="fits"),
        pytest.param("0123456789", ["0123456789"], id="fits exactly"),
        pytest.param("one t\n\ntwo three", ["one t\n\n", "two three"], id="paragraph"),
        pytest.param("one two\nthree", ["one two\n", "three"], id="line"),
        pytest.param("one two three", ["one two ", "three"], id="word"),
        pytest.param("on\n\ntwo three", ["on\n\ntwo ", "three"], id="early paragraph"),
        pytest.param("012345678901", ["0123456789", "01"], id="hard"),
        pytest.param("012345678 \n 1", ["012345678 ", "\n 1"], id="space at the end"),
        pytest.param("a" + " " * 30, ["a" + " " * 9], id="white space behind"),
        pytest.param(" " * 19 + "a", [" " * 9 + "a"], id="white space before"),
        pytest.param("12345678😀😀", ["12345678😀", "😀"], id="fits with a pair"),
        pytest.param("123456789😀", ["123456789", "😀"], id="surrogate pair"),
        pytest.param("12345678" + FLAG, ["12345678", FLAG], id="flag"),
        pytest.param("12" + FLAG * 2, ["12" + FLAG * 2], id="two flags"),
        pytest.param("123" + FLAG * 2, ["123" + FLAG, FLAG], id="second flag"),
        pytest.param("123456789e\u0301", ["123456789", "e\u0301"], id="accent"),
        pytest.param("1234567👍🏽", ["1234567", "👍🏽"], id="skin colour"),
        pytest.param("a\u0301" * 7, ["a\u0301" * 5, "a\u0301" * 2], id="accents"),
        pytest.param(
            "a" + "\u0301" * 19, ["a" + "\u0301" * 9, "\u0301" * 10], id="play"
        ),
    ],
)
def test_a_cut_is_where_a_reader_expects_it(text: str, parts: list[str]) -> None:
    """Ten units a part: paragraphs before lines before words before characters."""
    assert split_text(text, 10) == parts


@pytest.mark.parametrize("emoji", [FAMILY, SCOTLAND, FLAG, "👍🏽", "e\u0301"])
def test_an_emoji_is_never_cut_in_pieces(emoji: str) -> None:
    """Hard cuts fall between emoji, wherever the limit is."""
    for limit in range(utf16(emoji), 3 * utf16(emoji)):
        assert all(
            part == emoji * part.count(emoji) for part in split_text(emoji * 9, limit)
        )


@pytest.mark.parametrize(
    "unit",
    [
        "x",
        "😀",
        "\u0301",
        FLAG,
        "<b>",
        "&",
        "<",
        "\u200d",
        " ",
        "\n",
        "<a ",
        "[",
        "[a](",
        "\n>",
    ],
)
def test_a_huge_text_is_cut_in_linear_time(unit: str) -> None:
    """A million characters without a good place to cut take a moment, not minutes."""
    text = unit * (1_000_000 // len(unit))
    start = time.thread_time()
    split_text(text, 4096)
    split_formatted_text(text, TEXT_FORMAT_HTML, 4096)
    split_formatted_text(text, TEXT_FORMAT_MARKDOWN_V2, 4096)
    assert time.thread_time() - start < 40  # of the processor; else it takes hours


@pytest.mark.parametrize("empty", ["", " \n\t\r", "\u200b\ufeff", "\u2800\xa0\u3000"])
def test_what_telegram_takes_for_empty_is_blank(empty: str) -> None:
    """Spaces, controls and characters without a shape cannot be sent alone."""
    assert is_blank(empty)
    assert not is_blank(empty + "." + empty)


@given(TEXTS, st.integers(1, 300))
def test_a_shortened_text_is_a_start_of_it(text: str, limit: int) -> None:
    """Shortening only takes away from the end."""
    start = truncate(text, limit)
    assert text.startswith(start)
    assert utf16(start) <= limit
