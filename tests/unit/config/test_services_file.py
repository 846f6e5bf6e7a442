"""The settings of services in a file, beside the environment."""

import os
from pathlib import Path

import pytest

from gateway.config.services import ServiceSettings
from gateway.config.settings import load_service_targets, load_settings_with_services
from gateway.config.unknown_settings import find_misspelled_settings
from gateway.domain.errors import ConfigurationError

NAMES = ("BILLING", "ORDER_HISTORY")


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Start with an environment that has only what a gateway needs."""
    for name in list(os.environ):
        monkeypatch.delenv(name)
    monkeypatch.setenv("ENV_FILE", "")
    monkeypatch.setenv("TELEGRAM_BOT_TOKEN", "123456:a-token-of-tests")
    monkeypatch.setenv("TELEGRAM_WEBHOOK_SECRET", "a-secret-of-the-tests")
    return monkeypatch


@pytest.fixture
def file(environment: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Name a file that a test writes."""
    path = tmp_path / "services.yaml"
    environment.setenv("SERVICES_FILE", str(path))
    return path


def load() -> dict[str, ServiceSettings]:
    """Load the settings of the services."""
    return load_settings_with_services(NAMES)[1]


def load_problems() -> list[str]:
    """Return what is wrong."""
    with pytest.raises(ConfigurationError) as caught:
        load()
    return list(caught.value.problems)


def test_a_file_has_what_the_environment_does_not_have(
    environment: pytest.MonkeyPatch, file: Path
) -> None:
    file.write_text(
        "billing: {target: 'file:1', timeout: 7, max_concurrent_calls: 3, tls: true}\n"
        "order-history: {target: 'file:2', streaming: true}\n"
    )
    environment.setenv("BILLING_TARGET", "env:1")
    services = load()
    billing, orders = (services[name] for name in NAMES)
    assert (billing.target, billing.timeout) == ("env:1", 7)
    assert (billing.max_concurrent_calls, billing.tls) == (3, True)
    assert (orders.target, orders.streaming, orders.tls) == ("file:2", True, None)
    assert load_service_targets(NAMES) == {
        "BILLING": "env:1",
        "ORDER_HISTORY": "file:2",
    }


def test_a_pattern_is_the_target_of_services_without_one(
    environment: pytest.MonkeyPatch, file: Path
) -> None:
    """Hosts have hyphens where settings have underscores."""
    file.write_text("billing: {target: 'file:1'}\n")
    environment.setenv("SERVICES_TARGET", "dns:///{name}.bots.svc:50051")
    targets = {name: service.target for name, service in load().items()}
    assert targets == {
        "BILLING": "file:1",
        "ORDER_HISTORY": "dns:///order-history.bots.svc:50051",
    }


@pytest.mark.parametrize("pattern", ["billing:50051", "{name}", "http://{name}:1"])
def test_a_pattern_has_a_name_and_makes_targets(
    environment: pytest.MonkeyPatch, pattern: str
) -> None:
    environment.setenv("SERVICES_TARGET", pattern)
    assert load_problems()[0].startswith("SERVICES_TARGET: ")


def test_all_problems_come_at_once(environment: pytest.MonkeyPatch, file: Path) -> None:
    """Those of the file, of its values, and of other settings."""
    file.write_text(
        "billing: {target: 'http://x', timout: 1, tls_key_file: key}\n"
        "order_history: 7\n"
    )
    environment.setenv("PORT", "no")
    problems = [
        line.removeprefix(f"SERVICES_FILE {file}: ") for line in load_problems()
    ]
    assert [line.partition(": ")[0] for line in problems] == [
        "PORT",
        "billing.timout",
        "order_history",
        "BILLING_TARGET",
        "ORDER_HISTORY_TARGET",
    ]
    assert "did you mean timeout?" in problems[1]


def test_values_of_the_file_are_checked_like_settings(file: Path) -> None:
    file.write_text(
        "billing: {target: 'http://x', timeout: 0, tls_key_file: key}\n"
        "order_history: {target: 'x:1', tls_ca_file: ca.pem}\n"
    )
    assert [line.partition(": ")[0] for line in load_problems()] == [
        "BILLING_TARGET",
        "BILLING_TIMEOUT",
        "BILLING_TLS_KEY_FILE",
        "ORDER_HISTORY_TLS_CA_FILE",
    ]


@pytest.mark.parametrize(
    "content", [b"billing: {target: hush", b"- hush\n", b"\xffhush", b"a: 1\na: 2\n"]
)
def test_a_file_that_cannot_be_read_is_one_problem_without_its_content(
    file: Path, content: bytes
) -> None:
    file.write_bytes(content)
    problems = load_problems()
    assert any(line.startswith(f"SERVICES_FILE {file}: ") for line in problems)
    assert "hush" not in repr(problems)


def test_a_missing_file_is_a_problem_and_an_empty_one_is_none(file: Path) -> None:
    assert load_problems()[0].startswith(f"SERVICES_FILE {file}: ")
    file.write_text("")
    assert load_problems() == [f"{name}_TARGET: is not set" for name in NAMES]


def test_a_service_that_no_route_calls_is_suspicious(file: Path) -> None:
    """It may be served later, so it is no problem."""
    file.write_text("biling: {target: 'x:1'}\nbilling: {target: 'x:1'}\n")
    assert find_misspelled_settings(NAMES) == [
        "SERVICES_FILE: no route calls the service biling; did you mean billing?"
    ]
