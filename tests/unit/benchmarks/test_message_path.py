"""What the benchmark of the message's path counts."""

import pytest

from benchmarks.message_path import Counts, Function, summarize

HANDLE = Function("gateway.webhook", "Webhook.handle", 10)
SEND = Function("gateway.client", "Client.send", 20)
SCAN = Function("gateway.scanner", "scan", 30)


@pytest.mark.parametrize(
    ("name", "owner"),
    [
        ("Webhook.handle", "gateway.webhook.Webhook"),
        ("Webhook.handle.<locals>.<lambda>", "gateway.webhook.Webhook"),
        ("serve.<locals>.Handler.handle", "gateway.webhook.Handler"),
        ("serve.<locals>.handle", ""),
        ("serve", ""),
    ],
)
def test_a_function_in_a_method_belongs_to_its_class(name: str, owner: str) -> None:
    """The owner is the innermost class around the function."""
    assert Function("gateway.webhook", name, 1).owner == owner


def test_a_function_of_few_recordings_does_not_count() -> None:
    """A timer that ends during one recording is no part of the path."""
    recordings = [
        {HANDLE: 1, SEND: 3},
        {HANDLE: 1, SEND: 3},
        {HANDLE: 1, SCAN: 1, SEND: 3},
        {HANDLE: 2, SEND: 4},
    ]
    path = summarize(recordings)
    assert path.functions == [HANDLE, SEND]
    assert path.counts == Counts(functions=2, calls=4, classes=2, modules=2)
