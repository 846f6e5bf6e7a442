"""The time of a previous webhook secret ends once and for all."""

import os
import shutil
import time
from pathlib import Path

import msgspec
import pytest

from gateway.bots.previous_secrets import PreviousSecrets
from gateway.config.bots import BotConfig, load_bots_file
from gateway.config.settings import Settings
from gateway.telegram import previous_secret
from gateway.telegram.previous_secret import MAX_PREVIOUS_SECONDS, PreviousSecret
from gateway.telegram.webhook import WebhookTarget
from tests.support.bots import STORE_SECRET, BotsDirectory, make_secret

PREVIOUS = "the-secret-before-this-one"


@pytest.fixture
def directory(tmp_path: Path) -> BotsDirectory:
    """Return a directory with a bot that has a previous secret."""
    directory = BotsDirectory(tmp_path)
    directory.add("shop", 1)
    directory.write_previous_secret("shop", PREVIOUS)
    return directory


def read(directory: BotsDirectory) -> BotConfig:
    """Return the bot as a gateway reads it."""
    settings = Settings(
        _env_file=None, bots_file=directory.path, store_secret=STORE_SECRET
    )
    return load_bots_file(settings).bots["shop"]


def build_target(secrets: PreviousSecrets, config: BotConfig) -> WebhookTarget:
    """Return the target of a bot that was just built."""
    return WebhookTarget(
        config.webhook_secrets, None, lambda _: None, secrets.find(config)
    )


def get_file(directory: BotsDirectory) -> Path:
    """Return the file with the previous secret."""
    return directory.path.parent / "shop.secret.previous"


def make_old(path: Path) -> None:
    """Make a file look as if it had been written too long ago."""
    written_at = time.time() - MAX_PREVIOUS_SECONDS - 1
    os.utime(path, (written_at, written_at))


def test_it_ends_a_minute_after_telegram_has_used_the_current_one() -> None:
    secret = PreviousSecret(PREVIOUS, ends_at=10_000)
    secret.limit(100)
    assert secret.value == PREVIOUS.encode()
    secret.is_confirmed = True
    for now in (200, 259):
        secret.limit(now)
        assert secret.value == PREVIOUS.encode()
    secret.limit(260)
    assert secret.is_ended
    assert secret.value != PREVIOUS.encode()


async def test_another_build_of_the_bot_does_not_accept_it_again(
    directory: BotsDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(previous_secret, "_CONFIRMED_SECONDS", 0)
    secrets, config = PreviousSecrets(), read(directory)
    target = build_target(secrets, config)
    assert target.accepts(PREVIOUS.encode())
    assert target.accepts(make_secret("shop").encode())
    rebuilt = build_target(secrets, msgspec.structs.replace(config, is_paused=True))
    assert rebuilt.accepts(PREVIOUS.encode())
    await secrets.limit()
    for it in (target, rebuilt, build_target(secrets, config)):
        assert not it.accepts(PREVIOUS.encode())
        assert it.accepts(make_secret("shop").encode())


def test_an_old_file_is_not_accepted_after_a_restart(directory: BotsDirectory) -> None:
    assert build_target(PreviousSecrets(), read(directory)).accepts(PREVIOUS.encode())
    make_old(get_file(directory))
    restarted = build_target(PreviousSecrets(), read(directory))
    assert not restarted.accepts(PREVIOUS.encode())


async def test_the_file_of_an_ended_secret_is_deleted(directory: BotsDirectory) -> None:
    """So other processes end it too."""
    secrets = PreviousSecrets()
    build_target(secrets, read(directory))
    await secrets.limit()
    assert get_file(directory).exists()
    make_old(get_file(directory))
    secrets = PreviousSecrets()
    build_target(secrets, read(directory))
    await secrets.limit()
    assert not get_file(directory).exists()
    assert read(directory).webhook_secrets == (make_secret("shop"),)


async def test_a_secret_that_took_its_place_stays(directory: BotsDirectory) -> None:
    """Another rotation may write the file at this moment."""
    make_old(get_file(directory))
    secrets = PreviousSecrets()
    build_target(secrets, read(directory))
    directory.write_previous_secret("shop", "the-secret-after-that")
    await secrets.limit()
    assert get_file(directory).read_text() == "the-secret-after-that"
    target = build_target(secrets, read(directory))
    assert target.accepts(b"the-secret-after-that")
    assert not target.accepts(PREVIOUS.encode())


async def test_a_file_that_cannot_be_deleted_is_reported_once(
    directory: BotsDirectory, caplog: pytest.LogCaptureFixture
) -> None:
    make_old(get_file(directory))
    secrets = PreviousSecrets()
    target = build_target(secrets, read(directory))
    shutil.rmtree(directory.path.parent)
    for _ in range(2):
        await secrets.limit()
    assert [it.message for it in caplog.records] == ["previous_secret_not_deleted"]
    assert PREVIOUS not in str(vars(caplog.records[0]))
    assert not target.accepts(PREVIOUS.encode())
