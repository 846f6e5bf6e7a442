"""Formatted texts are cut so that each part is well-formed and looks as before."""

from collections import Counter
from html.parser import HTMLParser

import pytest
from botgateway.chat.v1.reply_pb2 import (
    TEXT_FORMAT_HTML,
    TEXT_FORMAT_MARKDOWN_V2,
    TEXT_FORMAT_UNSPECIFIED,
)
from hypothesis import given
from hypothesis import strategies as st

from gateway.telegram.outbound.formatted_text_splitting import split_formatted_text
from gateway.telegram.outbound.text_splitting import is_blank, split_text
from tests import tdlib
from tests.tdlib.comparison import AGREED, FORMATS, compare_parts
from tests.tdlib.texts import TextMaker
from tests.unit.telegram.texts import utf16


def split_html(text: str, limit: int) -> list[str]:
    """Cut a text in HTML."""
    return split_formatted_text(text, TEXT_FORMAT_HTML, limit)


def split_markdown(text: str, limit: int = 100) -> list[str]:
    """Cut a text in MarkdownV2."""
    return split_formatted_text(text, TEXT_FORMAT_MARKDOWN_V2, limit)


@pytest.mark.parametrize("mode", FORMATS)
@pytest.mark.parametrize("limit", [200, 500])
def test_telegram_shows_the_parts_as_it_would_show_the_whole(
    mode: str, limit: int
) -> None:
    """TDLib itself reads them: no part is refused, nothing lost, no mark either."""
    maker = TextMaker(mode, seed=limit)
    results: Counter[str] = Counter()
    for _ in range(300):
        text = maker.make_tree(most=limit // 10)
        result = compare_parts(text, mode, limit)
        assert result in AGREED, f"{result}: {text!r}"
        results[result] += 1
    assert results["cut"] > 50
    assert results["given up"] < 100


@pytest.mark.parametrize("mode", FORMATS)
def test_a_text_that_telegram_refuses_is_cut_as_it_is(mode: str) -> None:
    """Nothing may be added to it, since it will be sent as plain text."""
    maker = TextMaker(mode, seed=3)
    refused = 0
    for _ in range(3000):
        text = maker.make()
        try:
            tdlib.parse(text, mode)
        except tdlib.Refused as error:
            # These are found by nobody but Telegram; the parts are refused like it.
            if "emoji" in str(error) or "Unicode" in str(error) or "span" in str(error):
                continue
            refused += 1
            assert split_formatted_text(text, FORMATS[mode], 150) == split_text(
                text, 150
            ), text
    assert refused > 500


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        pytest.param("*" + "a " * 60 + "*", ["*{}*", "*{}*"], id="bold"),
        pytest.param("```py\n" + "a\n" * 60 + "```", ["```py\n{}```"] * 2, id="code"),
        pytest.param("_" + "a " * 60 + "_", ["_{}_", "_{}_"], id="italic"),
        pytest.param(
            "[" + "a " * 60 + "](https://a.b)", ["[{}](https://a.b)"] * 2, id="link"
        ),
        pytest.param(
            "__*" + "a " * 60 + "*__ b", ["__*{}*__", "__*{}*__ b"], id="nested"
        ),
        pytest.param(
            "_\r__" + "a " * 60 + "__\r_", ["_\r__{}__\r_"] * 2, id="underscores"
        ),
        pytest.param(">" + "a " * 60, [">{}", ">{}"], id="quote"),
        pytest.param(">" + "a " * 60 + "||", [">{}||", ">{}||"], id="expandable"),
    ],
)
def test_marks_are_closed_and_opened_again(text: str, parts: list[str]) -> None:
    cut = split_markdown(text)
    assert len(cut) == len(parts)
    for part, expected in zip(cut, parts, strict=True):
        before, _, behind = expected.partition("{}")
        assert part.startswith(f"{before}a")
        spaces = (f"a{space}{behind}" for space in ("", " ", "\n"))
        assert part.endswith(tuple(spaces))


def test_a_cut_is_in_no_escape_and_in_no_mark() -> None:
    for shift in range(100):
        text = "x" * shift + "\\." * 60 + "||" + "y" * 60 + "||"
        parts = split_markdown(text)
        assert "".join(part.replace("||", "") for part in parts) == text.replace(
            "||", ""
        )
        for part in parts:
            tdlib.parse(part, "MarkdownV2")


def test_a_carriage_return_behind_an_expandable_quote_is_no_part_of_it() -> None:
    """At the end of a text TDLib takes the mark before it for a spoiler's start."""
    text = ">" + "a " * 60 + "||\r"
    with pytest.raises(tdlib.Refused):
        tdlib.parse(text, "MarkdownV2")
    assert split_markdown(text) == split_text(text, 100)


def test_markdown_without_visible_text_is_not_sent() -> None:
    """Telegram refuses a message that is empty after parsing."""
    assert split_markdown("* *") == []
    assert split_markdown("__\r__") == []


def test_plain_text_is_cut_without_a_look_at_marks() -> None:
    text = "*" * 150
    parts = split_formatted_text(text, TEXT_FORMAT_UNSPECIFIED, 100)
    assert parts == ["*" * 100, "*" * 50]


def test_a_bracket_in_an_attribute_is_no_end_of_its_tag() -> None:
    """The attribute ends with its quote."""
    tag = '<a href="https://a.b/?x>y">'
    parts = split_html(tag + "word " * 100 + "</a>", 150)
    assert len(parts) > 3
    assert all(part.startswith(tag) and part.endswith("</a>") for part in parts)


def test_a_text_with_too_many_marks_is_cut_as_it_is() -> None:
    """Nobody would see them: Telegram shows 100 of a message."""
    text = "<b>x</b>" * 10_001
    assert split_html(text, 4096) == split_text(text, 4096)


class Reader(HTMLParser):
    """Reads a part as Telegram does: text, and what is marked up in which way."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.seen: list[tuple[str, tuple[str, ...]]] = []
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Open a tag."""
        self._open.append(f"{tag}{attrs}")

    def handle_endtag(self, tag: str) -> None:
        """Close the innermost tag."""
        assert self._open.pop().startswith(f"{tag}[")

    def handle_data(self, data: str) -> None:
        """Note each visible character with the tags above it."""
        marks = tuple(self._open)
        blanks = {character for character in set(data) if is_blank(character)}
        self.seen += [
            (character, marks) for character in data if character not in blanks
        ]


def element(tag: str) -> st.SearchStrategy[str]:
    """Wrap content of any kind in a tag."""
    name = tag.partition(" ")[0]
    return st.deferred(lambda: HTML).map(lambda inner: f"<{tag}>{inner}</{name}>")


WORDS = st.tuples(
    st.sampled_from(
        ["word ", "long&amp;", "x", "&#128512; ", "line\n", "п. \n\n", " "]
    ),
    st.integers(1, 2000),
).map(lambda run: run[0] * run[1])
TAGS = ["b", "i", 'a href="https://example.com/?a=b&amp;c=d"', "pre", "blockquote"]
HTML: st.SearchStrategy[str] = st.lists(
    WORDS | st.sampled_from(TAGS).flatmap(element), max_size=3
).map("".join)


@given(HTML)
def test_html_stays_well_formed_in_every_part(html: str) -> None:
    """Each part parses by itself, and each character keeps its markup."""
    parts = split_html(html, 4096)
    assert all(1 <= utf16(part) <= 4096 for part in parts)
    seen = [each for part in parts for each in Reader(part).seen]
    assert seen == Reader(html).seen


@pytest.mark.parametrize("html", ["<b>{}", "{}</b>", "<p>{}</p>", "<b><i>{}</b></i>"])
def test_what_is_not_telegrams_html_is_cut_as_it_is(html: str) -> None:
    """It will be sent as plain text, so nothing may be added to it."""
    text = html.format("word " * 2000)
    assert split_html(text, 4096) == split_text(text, 4096)


def test_html_without_visible_text_is_not_sent() -> None:
    """Telegram refuses a message that is empty after parsing."""
    assert split_html("<b> </b>", 4096) == []


@pytest.mark.parametrize("text", ["<" + "a" * 4095, "<a " * 1300, "</" + "b-" * 2000])
def test_tags_that_never_end_take_no_time(text: str) -> None:
    """A second per part would stop every user's bot; this ends far below the limit."""
    for _ in range(100):
        assert "".join(split_html(text * 10, 4096)) == text * 10
