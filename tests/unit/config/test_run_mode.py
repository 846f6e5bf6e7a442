"""Which part a process has in a gateway."""

from pathlib import Path

from gateway.config.run_mode import SingleProcess, Supervisor, Worker, choose_run_mode

PROGRAM = ("gateway.program",)


def test_one_process_is_alone() -> None:
    assert choose_run_mode(1, None) == SingleProcess()


def test_several_processes_have_a_supervisor_that_starts_them() -> None:
    assert choose_run_mode(3, None, PROGRAM) == Supervisor(3, PROGRAM)


def test_a_process_with_a_socket_is_a_worker_however_many_there_are() -> None:
    socket = Path("/run/gateway/0")
    assert choose_run_mode(1, socket) == Worker(socket)
    assert choose_run_mode(3, socket) == Worker(socket)
