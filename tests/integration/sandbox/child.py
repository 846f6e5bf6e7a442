"""A process for the tests of children: says that it runs, and ends as it is told to.

python -m tests.integration.sandbox.child polite|stubborn|dying FILE
"""

import os
import signal
import sys
from pathlib import Path


def main() -> None:
    """Write the process group into the file, and wait for a signal."""
    manner, file = sys.argv[1:]
    if manner == "dying":
        sys.exit(3)
    if manner == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    else:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    Path(file).write_text(str(os.getpgrp()))
    while True:
        signal.pause()


if __name__ == "__main__":
    main()
