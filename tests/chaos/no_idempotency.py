"""The gateway without the comparison of idempotency keys: the checker must catch it.

    python -m tests.chaos.no_idempotency serve

The product has no switch for this: its script is rewritten while it reads it.
"""

from pathlib import Path

from gateway.cli import main

_COMPARISON = b"if record then\n"

_read = Path.read_bytes


def _read_without(path: Path) -> bytes:
    source = _read(path)
    if path.name != "put_delivery.lua":
        return source
    assert source.count(_COMPARISON) == 1, "the script was changed: change this too"
    return source.replace(_COMPARISON, b"if false then\n")


if __name__ == "__main__":
    Path.read_bytes = _read_without  # type: ignore[method-assign, assignment]  # that is the point
    main.main()
