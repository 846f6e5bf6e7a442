"""The plain text of rich messages."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.telegram.inbound.rich_text import MAX_RICH_MESSAGE_LENGTH, extract_text
from tests.unit.telegram.parsing import content, read_message

BOLD = {"type": "bold", "text": ["very ", {"type": "italic", "text": "big"}]}
BUTTON = {"type": "button", "button": {"text": "Buy", "url": "https://a.example"}}
BLOCKS = [
    {"type": "heading", "size": 1, "text": "Marmots"},
    {"type": "paragraph", "text": ["They are ", BOLD, ". ", BUTTON]},
    {"type": "divider"},
    {
        "type": "list",
        "items": [
            {"label": "1.", "blocks": [{"type": "paragraph", "text": "eat"}]},
            {"label": "2.", "blocks": []},
        ],
    },
    {
        "type": "table",
        "cells": [[{"text": "age"}, {"text": "kg"}], [{"text": "3"}, {}]],
        "caption": {"type": "bold", "text": "Weights"},
    },
    {
        "type": "details",
        "summary": "More",
        "blocks": [{"type": "pre", "text": "x = 1"}],
    },
    {
        "type": "photo",
        "photo": [],
        "caption": {"text": "A marmot", "credit": "Anna"},
    },
    {
        "type": "paragraph",
        "text": [
            {"type": "custom_emoji", "custom_emoji_id": "5", "alternative_text": "🦫"},
            {"type": "mathematical_expression", "expression": "e=mc^2"},
        ],
    },
]
TEXT = """Marmots
They are very big. Buy
1. eat
2.
age\tkg
3\t
Weights
More
x = 1
A marmot
Anna
🦫e=mc^2"""


def test_every_kind_of_block_shows_its_text_in_order() -> None:
    """A line for each paragraph, row and item; pictures show their captions."""
    assert extract_text(BLOCKS) == TEXT


def test_a_rich_message_reaches_the_contract() -> None:
    """It is an attachment of its own, and no text."""
    message = content(read_message(rich_message={"blocks": BLOCKS}))
    assert message.WhichOneof("attachment") == "rich_message"
    assert (message.rich_message.text, message.text) == (TEXT, "")


def test_a_text_that_is_too_long_is_cut() -> None:
    """A request stays small, whatever somebody sends."""
    block = {"type": "paragraph", "text": "x" * 20_000}
    assert len(extract_text([block] * 5)) <= MAX_RICH_MESSAGE_LENGTH


def test_blocks_may_be_nested_as_deep_as_they_like() -> None:
    block: dict[str, object] = {"type": "paragraph", "text": "deep"}
    for _ in range(500):
        block = {"type": "blockquote", "blocks": [block]}
    assert extract_text([{"type": "paragraph", "text": "top"}, block]) == "top"


NAMES = st.sampled_from(
    [
        "type",
        "text",
        "blocks",
        "items",
        "cells",
        "caption",
        "label",
        "button",
        "summary",
    ]
)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4)
    ),
    max_leaves=30,
)


@given(ANYTHING)
def test_blocks_may_look_like_anything(blocks: object) -> None:
    """A message never gets lost over them."""
    assert len(extract_text(blocks)) <= MAX_RICH_MESSAGE_LENGTH
