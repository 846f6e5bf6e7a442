"""What a worker is told by the process above it."""

from pathlib import Path

import pytest

from gateway.config.settings import load_settings_with_services
from gateway.workers.launcher import build_worker_environment

SETTINGS = {
    "TELEGRAM_BOT_TOKEN": "7400000001:hush",
    "TELEGRAM_WEBHOOK_SECRET": "hush-hush-hush-hush",
    "REDIS_URL": "redis://:hush@cache/2",
    "port": "8001",
    "DRAIN_TIMEOUT": "1.5",
    "SERVICES_TLS": "yes",
    "SERVICES_TLS_CA_FILE": "/etc/ca.pem",
    "WEBHOOK_URL": "https://bot.example.com/webhook/telegram",
    "ENV_FILE": "",
    "PROFILE_TARGET": "profile:1",
    "PROFILE_TIMEOUT": "0.5",
    "CONVERSATION_TARGET": "conversation:1",
    "UNRELATED": "kept",
}


def test_a_worker_finds_the_very_same_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of the command line and of a file that has changed since, too."""
    for name, value in SETTINGS.items():
        monkeypatch.setenv(name, value)
    names = ("PROFILE", "CONVERSATION")
    settings, services = load_settings_with_services(names, {"workers": 3})
    environment = build_worker_environment(settings, services)
    assert environment["UNRELATED"] == "kept"
    assert "port" not in environment
    for name in SETTINGS:
        monkeypatch.delenv(name)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    again, services_again = load_settings_with_services(names)
    assert again == settings
    assert again.workers == 3
    assert services_again == services


def test_a_worker_reads_no_secret_that_was_added_since(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The other workers do not have it, and would take its updates for forged."""
    for name, value in SETTINGS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("SECRETS_DIR", str(tmp_path))
    settings, services = load_settings_with_services(())
    for name, value in build_worker_environment(settings, services).items():
        monkeypatch.setenv(name, value)
    (tmp_path / "store_secret").write_text("hush-hush-hush-hush")
    again, _ = load_settings_with_services(())
    assert again == settings
