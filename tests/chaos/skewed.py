"""The gateway on a machine whose clock is CLOCK_SKEW seconds ahead.

python -m tests.chaos.skewed serve
"""

import os
import time

_SKEW = float(os.environ["CLOCK_SKEW"])
_true_time = time.time


def _wrong_time() -> float:
    return _true_time() + _SKEW


if __name__ == "__main__":
    time.time = _wrong_time
    from gateway.cli import main

    main.main()
