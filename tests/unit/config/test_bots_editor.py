"""Changes of BOTS_FILE by commands, which keep what people wrote."""

import os
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.config.bots_editor import (
    add_entry,
    remove_entry,
    set_paused,
    withdraw_entry,
    write_secret_file,
)
from gateway.domain.errors import ConfigurationError

TEXT = """\
# The bots of the company.
bots:
  # Sells.
  shop:
    token_file: shop.token  # from the vault
    webhook_secret_file: shop.secret

  news:  # Tells.
    updates: poll
    token_env: NEWS_TOKEN
    services:
    - PROFILE
# The end.
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return a file with two bots."""
    file = tmp_path / "bots.yaml"
    file.write_text(TEXT)
    return file


def read(path: Path) -> dict[str, dict[str, object]]:
    """Return the entries of the file."""
    found: dict[str, dict[str, object]] = yaml.safe_load(path.read_text())["bots"]
    return found


def test_an_added_bot_comes_last_and_all_else_stays(path: Path) -> None:
    before = read(path)
    add_entry(path, "help", {"token_file": "help.token", "services": ["PROFILE"]})
    assert path.read_text().startswith(TEXT)
    added = {"token_file": "help.token", "services": ["PROFILE"]}
    assert read(path) == before | {"help": added}


def test_a_first_bot_makes_the_file(tmp_path: Path) -> None:
    path = tmp_path / "bots.yaml"
    add_entry(path, "shop", {"token_file": "t"})
    assert read(path) == {"shop": {"token_file": "t"}}


def test_a_name_is_added_once(path: Path) -> None:
    with pytest.raises(ConfigurationError, match="there is a bot shop already"):
        add_entry(path, "shop", {"token_file": "t"})
    assert path.read_text() == TEXT


@pytest.mark.parametrize("name", ["shop", "news"])
def test_a_removed_bot_leaves_the_others_as_they_were(path: Path, name: str) -> None:
    before = read(path)
    remove_entry(path, name)
    assert read(path) == {it: before[it] for it in before if it != name}
    text = path.read_text()
    assert text.startswith("# The bots of the company.\n")
    assert text.endswith("# The end.\n")


@pytest.mark.parametrize("name", ["shop", "news"])
def test_pausing_and_resuming_gives_the_same_file(path: Path, name: str) -> None:
    set_paused(path, name, is_paused=True)
    assert read(path)[name]["paused"] is True
    set_paused(path, name, is_paused=True)
    assert path.read_text().count("paused") == 1
    set_paused(path, name, is_paused=False)
    assert path.read_text() == TEXT


def test_the_only_bot_is_not_removed(path: Path) -> None:
    """A file without bots is invalid."""
    remove_entry(path, "news")
    before = path.read_text()
    for is_trial in (True, False):
        with pytest.raises(ConfigurationError, match="shop is the only bot"):
            remove_entry(path, "shop", is_trial=is_trial)
    assert path.read_text() == before


def test_a_trial_changes_nothing(path: Path) -> None:
    remove_entry(path, "shop", is_trial=True)
    assert path.read_text() == TEXT


def test_an_entry_is_withdrawn_with_the_file_that_was_made_for_it(
    tmp_path: Path,
) -> None:
    path = tmp_path / "bots.yaml"
    add_entry(path, "shop", {"token_file": "t"})
    add_entry(path, "news", {"token_file": "t"})
    withdraw_entry(path, "news")
    assert read(path) == {"shop": {"token_file": "t"}}
    withdraw_entry(path, "shop")
    assert not path.exists()


def test_an_unknown_name_changes_nothing(path: Path) -> None:
    for act in (remove_entry, lambda *it: set_paused(*it, is_paused=True)):
        with pytest.raises(ConfigurationError, match="there is no bot lab"):
            act(path, "lab")
    assert path.read_text() == TEXT


@pytest.mark.parametrize(
    "text",
    [
        "bots: {shop: {token_file: t}}\n",
        "bots:\n  shop: &a\n    token_file: t\n  news: *a\n",
        "{bots: {shop: {token_file: t}}}\n",
    ],
)
def test_a_file_of_an_unusual_form_is_left_to_its_author(path: Path, text: str) -> None:
    path.write_text(text)
    with pytest.raises(ConfigurationError, match="edit it by hand"):
        set_paused(path, "shop", is_paused=True)
    assert path.read_text() == text


def test_a_secret_is_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "shop.secret"
    write_secret_file(path, "canary")
    assert (path.read_text(), path.stat().st_mode & 0o777) == ("canary\n", 0o600)
    path.chmod(0o640)
    write_secret_file(path, "canary-2")
    assert (path.read_text(), path.stat().st_mode & 0o777) == ("canary-2\n", 0o640)
    assert list(tmp_path.iterdir()) == [path]


def test_a_secret_keeps_its_owner(tmp_path: Path) -> None:
    """A gateway of another user has to read what its operator wrote."""
    path = tmp_path / "shop.secret"
    write_secret_file(path, "canary")
    owner = 12345 if os.geteuid() == 0 else os.geteuid()
    os.chown(path, owner, -1)
    write_secret_file(path, "canary-2")
    assert path.stat().st_uid == owner


names = st.from_regex(r"[a-z0-9][a-z0-9_-]{0,6}", fullmatch=True)


@settings(max_examples=30)
@given(
    st.lists(st.tuples(st.sampled_from(["add", "remove", "pause", "resume"]), names))
)
def test_any_changes_give_what_they_say(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[str, str]]
) -> None:
    path = tmp_path_factory.mktemp("bots") / "bots.yaml"
    path.write_text(TEXT)
    expected = read(path)
    for change, name in changes:
        is_known = name in expected
        is_only = is_known and len(expected) == 1
        try:
            if change == "add":
                add_entry(path, name, {"token_file": "t"})
                expected[name] = {"token_file": "t"}
            elif change == "remove":
                remove_entry(path, name)
                del expected[name]
            else:
                set_paused(path, name, is_paused=change == "pause")
                expected[name].pop("paused", None)
                if change == "pause":
                    expected[name]["paused"] = True
        except ConfigurationError:
            is_refused = is_only if change == "remove" else False
            assert is_refused or (change == "add") == is_known
        assert read(path) == expected
