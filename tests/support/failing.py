"""Functions that fail once, and what is told of it."""

from collections.abc import Callable
from typing import Any

import pytest

FAILED = "background_task_failed"


class Once:
    """Raises in the place of a function the first time that it is called."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self.calls = 0

    def __call__(self, *arguments: Any, **options: Any) -> Any:  # noqa: ANN401 - as the function
        """Raise, or call the function."""
        self.calls += 1
        if self.calls == 1:
            raise KeyError("hush")
        return self._function(*arguments, **options)

    def __get__(self, instance: object, owner: type) -> Callable[..., Any]:
        """Be a method where the function was one."""
        return lambda *arguments: self(instance, *arguments)


def break_once(monkeypatch: pytest.MonkeyPatch, owner: object, name: str) -> Once:
    """Let a function fail once."""
    once = Once(getattr(owner, name))
    monkeypatch.setattr(owner, name, once)
    return once


def failed(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return the names of the tasks that failed, as the log tells them."""
    return [vars(it)["task"] for it in caplog.records if it.message == FAILED]
