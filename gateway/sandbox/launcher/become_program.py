"""Turns into another program, which ends with the process that started it.

python -I -S become_program.py PARENT ERRORS PROGRAM [ARGUMENT…]

PARENT is the id of the starting process. ERRORS is a file descriptor: if the program
cannot be run, the number of the error is written to it; when the program runs, it is
closed.

The process runs only the standard library, because it exists for a few milliseconds.
"""

import ctypes
import os
import signal
import sys

_SET_PARENT_DEATH_SIGNAL = 1  # linux/prctl.h


def main() -> None:
    """Replace this process by the program, or write the error's number to ERRORS.

    Return without either if the parent has already ended.
    """
    parent, errors, *program = sys.argv[1:]
    os.set_inheritable(int(errors), False)
    # Other systems have nothing like it: there a killed sandbox leaves its processes.
    if prctl := getattr(ctypes.CDLL(None), "prctl", None):
        prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGTERM)
    if os.getppid() != int(parent):
        return
    for number in (signal.SIGPIPE, signal.SIGXFSZ):  # which Python ignores
        signal.signal(number, signal.SIG_DFL)
    try:
        os.execvp(program[0], program)  # noqa: S606 - a developer's own words
    except OSError as error:
        os.write(int(errors), str(error.errno).encode())


if __name__ == "__main__":
    main()
