"""Compares many texts and links with TDLib: `python -m tests.tdlib 60000`."""

import random
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial

from tests.tdlib.comparison import (
    AGREED,
    FORMATS,
    PARSERS,
    compare_links,
    compare_markup,
    compare_parts,
    make_link,
)
from tests.tdlib.texts import TextMaker


def main(number: int, seed: int) -> int:
    """Compare so many of each; returns how many disagree."""
    disagreed = 0
    for title, results in _comparisons(number, seed):
        counted: Counter[str] = Counter()
        for text, result in results:
            counted[result] += 1
            if result not in AGREED:
                disagreed += 1
                _tell(f"  {result}: {text!r:.300}")
        listed = ", ".join(f"{result} {n:,}" for result, n in counted.most_common())
        _tell(f"{title}: {counted.total():,} compared: {listed}")
    return disagreed


def _tell(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _comparisons(
    number: int, seed: int
) -> Iterator[tuple[str, Iterator[tuple[str, str]]]]:
    for mode in PARSERS:
        made = TextMaker(mode, seed)
        texts = (made.make() for _ in range(number))
        yield (
            f"markup, {mode}",
            _results(texts, partial(compare_markup, mode=mode)),
        )
    chance = random.Random(seed)
    links = (make_link(chance) for _ in range(number))
    yield "links", _results(links, compare_links)
    for mode in FORMATS:
        made = TextMaker(mode, seed)
        trees = (made.make_tree(most=40) for _ in range(number // 10))
        yield (
            f"parts of 400 units, {mode}",
            _results(trees, partial(compare_parts, mode=mode, limit=400)),
        )


def _results(
    texts: Iterator[str], compare: Callable[[str], str]
) -> Iterator[tuple[str, str]]:
    return ((text, compare(text)) for text in texts)


if __name__ == "__main__":
    given = [int(argument) for argument in sys.argv[1:]]
    sys.exit(main(*[*given, 60_000][:1], *[*given[1:], 1][:1]) > 0)
