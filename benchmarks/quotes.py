"""Writes the measured figures into the pages that quote them.

    python -m benchmarks.quotes

A page has a comment `<!-- measured: NAME -->` before a quotation and `<!-- end -->`
after it. What is between them comes from the files in `results/`.
"""

import re
from collections.abc import Mapping
from textwrap import fill

import msgspec

from benchmarks.children import ROOT
from benchmarks.figures import Results
from benchmarks.message_path import SAVED, Counts
from benchmarks.report import (
    against_one_worker,
    against_redis,
    against_strictest,
    format_table,
    headline,
)

FIGURES = ROOT / "benchmarks" / "results" / "comparison.json"
PAGES = (
    ROOT / "README.md",
    ROOT / "benchmarks" / "README.md",
    ROOT / "docs" / "explanation" / "performance.md",
)
README_LOAD = "300/s"
_QUOTATION = re.compile(r"(<!-- measured: ([\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def read_quotations() -> dict[str, str]:
    """Read the last figures, as the texts that pages quote."""
    results = msgspec.json.decode(FIGURES.read_bytes(), type=Results)
    return {
        "one-load": headline(results, [README_LOAD], workers=1),
        "all-loads": headline(results, list(results.loads), workers=1),
        "strictest-memory": against_strictest(results, "memory"),
        "strictest-redis": against_strictest(results, "redis"),
        "frameworks-to-redis": against_redis(results),
        "workers": against_one_worker(results),
        "machine": _describe_machine(results),
        "message-path": _describe_message_path(),
    }


def quote(page: str, quotations: Mapping[str, str]) -> str:
    """Replace the quotations of a page.

    Raises:
        KeyError: the page quotes something that does not exist.
    """

    def replace(found: re.Match[str]) -> str:
        text = quotations[found[2]]
        return f"{found[1]}\n{text}\n\n{found[3]}" if text else found[1] + found[3]

    return _QUOTATION.sub(replace, page)


def _describe_message_path() -> str:
    counts = msgspec.json.decode(SAVED.read_bytes(), type=dict[str, Counts])
    rows = [
        [store.replace("redis", "Redis"), *map(str, msgspec.structs.astuple(it))]
        for store, it in counts.items()
    ]
    return format_table(["mailboxes in", *Counts.__struct_fields__], rows)


def _describe_machine(results: Results) -> str:
    told = results.machine
    versions = ", ".join(dict.fromkeys(_list_versions(told)))
    system = told["system"].partition("-")[0]
    lines = [
        f"- Rounds: {results.rounds}; medians, in brackets the least and the most",
        f"- Machine: {told['machine']}; {system}",
        f"- Versions: {versions}",
    ]
    return "\n".join(
        fill(line, 99, subsequent_indent="  ", break_on_hyphens=False) for line in lines
    )


def _list_versions(told: dict[str, str]) -> list[str]:
    """List the versions that matter: of what runs, and of what is compared."""
    listed = [
        f"{name} {told[name]}" for name in ("Python", "Redis", "Node") if name in told
    ]
    for name in ("floor", "aiogram", "ptb", "plain", "grammy"):
        listed += told[name].split(", ")
    return listed


def main() -> None:
    """Write the measured figures into the pages."""
    quotations = read_quotations()
    for page in PAGES:
        page.write_text(quote(page.read_text(), quotations))


if __name__ == "__main__":
    main()
