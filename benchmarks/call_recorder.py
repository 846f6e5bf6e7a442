"""Runs a gateway and records which of its functions are called.

    python call_recorder.py FILE serve ...

This program knows no module of the gateway, so it can run any version that PYTHONPATH
names. SIGUSR1 starts a recording, and SIGUSR2 ends it and writes it to the file: a list
of the module, qualified name, first line and number of calls of each function, in the
order of the first calls. A coroutine counts as called each time it is resumed.
"""

import json
import os
import runpy
import signal
import sys
from pathlib import Path
from types import CodeType, FrameType

PACKAGE = "gateway"


class CallRecorder:
    """Counts the calls of the package's functions in the main thread."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._calls: dict[tuple[str, CodeType], int] = {}

    def start(self, *_: object) -> None:
        """Start a new recording, and write an empty file to confirm it."""
        self._calls.clear()
        self._file.touch()
        sys.setprofile(self._count)

    def stop(self, *_: object) -> None:
        """End the recording and replace the file by it."""
        sys.setprofile(None)
        rows = [
            (module, code.co_qualname, code.co_firstlineno, count)
            for (module, code), count in self._calls.items()
        ]
        part = self._file.with_suffix(".part")
        part.write_text(json.dumps(rows))
        part.replace(self._file)

    def _count(self, frame: FrameType, event: str, _: object) -> None:
        if event != "call":
            return
        module = frame.f_globals.get("__name__") or ""
        if module.partition(".")[0] == PACKAGE:
            key = (module, frame.f_code)
            self._calls[key] = self._calls.get(key, 0) + 1


def main() -> None:
    """Run the gateway with the remaining arguments."""
    recorder = CallRecorder(Path(sys.argv[1]))
    signal.signal(signal.SIGUSR1, recorder.start)
    signal.signal(signal.SIGUSR2, recorder.stop)
    sys.argv = [PACKAGE, *sys.argv[2:]]
    runpy.run_module(PACKAGE, run_name="__main__", alter_sys=True)
    # The interpreter would wait for threads that calls have left.
    os._exit(0)


if __name__ == "__main__":
    main()
