"""BOTS_FILE: read whole, with all problems at once and none of its secrets."""

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config.bots import BotConfig, load_bots, load_bots_file
from gateway.config.settings import Settings, load_settings
from gateway.domain.errors import ConfigurationError
from tests.support.bot_api import make_token
from tests.support.bots import STORE_SECRET, BotsDirectory, make_secret


@pytest.fixture
def directory(tmp_path: Path) -> BotsDirectory:
    """Return a directory for the files."""
    return BotsDirectory(tmp_path)


def settings_for(path: Path) -> Settings:
    """Return settings with a BOTS_FILE."""
    return Settings(_env_file=None, bots_file=path, store_secret=STORE_SECRET)


def read(directory: BotsDirectory) -> dict[str, BotConfig]:
    """Read the bots."""
    return dict(load_bots_file(settings_for(directory.path)).bots)


def find_problems(directory: BotsDirectory) -> list[str]:
    """Return the problems of the file, none of which has a token or a secret."""
    services, routes = {"PROFILE"}, {"/start"}
    with pytest.raises(ConfigurationError) as caught:
        load_bots_file(settings_for(directory.path), services, routes)
    problems = list(caught.value.problems)
    assert "canary" not in str(problems)
    assert "AAkey" not in str(problems)
    return problems


def test_a_bot_has_what_its_entry_refers_to(
    directory: BotsDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory.add("shop", 1)
    directory.add("news", 2, updates="poll", rate_limit_requests=9, paused=True)
    monkeypatch.setenv("HELP_TOKEN", make_token(3))
    monkeypatch.setenv("HELP_SECRET", "another-secret-of-a-bot")
    directory.entries["help"] = {
        "token_env": "HELP_TOKEN",
        "webhook_secret_env": "HELP_SECRET",
        "services": ["PROFILE"],
    }
    directory.write()
    bots = read(directory)
    assert list(bots) == ["shop", "news", "help"]
    assert (bots["shop"].id, bots["shop"].token) == (1, make_token(1))
    assert bots["shop"].webhook_secrets == (make_secret("shop"),)
    assert bots["shop"].rate_limit_requests == 1  # the setting's
    assert bots["news"].webhook_secrets == ()
    assert (bots["news"].rate_limit_requests, bots["news"].is_paused) == (9, True)
    assert bots["help"].webhook_secrets == ("another-secret-of-a-bot",)
    assert bots["help"].services == ("PROFILE",)


def test_the_previous_secret_is_in_a_file_beside_the_current_one(
    directory: BotsDirectory,
) -> None:
    directory.add("shop", 1)
    directory.write_previous_secret("shop", "the-secret-before-this-one")
    secrets = read(directory)["shop"].webhook_secrets
    assert secrets == (make_secret("shop"), "the-secret-before-this-one")


def test_signatures_outlive_the_token(directory: BotsDirectory) -> None:
    """Buttons stay valid for ever, whatever happens to the token."""
    directory.add("shop", 1)
    directory.add("news", 2)
    before = read(directory)
    directory.write_token("shop", make_token(1, "AAkey-that-follows"))
    after = read(directory)
    assert after["shop"].signing_keys[0] == before["shop"].signing_keys[0]
    assert after["shop"].signing_keys[0] != after["news"].signing_keys[0]


def test_all_problems_are_reported_at_once(directory: BotsDirectory) -> None:
    directory.add("good", 1)
    directory.add("twin", 1)
    directory.add("weak", 3, secret="hush")
    directory.add("lost", 4, token_file="missing.token")
    directory.add("both", 5, token_env="SOME_TOKEN")
    directory.add("wrong", 6, updates="push", color="red", rate_limit_requests=0)
    directory.add("busy", 7, services=["PROFILE", "BILLING"], routes=["/go"])
    directory.entries["None of a name"] = {}
    directory.entries["bare"] = {}
    directory.write()
    text = "\n".join(find_problems(directory))
    for expected in (
        "bots.yaml: twin: is the same bot as good",
        "bots.yaml: weak: webhook_secret is too short",
        "bots.yaml: lost: token_file",
        "No such file",
        "bots.yaml: both: needs either token_file or token_env",
        "bots.yaml: wrong: updates:",
        "bots.yaml: wrong: color:",
        "bots.yaml: wrong: rate_limit_requests:",
        "bots.yaml: busy: services: there is no 'BILLING'",
        "bots.yaml: busy: routes: there is no '/go'",
        "'None of a name' is no name",
        "bots.yaml: bare: needs either token_file or token_env",
        "bots.yaml: bare: needs either webhook_secret_file or webhook_secret_env",
    ):
        assert expected in text
    assert "good: " not in text


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "has to contain `bots:` and nothing beside it"),
        ("- a\n", "has to contain `bots:` and nothing beside it"),
        ("bots: {}\nmore: 1\n", "has to contain `bots:` and nothing beside it"),
        ("bots: []\n", "has to contain one bot or more"),
        ("bots:\n  a: {}\n  a: {}\n", "repeats a key in line 3"),
        ("bots: {a: [\n", "is not valid YAML"),
        ("bots: {a: 7}\n", "a: Input should be"),
        ("bots: {[1]: {}}\n", "is not valid YAML"),
        ("bots: &a {b: *a}\n", "b: "),
    ],
)
def test_a_file_of_another_form_is_one_problem(
    directory: BotsDirectory, text: str, problem: str
) -> None:
    directory.write_text(text)
    assert problem in find_problems(directory)[0]


@given(st.text(max_size=60))
def test_no_text_breaks_the_reader(text: str) -> None:
    with TemporaryDirectory() as directory:
        path = Path(directory) / "bots.yaml"
        path.write_text(text, encoding="utf-8", errors="replace")
        with pytest.raises(ConfigurationError):
            load_bots_file(settings_for(path))


def test_a_missing_file_is_named(directory: BotsDirectory) -> None:
    assert find_problems(directory) == [f"{directory.path}: No such file or directory"]


def test_a_file_of_bots_excludes_the_bot_of_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And needs a secret for signatures, which outlive tokens."""
    monkeypatch.setenv("ENV_FILE", "")
    monkeypatch.setenv("BOTS_FILE", "bots.yaml")
    monkeypatch.setenv("TELEGRAM_BOT_TOKEN", make_token(1))
    monkeypatch.setenv("TELEGRAM_WEBHOOK_SECRET", make_secret("shop"))
    with pytest.raises(ConfigurationError) as caught:
        load_settings()
    assert caught.value.problems == (
        "TELEGRAM_BOT_TOKEN: is set, but so is BOTS_FILE",
        "TELEGRAM_WEBHOOK_SECRET: is set, but so is BOTS_FILE",
        "STORE_SECRET: is not set, but BOTS_FILE needs it",
    )


def test_one_bot_in_the_environment_needs_no_file(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ENV_FILE", "")
    monkeypatch.setenv("TELEGRAM_BOT_TOKEN", make_token(1))
    monkeypatch.setenv("TELEGRAM_WEBHOOK_SECRET", make_secret("shop"))
    (bot,) = load_bots(load_settings()).values()
    assert (bot.name, bot.id, bot.signing_keys) == ("", 1, (make_token(1),))
