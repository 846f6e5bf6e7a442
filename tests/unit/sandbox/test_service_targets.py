"""Where services are: samples, and the developer's own."""

import pytest

from gateway.domain.errors import ConfigurationError
from gateway.sandbox.launcher.service_targets import (
    SAMPLES,
    call_settings,
    read_targets,
    resolve_targets,
)

SERVICES = (*sorted(SAMPLES), "BILLING")


def test_ones_own_service_replaces_one_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rest stay; the environment counts only where there is no sample."""
    monkeypatch.setenv("BILLING_TARGET", "billing:1")
    monkeypatch.setenv("PROFILE_TARGET", "never:1")
    targets = read_targets(["conversation=localhost:7", "MATCHING=[::1]:8"], SERVICES)
    assert resolve_targets(SERVICES, 5, targets) == {
        "BILLING": "billing:1",
        "CONVERSATION": "localhost:7",
        "MATCHING": "[::1]:8",
        "NOTIFICATION": "127.0.0.1:5",
        "PROFILE": "127.0.0.1:5",
    }


def test_what_is_said_wins_over_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("BILLING_TARGET", "billing:1")
    targets = read_targets(["billing=localhost:7"], SERVICES)
    assert resolve_targets(SERVICES, 5, targets)["BILLING"] == "localhost:7"


def test_the_environment_says_how_services_are_called(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Samples too, so that answers that stream can be seen; of no other settings."""
    monkeypatch.setenv("CONVERSATION_STREAMING", "true")
    monkeypatch.setenv("BILLING_TIMEOUT", "7")
    monkeypatch.setenv("DRAIN_TIMEOUT", "1")
    monkeypatch.setenv("PROFILE_TARGET", "never:1")
    settings = call_settings(SERVICES)
    assert settings == {"CONVERSATION_STREAMING": "true", "BILLING_TIMEOUT": "7"}


def test_all_mistakes_are_reported_at_once() -> None:
    given = ["chat=localhost:1", "profile=localhost", "profile", "matching=:1"]
    with pytest.raises(ConfigurationError) as caught:
        read_targets(given, SERVICES)
    assert caught.value.problems == (
        (
            "--service chat=localhost:1: the services are billing, conversation, "
            "matching, notification, profile"
        ),
        "--service profile=localhost: should be profile=host:port",
        "--service profile: should be profile=host:port",
        "--service matching=:1: should be matching=host:port",
    )
