"""Settings: every fault is found before the start."""

import re
from pathlib import Path

import pytest

from gateway.config.bots import build_environment_bot
from gateway.config.settings import (
    Settings,
    load_service_targets,
    load_settings,
    load_settings_with_services,
)
from gateway.domain.errors import ConfigurationError

EXAMPLE = Path(__file__).parents[3] / ".env.example"
SERVICES = ("CONVERSATION", "MATCHING", "NOTIFICATION", "PROFILE")
TOKEN = "123456:a-token-of-a-bot"
SECRET = "s-e_cret-of-the-webhook"


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Start from an environment that says nothing."""
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    for name in SERVICES:
        monkeypatch.delenv(f"{name}_TARGET", raising=False)
        monkeypatch.delenv(f"{name}_TIMEOUT", raising=False)
    monkeypatch.setenv("ENV_FILE", "")


@pytest.fixture
def _enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set what has no default."""
    monkeypatch.setenv("TELEGRAM_BOT_TOKEN", TOKEN)
    monkeypatch.setenv("TELEGRAM_WEBHOOK_SECRET", SECRET)


def test_all_faults_are_reported_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """One start shows everything that is to be mended, and no value."""
    monkeypatch.setenv("TELEGRAM_BOT_TOKEN", "hush-no-token")
    monkeypatch.setenv("PORT", "hush-port")
    monkeypatch.setenv("RATE_LIMIT_WINDOW", "-1")
    monkeypatch.setenv("STORE_PATIENCE", "0")
    monkeypatch.setenv("REPLY_PATIENCE", "inf")
    monkeypatch.setenv("PROFILE_TARGET", "localhost:1")
    monkeypatch.setenv("PROFILE_TIMEOUT", "hush-soon")
    with pytest.raises(ConfigurationError) as caught:
        load_settings_with_services(("CONVERSATION", "PROFILE"))
    names = [line.partition(":")[0] for line in caught.value.problems]
    assert names == [
        "TELEGRAM_BOT_TOKEN",
        "TELEGRAM_WEBHOOK_SECRET",
        "PORT",
        "RATE_LIMIT_WINDOW",
        "STORE_PATIENCE",
        "REPLY_PATIENCE",
        "CONVERSATION_TARGET",
        "PROFILE_TIMEOUT",
    ]
    assert "hush" not in str(caught.value)


@pytest.mark.usefixtures("_enough")
def test_redis_is_an_address_or_a_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without either, mailboxes are in memory."""
    assert load_settings().store_url is None
    monkeypatch.setenv("REDIS_HOST", "cache")
    assert load_settings().store_url == "redis://cache:6379"
    monkeypatch.setenv("REDIS_PORT", "7000")
    assert load_settings().store_url == "redis://cache:7000"
    monkeypatch.delenv("REDIS_HOST")
    for good in (
        *("redis://:hush@cache/2", "rediss://cache:1", "unix:///run/redis.sock"),
        *("redis+sentinel://one:1,two/mail", "rediss+sentinel://:hush@[::1]/mail/2"),
    ):
        monkeypatch.setenv("REDIS_URL", good)
        assert load_settings({"workers": 2}).store_url == good


@pytest.mark.usefixtures("_enough")
@pytest.mark.parametrize(
    "bad",
    [
        *("hush", "http://hush", "redis://", "redis://hush:port", "unix://"),
        *("redis+sentinel://hush", "redis+sentinel://hush/", "redis+sentinel:///mail"),
        *("redis+sentinel://one,hush:port/mail", "redis+sentinel://one,/mail"),
        *("redis+sentinel://one/mail/hush", "redis://one/hush", "redis://one/1hush"),
    ],
)
def test_a_bad_address_of_redis_is_not_quoted(
    monkeypatch: pytest.MonkeyPatch, bad: str
) -> None:
    """It may hold a password. That WORKERS needs Redis is not said on top of it."""
    monkeypatch.setenv("REDIS_URL", bad)
    with pytest.raises(ConfigurationError) as caught:
        load_settings({"workers": 2})
    (line,) = caught.value.problems
    assert line.startswith("REDIS_URL: is not an address")
    assert "hush" not in line


@pytest.mark.usefixtures("_enough")
@pytest.mark.parametrize("name", ["TELEGRAM_API_URL", "FILES_URL"])
@pytest.mark.parametrize("bad", ["https://host/x?key=hush", "https://host/#hush"])
def test_an_address_that_paths_are_put_behind_ends_where_they_begin(
    monkeypatch: pytest.MonkeyPatch, name: str, bad: str
) -> None:
    """The rest would be asked for something else, without a word."""
    monkeypatch.setenv(name, bad)
    with pytest.raises(ConfigurationError) as caught:
        load_settings()
    assert caught.value.problems == (
        f"{name}: has a ? or a #: paths are appended to it",
    )


@pytest.mark.usefixtures("_enough")
@pytest.mark.parametrize("good", ["x", "staging", "Tg-2.eu_west", 32 * "x"])
def test_a_key_prefix_is_one_word(monkeypatch: pytest.MonkeyPatch, good: str) -> None:
    """The default is short, because every key begins with it."""
    assert load_settings().redis_key_prefix == "tg"
    monkeypatch.setenv("REDIS_KEY_PREFIX", good)
    assert load_settings().redis_key_prefix == good


@pytest.mark.usefixtures("_enough")
@pytest.mark.parametrize(
    "bad", ["tg:", "{tg}", "t g", "tg*", "tg\n", "t\u00e9", 33 * "x"]
)
def test_a_key_prefix_with_a_meaning_to_redis_is_rejected(
    monkeypatch: pytest.MonkeyPatch, bad: str
) -> None:
    """A hash tag would move the keys of a shard, and a pattern would open others."""
    monkeypatch.setenv("REDIS_KEY_PREFIX", bad)
    with pytest.raises(ConfigurationError) as caught:
        load_settings()
    assert caught.value.problems == (
        "REDIS_KEY_PREFIX: needs 1 to 32 characters from A-Z a-z 0-9 . _ -",
    )


@pytest.mark.usefixtures("_enough")
def test_redis_is_named_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two places for it are one too many."""
    monkeypatch.setenv("REDIS_URL", "redis://cache")
    monkeypatch.setenv("REDIS_HOST", "cache")
    with pytest.raises(
        ConfigurationError, match="REDIS_HOST: is set, but so is REDIS_URL"
    ):
        load_settings()


@pytest.mark.usefixtures("_enough")
def test_what_does_not_fit_together_is_reported(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Settings that are fine alone can be wrong together."""
    monkeypatch.setenv("OPS_PORT", "8000")
    monkeypatch.setenv("WORKERS", "2")
    monkeypatch.setenv("SERVICES_TLS_KEY_FILE", "key.pem")
    with pytest.raises(ConfigurationError) as caught:
        load_settings()
    names = [line.partition(":")[0] for line in caught.value.problems]
    assert names == ["OPS_PORT", "WORKERS", "SERVICES_TLS_KEY_FILE"]


def test_what_does_not_fit_together_is_found_beside_other_faults(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A missing token hides nothing."""
    monkeypatch.setenv("OPS_PORT", "8000")
    monkeypatch.setenv("WORKERS", "3")
    monkeypatch.setenv("SERVICES_TLS_CA_FILE", "ca.pem")
    with pytest.raises(ConfigurationError) as caught:
        load_settings()
    names = [line.partition(":")[0] for line in caught.value.problems]
    assert names == [
        "TELEGRAM_BOT_TOKEN",
        "TELEGRAM_WEBHOOK_SECRET",
        "OPS_PORT",
        "WORKERS",
        "SERVICES_TLS_CA_FILE",
    ]


@pytest.mark.usefixtures("_enough")
@pytest.mark.parametrize(
    "secret",
    ["", "with space in a long one", "ü" * 20, "x" * 257, "semi;colon-in-a-long-one"],
)
def test_a_secret_that_telegram_refuses_is_refused(
    secret: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The alphabet and length are setWebhook's."""
    monkeypatch.setenv("TELEGRAM_WEBHOOK_SECRET", secret)
    with pytest.raises(ConfigurationError, match="TELEGRAM_WEBHOOK_SECRET"):
        load_settings()


@pytest.mark.usefixtures("_enough")
@pytest.mark.parametrize(
    "token",
    [
        *("abc", "12:", ":abc", "12:a b", "12:a/b", "1²:ab", "12:a\x01b"),
        "9" * 5000 + ":abc",  # Python reads no number of so many digits
    ],
)
def test_a_token_that_is_none_is_refused(
    token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It goes into an address, so its characters matter."""
    monkeypatch.setenv("TELEGRAM_BOT_TOKEN", token)
    with pytest.raises(ConfigurationError, match="TELEGRAM_BOT_TOKEN"):
        load_settings()


@pytest.mark.usefixtures("_enough")
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DEAD_LETTER_RETENTION", "inf"),
        ("DEAD_LETTER_RETENTION", "1e300"),
        ("DRAIN_TIMEOUT", "inf"),
        ("MAILBOX_LIMIT", "9" * 30),
        ("MAX_ACTIVE_ACTORS", "9" * 30),
        ("RATE_LIMIT_WINDOW", "inf"),
        ("SESSION_LIMIT", "9" * 30),
        ("SESSION_TTL", "1e300"),
        ("STORE_PATIENCE", "inf"),
        ("WORKERS", "100000"),
    ],
)
def test_a_number_without_bounds_is_refused(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Redis refuses them when the gateway runs already, and dead letters are lost."""
    monkeypatch.setenv("REDIS_URL", "redis://localhost")
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError, match=f"^{name}: "):
        load_settings()


@pytest.mark.usefixtures("_enough")
def test_a_service_has_its_own_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any name has a target and a timeout; conversations have more time."""
    for name in (*SERVICES, "BILLING"):
        monkeypatch.setenv(f"{name}_TARGET", f"{name.lower()}:50051")
    monkeypatch.setenv("BILLING_TIMEOUT", "1.5")
    settings, services = load_settings_with_services((*SERVICES, "BILLING"))
    assert build_environment_bot(settings).id == 123456
    assert {name: it.timeout for name, it in services.items()} == {
        "CONVERSATION": 5,
        "MATCHING": 3,
        "NOTIFICATION": 3,
        "PROFILE": 3,
        "BILLING": 1.5,
    }
    assert services["BILLING"].target == "billing:50051"


@pytest.mark.usefixtures("_enough")
def test_the_environment_overrules_the_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A file sets what the environment does not."""
    file = tmp_path / "env"
    file.write_text("PORT=1234\nHOST=0.0.0.0\nPROFILE_TARGET=file:1\n")
    monkeypatch.setenv("ENV_FILE", str(file))
    monkeypatch.setenv("PORT", "4321")
    settings, services = load_settings_with_services(["PROFILE"])
    assert (settings.port, settings.host) == (4321, "0.0.0.0")
    assert services["PROFILE"].target == "file:1"


@pytest.mark.usefixtures("_enough")
def test_secrets_do_not_show() -> None:
    """Printing the settings prints no secret."""
    settings = load_settings()
    assert TOKEN not in repr(settings)
    assert "s-e_cret" not in repr(settings)


def test_the_example_names_every_setting_and_its_default(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`.env.example` is complete, loads as it is, and shows the true defaults."""
    monkeypatch.setenv("ENV_FILE", str(EXAMPLE))
    # The environment goes before the file, whose secrets are refused.
    monkeypatch.setenv("TELEGRAM_BOT_TOKEN", TOKEN)
    monkeypatch.setenv("TELEGRAM_WEBHOOK_SECRET", SECRET)
    settings, services = load_settings_with_services(SERVICES)
    assert set(services) == set(SERVICES)
    shown = dict(re.findall(r"^#?([A-Z_]+)=(.*)$", EXAMPLE.read_text(), re.MULTILINE))
    of_services = {f"{n}_{part}" for n in SERVICES for part in ("TARGET", "TIMEOUT")}
    of_services |= {"CONVERSATION_STREAMING", "CONVERSATION_STREAM_TIMEOUT"}
    assert set(shown) == {name.upper() for name in Settings.model_fields} | of_services
    for name in Settings.model_fields:
        default = getattr(settings, name)
        if f"#{name.upper()}=" in EXAMPLE.read_text() and name != "webhook_url":
            said = shown[name.upper()].rstrip("/")
            assert said == ("" if default is None else str(default).rstrip("/")) or (
                float(said) == float(default)
            ), name
    for name, service in services.items():
        assert float(shown[f"{name}_TIMEOUT"]) == service.timeout


@pytest.mark.usefixtures("_enough")
@pytest.mark.parametrize(
    ("target", "good"),
    [
        ("profile:50051", True),
        ("127.0.0.1:50051", True),
        ("[::1]:50051", True),
        ("dns:///profile.internal:50051", True),
        ("unix:/run/profile.sock", True),
        ("ipv4:10.0.0.1:50051,10.0.0.2:50051", True),
        ("xds:///profile", True),
        ("http://profile:50051", False),
        ("profile", False),
        ("profile:", False),
        ("profile:http", False),
        ("profile:99999", False),
        ("two words:1 2", False),
    ],
)
def test_a_target_is_a_grpc_name(
    target: str, good: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise every call would fail later, with nothing wrong at the start."""
    monkeypatch.setenv("PROFILE_TARGET", target)
    if good:
        assert load_settings_with_services(["PROFILE"])[1]["PROFILE"].target == target
    else:
        with pytest.raises(ConfigurationError, match="PROFILE_TARGET: is a gRPC name"):
            load_settings_with_services(["PROFILE"])


@pytest.mark.usefixtures("_enough")
@pytest.mark.parametrize("content", [None, b"PORT=1\xe4"])
def test_a_settings_file_that_cannot_be_read_is_a_fault(
    content: bytes | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Whoever names a file means it."""
    file = tmp_path / "env"
    if content is not None:
        file.write_bytes(content)
    monkeypatch.setenv("ENV_FILE", str(file))
    with pytest.raises(ConfigurationError, match="ENV_FILE"):
        load_settings()


@pytest.mark.usefixtures("_enough")
@pytest.mark.parametrize(
    ("url", "local"),
    [("https://api.telegram.org", False), ("http://bot-api:8081", True)],
)
def test_a_bot_api_server_of_ones_own_is_known(
    monkeypatch: pytest.MonkeyPatch, url: str, local: bool
) -> None:
    """It must not be sent to private addresses."""
    monkeypatch.setenv("TELEGRAM_API_URL", url)
    assert load_settings().uses_local_server is local


@pytest.mark.usefixtures("_enough")
@pytest.mark.parametrize(
    "name",
    [
        *("TELEGRAM_WEBHOOK_SECRET", "TELEGRAM_WEBHOOK_SECRET_PREVIOUS"),
        *("STORE_SECRET", "STORE_SECRET_PREVIOUS"),
    ],
)
@pytest.mark.parametrize(
    "secret", ["a", "fifteen-letters", "replace-me-replace-me", "REPLACE-ME-with-more"]
)
def test_a_secret_that_is_easily_guessed_is_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, secret: str
) -> None:
    """Short ones and those of examples; it is said how to make a good one."""
    monkeypatch.setenv(name, secret)
    with pytest.raises(ConfigurationError) as caught:
        load_settings()
    (line,) = caught.value.problems
    assert line.startswith(f"{name}: ")
    assert "openssl rand -hex 24" in line
    assert len(secret) == 1 or secret not in line
    monkeypatch.setenv(name, "0123456789abcdef")
    load_settings()


def test_the_example_starts_nothing_until_it_is_filled_in(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its secrets are known to everybody. All of them are told, and nothing else."""
    monkeypatch.setenv("ENV_FILE", str(EXAMPLE))
    with pytest.raises(ConfigurationError) as caught:
        load_settings_with_services(SERVICES)
    names = [line.partition(":")[0] for line in caught.value.problems]
    assert names == ["TELEGRAM_BOT_TOKEN", "TELEGRAM_WEBHOOK_SECRET"]


@pytest.mark.usefixtures("_enough")
def test_the_password_of_the_example_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As it stands in the manifests."""
    monkeypatch.setenv("REDIS_URL", "redis://gateway:replace-me@redis:6379")
    with pytest.raises(
        ConfigurationError, match="REDIS_URL: has an example's password"
    ):
        load_settings()


@pytest.mark.usefixtures("_enough")
def test_two_secrets_of_the_webhook_are_accepted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The current one first: it is the one that Telegram is told."""
    assert load_settings().webhook_secrets == [SECRET]
    monkeypatch.setenv("TELEGRAM_WEBHOOK_SECRET_PREVIOUS", "the-one-used-before")
    assert load_settings().webhook_secrets == [SECRET, "the-one-used-before"]


@pytest.mark.usefixtures("_enough")
def test_the_store_is_signed_with_its_own_secret_or_the_token(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What the token signed stays good, so that a secret can be introduced."""
    assert load_settings().store_secrets == [TOKEN]
    monkeypatch.setenv("STORE_SECRET_PREVIOUS", "123456:the-token-before")
    assert load_settings().store_secrets == [TOKEN, "123456:the-token-before"]
    monkeypatch.setenv("STORE_SECRET", "a secret of the store")
    assert load_settings().store_secrets[0] == "a secret of the store"
    assert set(load_settings().store_secrets[1:]) == {TOKEN, "123456:the-token-before"}


@pytest.mark.usefixtures("_enough")
def test_operators_may_have_an_address_of_their_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without it they have that of everybody."""
    monkeypatch.setenv("HOST", "192.0.2.1")
    assert load_settings().operations_host == "192.0.2.1"
    monkeypatch.setenv("OPS_HOST", "127.0.0.1")
    assert load_settings().operations_host == "127.0.0.1"


@pytest.mark.usefixtures("_enough")
@pytest.mark.parametrize(
    ("url", "in_clear"),
    [
        ("https://api.example.com", False),
        ("http://api.example.com", True),
        ("http://192.0.2.7:8081", True),
        ("http://127.0.0.1:8081", False),
        ("http://127.1.2.3:8081", False),
        ("http://[::1]:8081", False),
        ("http://localhost:8081", False),
        ("http://localhost.example.com", True),
    ],
)
def test_a_token_that_leaves_the_machine_in_clear_is_noticed(
    monkeypatch: pytest.MonkeyPatch, url: str, in_clear: bool
) -> None:
    """A Bot API server of one's own may listen without TLS on the same machine."""
    monkeypatch.setenv("TELEGRAM_API_URL", url)
    assert load_settings().sends_token_unencrypted is in_clear


class TestFilesOfSecrets:
    """Settings in files of their own, as Docker and Kubernetes mount secrets."""

    @pytest.fixture
    def directory(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """Make a directory that SECRETS_DIR names."""
        directory = tmp_path / "secrets"
        directory.mkdir()
        monkeypatch.setenv("SECRETS_DIR", str(directory))
        return directory

    def test_they_are_read_like_settings(
        self, directory: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """By the names of settings; the environment goes before them."""
        # Kubernetes leads there by links, so that all files change at once.
        (directory / "..data").mkdir()
        (directory / "..data" / "TELEGRAM_BOT_TOKEN").write_text(f"{TOKEN}\n")
        link = directory / "TELEGRAM_BOT_TOKEN"
        link.symlink_to("..data/TELEGRAM_BOT_TOKEN")
        (directory / "telegram_webhook_secret").write_text(SECRET)
        (directory / "PORT").write_text("8001")
        (directory / "unrelated").write_bytes(b"\xff")
        monkeypatch.setenv("PORT", "8002")
        settings = load_settings()
        assert build_environment_bot(settings).token == TOKEN
        assert settings.webhook_secrets == [SECRET]
        assert settings.port == 8002

    def test_what_is_wrong_in_them_is_not_quoted(self, directory: Path) -> None:
        (directory / "TELEGRAM_BOT_TOKEN").write_text("hush")
        (directory / "TELEGRAM_WEBHOOK_SECRET").write_text("hush")
        with pytest.raises(ConfigurationError) as caught:
            load_settings()
        assert len(caught.value.problems) == 2
        assert "hush" not in str(caught.value)

    @pytest.mark.parametrize("wrong", ["missing", "a file", "binary"])
    def test_a_directory_that_cannot_be_read_is_a_fault(
        self, directory: Path, monkeypatch: pytest.MonkeyPatch, wrong: str
    ) -> None:
        """One line that says which, and no traceback."""
        secret = directory / "STORE_SECRET"
        secret.write_bytes(b"\xff\xfe")
        path = {"missing": directory / "no", "a file": secret}.get(wrong, directory)
        monkeypatch.setenv("SECRETS_DIR", str(path))
        with pytest.raises(ConfigurationError, match="SECRETS_DIR /"):
            load_settings()


def test_polling_needs_no_webhook_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TELEGRAM_BOT_TOKEN", TOKEN)
    monkeypatch.setenv("UPDATES", "poll")
    settings = load_settings()
    assert settings.updates == "poll"
    assert settings.webhook_secrets == []


@pytest.mark.usefixtures("_enough")
def test_an_unknown_way_to_receive_updates_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("UPDATES", "pigeon")
    with pytest.raises(ConfigurationError, match=r"UPDATES: .*'webhook' or 'poll'"):
        load_settings()


def test_the_targets_that_are_set_are_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROFILE_TARGET", "localhost:50053")
    assert load_service_targets(SERVICES) == {"PROFILE": "localhost:50053"}


def test_a_wrong_setting_of_a_service_without_a_target_is_a_problem(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PROFILE_TIMEOUT", "soon")
    with pytest.raises(ConfigurationError, match=r"^PROFILE_TIMEOUT: "):
        load_service_targets(SERVICES)


@pytest.mark.usefixtures("_enough")
def test_deliveries_are_off_and_then_only_for_this_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HOST", "0.0.0.0")
    assert load_settings().delivery_port is None
    monkeypatch.setenv("DELIVERY_PORT", "50050")
    assert load_settings().delivery_address == "127.0.0.1"
    monkeypatch.setenv("DELIVERY_CALLERS_FILE", "callers.yaml")
    assert load_settings().delivery_address == "0.0.0.0"
    monkeypatch.setenv("DELIVERY_HOST", "10.0.0.1")
    assert load_settings().delivery_address == "10.0.0.1"


@pytest.mark.usefixtures("_enough")
@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"PORT": "50050"}, "PORT: is the same as DELIVERY_PORT"),
        ({"OPS_PORT": "50050"}, "OPS_PORT: is the same as DELIVERY_PORT"),
        ({"DELIVERY_HOST": "0.0.0.0"}, "DELIVERY_HOST: is not a loopback address"),
        ({"DELIVERY_TLS_KEY_FILE": "k"}, "DELIVERY_TLS_KEY_FILE: goes together"),
        (
            {"DELIVERY_TLS_CLIENT_CA_FILE": "ca"},
            "DELIVERY_TLS_CLIENT_CA_FILE: is set, but DELIVERY_TLS_CERTIFICATE_FILE",
        ),
    ],
)
def test_settings_of_deliveries_fit_together(
    monkeypatch: pytest.MonkeyPatch, values: dict[str, str], problem: str
) -> None:
    monkeypatch.setenv("DELIVERY_PORT", "50050")
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError) as caught:
        load_settings()
    (found,) = caught.value.problems
    assert found.startswith(problem)


@pytest.mark.usefixtures("_enough")
def test_a_webhook_that_telegram_does_not_send_to_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Unless a Bot API server of one's own sends there."""
    for url in ("http://bot.example.com/x", "https://bot.example.com:8080/x"):
        monkeypatch.setenv("WEBHOOK_URL", url)
        with pytest.raises(ConfigurationError, match=r"^WEBHOOK_URL: .*Telegram"):
            load_settings()
    monkeypatch.setenv("TELEGRAM_API_URL", "http://127.0.0.1:8081")
    assert load_settings().webhook_url is not None
    monkeypatch.delenv("TELEGRAM_API_URL")
    monkeypatch.setenv("WEBHOOK_URL", "https://bot.example.com:8443/x")
    assert load_settings().webhook_url is not None
