"""The pages quote the figures that were measured."""

from pathlib import Path

import pytest

from benchmarks.children import ROOT
from benchmarks.quotes import PAGES, quote, read_quotations


@pytest.mark.parametrize("page", PAGES, ids=lambda it: str(it.relative_to(ROOT)))
def test_a_page_quotes_what_was_measured(page: Path) -> None:
    """If this fails, `python -m benchmarks.quotes` writes the figures again."""
    text = page.read_text()
    assert "<!-- measured: " in text
    assert quote(text, read_quotations()) == text


def test_a_figure_written_by_hand_does_not_stay() -> None:
    """What is between the comments comes from the results alone."""
    page = "Before.\n<!-- measured: one-load -->\n0.01\n<!-- end -->\nAfter.\n"
    quoted = quote(page, read_quotations())
    assert "0.01" not in quoted
    assert "| floor" in quoted
    assert quoted.startswith("Before.\n")
    assert quoted.endswith("<!-- end -->\nAfter.\n")
