"""Formatted text: what the user sees of it, and what is refused."""

import html
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.sandbox.simulator.validation.markup import MarkupError
from gateway.sandbox.simulator.validation.markup_html import parse_html
from gateway.sandbox.simulator.validation.markup_markdown import parse_markdown_v2
from gateway.sandbox.simulator.validation.markup_markdown_legacy import parse_markdown

Spans = list[tuple[str, int, int]]


def spans(entities: list[dict[str, object]]) -> list[tuple[object, ...]]:
    """Take type, offset and length of each entity."""
    return [(each["type"], each["offset"], each["length"]) for each in entities]


@pytest.mark.parametrize(
    ("source", "visible", "expected"),
    [
        ("plain", "plain", []),
        ("1 &lt; 2 &amp;&amp; 3 &gt 2 &euro; &#33;", "1 < 2 && 3 > 2 &euro; !", []),
        ("😀<b>a</b>", "😀a", [("bold", 2, 1)]),
        ("<B>a<i>b</i></B>", "ab", [("bold", 0, 2), ("italic", 1, 1)]),
        ("<b></b>a", "a", []),
        ("<i>a</>", "a", [("italic", 0, 1)]),
        ("<a href='https://a.example/?x&amp;y'>a</a>", "a", [("text_link", 0, 1)]),
        ("<a href=nowhere>a</a>", "a", []),
        ("<span class='tg-spoiler'>a</span>", "a", [("spoiler", 0, 1)]),
        (
            "<blockquote expandable>a</blockquote>",
            "a",
            [("expandable_blockquote", 0, 1)],
        ),
        ("<pre><code class='language-python'>a</code></pre >", "a", None),
    ],
)
def test_html_shows_its_text(source: str, visible: str, expected: Spans | None) -> None:
    """Tags become entities, in UTF-16 units; character references become text."""
    text, entities = parse_html(source)
    assert text == visible
    if expected is not None:
        assert spans(entities) == expected


@pytest.mark.parametrize(
    ("source", "fault"),
    [
        ("a < b", 'Unsupported start tag "" at byte offset 2'),
        ("a <b", "Unclosed start tag at byte offset 2"),
        ("é<p>a</p>", 'Unsupported start tag "p" at byte offset 2'),
        ("a<br/>", 'Unsupported start tag "br/" at byte offset 1'),
        ("<b>a", 'Can\'t find end tag corresponding to start tag "b"'),
        ("a</b>", "Unexpected end tag at byte offset 1"),
        ("<b>a</b", "Unclosed end tag at byte offset 4"),
        (
            "<b><i>a</b></i>",
            'Unmatched end tag at byte offset 7, expected "</i>", found "</b>"',
        ),
        ("<span>a</span>", 'Tag "span" must have class "tg-spoiler" at byte offset 0'),
        ('<a ="b">a</a>', 'Empty attribute name in the tag "a" at byte offset 0'),
        ("<a href", "Unclosed start tag"),
    ],
)
def test_html_that_is_wrong_is_refused(source: str, fault: str) -> None:
    """The words are Telegram's, the offset counts bytes."""
    with pytest.raises(MarkupError, match=re.escape(fault)):
        parse_html(source)


@pytest.mark.parametrize(
    ("source", "visible", "expected"),
    [
        ("plain", "plain", []),
        (r"1 \+ 1 \= 2\.", "1 + 1 = 2.", []),
        ("😀*a*", "😀a", [("bold", 2, 1)]),
        ("*a _b_*", "a b", [("bold", 0, 3), ("italic", 2, 1)]),
        ("__a__ _b_", "a b", [("underline", 0, 1), ("italic", 2, 1)]),
        ("~a~ ||b||", "a b", [("strikethrough", 0, 1), ("spoiler", 2, 1)]),
        ("`a.b`", "a.b", [("code", 0, 3)]),
        ("```\na = {}\n```", "a = {}\n", [("pre", 0, 7)]),
        ("```py\na\n```", "a\n", [("pre", 0, 2)]),
        (r"[a](https://a.example/\)b)", "a", [("text_link", 0, 1)]),
        ("[a](nowhere)", "a", []),
        (">a\n>b\nc", "a\nb\nc", [("blockquote", 0, 4)]),
        (">a\n>b||", "a\nb", [("expandable_blockquote", 0, 3)]),
        ("*a\nb*", "a\nb", [("bold", 0, 3)]),
        (r"a\😀", r"a\😀", []),
    ],
)
def test_markdown_shows_its_text(source: str, visible: str, expected: Spans) -> None:
    """Marks become entities, in UTF-16 units; backslashes go."""
    text, entities = parse_markdown_v2(source)
    assert text == visible
    assert spans(entities) == expected


@pytest.mark.parametrize(
    ("source", "fault"),
    [
        ("é*a", "Can't find end of Bold entity at byte offset 2"),
        ("*a _b*", "Can't find end of Bold entity at byte offset 5"),
        ("_a__", "Can't find end of Underline entity at byte offset 2"),
        ("`a", "Can't find end of Code entity at byte offset 0"),
        ("```py\na", "Can't find end of PreCode entity at byte offset 0"),
        ("[a", "Can't find end of TextUrl entity at byte offset 0"),
        ("[a](b", "Can't find end of a URL at byte offset 4"),
        ("![a]", "The entity must contain a tg://emoji or tg://time URL"),
        ("![a](b)", "Invalid tg://emoji or tg://time URL specified"),
        (">*a\nb*", "Can't find end of Bold entity at byte offset 1"),
        ("a > b", "Character '>' is reserved"),
    ],
)
def test_markdown_that_is_wrong_is_refused(source: str, fault: str) -> None:
    """The words are Telegram's, the offset counts bytes."""
    with pytest.raises(MarkupError, match=re.escape(fault)):
        parse_markdown_v2(source)


@pytest.mark.parametrize("character", "])(>#+-=|{}.!")
def test_markdown_reserves_characters(character: str) -> None:
    """Each has to be escaped, and may then be anywhere."""
    if character not in "(>":
        with pytest.raises(MarkupError, match="is reserved"):
            parse_markdown_v2(character)
    assert parse_markdown_v2(f"a\\{character}") == (f"a{character}", [])


@given(st.text())
def test_escaped_text_comes_out_as_it_went_in(text: str) -> None:
    """What an author escapes is what the user sees, in both formats."""
    assert parse_html(html.escape(text, quote=False)) == (text, [])
    escaped = re.sub(r"([_*\[\]()~`>#+\-=|{}.!\\])", r"\\\1", text)
    assert parse_markdown_v2(escaped) == (text, [])


@pytest.mark.parametrize(
    ("source", "visible", "expected"),
    [
        ("plain. (dots) are fine!", "plain. (dots) are fine!", []),
        (r"a\_b \* \`c\[ \x", r"a_b * `c[ \x", []),
        (
            "😀*a* _b_ `c`",
            "😀a b c",
            [("bold", 2, 1), ("italic", 4, 1), ("code", 6, 1)],
        ),
        ("*a_b*", "a_b", [("bold", 0, 3)]),
        (r"*a\_b*", r"a\_b", [("bold", 0, 4)]),
        ("**", "", []),
        ("[a](https://a.example/)", "a", [("text_link", 0, 1)]),
        ("[a.example]", "a.example", [("text_link", 0, 9)]),
        ("[a] (b)", "a (b)", []),
        ("```\ncode```", "code", [("pre", 0, 4)]),
        ("```python\ncode```", "code", [("pre", 0, 4)]),
        ("```python```", "python", [("pre", 0, 6)]),
    ],
)
def test_legacy_markdown_shows_its_text(
    source: str, visible: str, expected: Spans
) -> None:
    """Marks do not nest, and nothing is escaped inside of one."""
    text, entities = parse_markdown(source)
    assert text == visible
    assert spans(entities) == expected


@pytest.mark.parametrize(
    ("source", "offset"), [("a_b", 1), ("é *a", 3), ("[a", 0), ("```a`", 0)]
)
def test_legacy_markdown_that_is_wrong_is_refused(source: str, offset: int) -> None:
    fault = f"Can't find end of the entity starting at byte offset {offset}"
    with pytest.raises(MarkupError, match=re.escape(fault)):
        parse_markdown(source)
