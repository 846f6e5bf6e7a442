"""Finds the gateway's own protos that the contracts of other repositories import.

They are installed beside the generated Python modules. In a clone of the repository
they are in its folder `proto`.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import botgateway

_PACKAGES = ("chat/v1", "delivery/v1", "route/v1")
"""The packages for other repositories; the others are services of their own."""


def read_protos() -> Mapping[str, bytes]:
    """Return the content of each proto, by the path with which contracts import it."""
    return {
        f"{botgateway.__name__}/{package}/{path.name}": path.read_bytes()
        for root in _find_roots()
        for package in _PACKAGES
        for path in sorted((root / package).glob("*.proto"))
    }


def _find_roots() -> Iterator[Path]:
    for root in map(Path, botgateway.__path__):
        yield root
        yield root.parents[1] / "proto" / botgateway.__name__
