"""The simulator reads markup as TDLib does, on which the Bot API server is built."""

from collections import Counter

import pytest

from gateway.sandbox.simulator.validation.markup import MarkupError
from gateway.sandbox.simulator.validation.markup_html import parse_html
from tests.tdlib.comparison import AGREED, PARSERS, compare_markup
from tests.tdlib.texts import TextMaker


@pytest.mark.parametrize("mode", PARSERS)
@pytest.mark.parametrize("seed", [11, 12])
def test_texts_are_read_as_tdlib_reads_them(mode: str, seed: int) -> None:
    """Text, entities and refusals; half of the texts are not well-formed."""
    maker = TextMaker(mode, seed)
    results: Counter[str] = Counter()
    for _ in range(1500):
        text = maker.make()
        result = compare_markup(text, mode)
        assert result in AGREED, f"{result}: {text!r}"
        results[result] += 1
    assert min(results["both take it"], results["both refuse it"]) > 300


def test_halves_of_a_surrogate_pair_are_refused() -> None:
    """TDLib itself is not asked: it ends its process over one in an attribute."""
    with pytest.raises(MarkupError, match="unmatched surrogate code units"):
        parse_html("&#xD83D;&#xDE00;")
