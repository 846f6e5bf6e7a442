"""Settings that are probably misspelled."""

import os
from pathlib import Path

import pytest

from gateway.config.unknown_settings import find_misspelled_settings


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Start with an empty environment."""
    for name in list(os.environ):
        monkeypatch.delenv(name)
    monkeypatch.setenv("ENV_FILE", "")
    return monkeypatch


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("BILING_TARGET", "BILLING_TARGET"),
        ("BILLING_TIMOUT", "BILLING_TIMEOUT"),
        ("CONTRACT", "CONTRACTS"),
        ("rate_limit_request", "RATE_LIMIT_REQUESTS"),
        ("TELEGRAM_TOKEN", "TELEGRAM_BOT_TOKEN"),
    ],
)
def test_a_name_like_that_of_a_setting_is_reported(
    environment: pytest.MonkeyPatch, name: str, meant: str
) -> None:
    environment.setenv(name, "hush")
    line = f"{name}: is no setting; did you mean {meant}?"
    assert find_misspelled_settings(["BILLING"]) == [line]


def test_other_names_are_not_reported(environment: pytest.MonkeyPatch) -> None:
    """Those of other programs, of settings, and beside a setting that is set."""
    for name in ("PATH", "HOSTNAME", "PORTS", "BILLING_TARGET", "BILLING_PORT", "port"):
        environment.setenv(name, "x")
    environment.setenv("BILLINGS_TARGET", "of another service")
    assert find_misspelled_settings(["BILLING"]) == []


def test_the_file_with_settings_is_searched_too(
    environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "settings"
    path.write_text("# LOG_LEVELS=1\n export LOG_LEVLE=INFO\nWORKERSS =2\n")
    environment.setenv("ENV_FILE", str(path))
    assert find_misspelled_settings(()) == [
        "LOG_LEVLE: is no setting; did you mean LOG_LEVEL?",
        "WORKERSS: is no setting; did you mean WORKERS?",
    ]
