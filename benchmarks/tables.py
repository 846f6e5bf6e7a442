"""What benchmarks print: figures in columns, and what they were measured with."""

import os
import platform
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from math import ceil


def percentile(values: Iterable[float], percent: float) -> float:
    """Give the smallest value that so many percent of the values do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, ceil(len(ordered) * percent / 100) - 1)]


def print_table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table with all columns set to the right."""
    lines = [heads, *([_cell(value) for value in row] for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(heads))]
    for line in lines:
        cells = zip(line, widths, strict=True)
        print("  ".join(cell.rjust(width) for cell, width in cells), flush=True)


def print_machine() -> None:
    """Print what the figures hold for."""
    packages = ["telegram-gateway", "aiohttp", "grpcio", "protobuf", "msgspec", "redis"]
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    print(f"{os.cpu_count()} cores, {platform.system()} {platform.release()}")
    print(f"Python {platform.python_version()}, {versions}\n", flush=True)


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.1f}"
    return f"{value:,}" if isinstance(value, int) else str(value)
