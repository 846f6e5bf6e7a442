"""Starts a program that ends when this process ends.

A function that Python runs in the child before the program (`preexec_fn`) would be
simpler. But it needs a copy of this process, and where gRPC's threads run, one in ten
copies crashes before it becomes the program.
"""

import asyncio
import contextlib
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct

from gateway.sandbox.launcher import become_program


class Program(Struct, frozen=True, kw_only=True):
    """A program to run as a subprocess, with its arguments and environment.

    Attributes:
        name: the name of the subprocess in messages.
        arguments: the path or name of the program, and its arguments.
        environment: the complete environment of the program.
        directory: the working directory; None for that of this process.
        has_children: True if signals go to the program and to all processes that it has
            started; False if they go only to the program.
    """

    name: str
    arguments: tuple[str, ...]
    environment: Mapping[str, str]
    directory: Path | None = None
    has_children: bool = False


async def start_program(program: Program, output: int | None) -> Process:
    """Start a program in a process group of its own, and wait until it runs.

    Args:
        program: the program.
        output: the file descriptor for its output; None for the output of this process.

    Raises:
        OSError: the program cannot be run.
    """
    reading, writing = os.pipe()
    try:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", become_program.__file__),
            *(str(os.getpid()), str(writing), *program.arguments),
            stdin=DEVNULL,
            stdout=output,
            env=program.environment,
            cwd=program.directory,
            process_group=0,
            pass_fds=(writing,),
        )
    except BaseException:
        os.close(reading)
        raise
    finally:
        os.close(writing)
    try:
        number = await asyncio.to_thread(_read_all, reading)
    except BaseException:
        # It may run already, and have started others.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        raise
    if number:
        await process.wait()
        raise OSError(int(number), os.strerror(int(number)))
    return process


def _read_all(descriptor: int) -> bytes:
    with os.fdopen(descriptor, "rb") as file:
        return file.read()
