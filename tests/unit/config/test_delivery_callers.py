from hashlib import sha256
from pathlib import Path

import pytest

from gateway.config.delivery_callers import (
    METHODS,
    Caller,
    Callers,
    Quota,
    hash_token,
    load_callers,
)
from gateway.domain.errors import ConfigurationError

TOKEN = "a-token-of-the-shop"


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "callers.yaml"
    path.write_text(text)
    return path


def load(tmp_path: Path, text: str, *, accepts_certificates: bool = True) -> Callers:
    return load_callers(
        write(tmp_path, text), accepts_certificates=accepts_certificates
    )


def find_problems(tmp_path: Path, text: str) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        load(tmp_path, text, accepts_certificates=False)
    assert "hush" not in str(caught.value.problems)
    assert all(it.startswith("DELIVERY_CALLERS_FILE: ") for it in caught.value.problems)
    return [it.removeprefix("DELIVERY_CALLERS_FILE: ") for it in caught.value.problems]


def test_tokens_are_digests_or_references(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEWS_TOKEN", "a-token-of-the-news")
    (tmp_path / "token").write_text("a-token-of-billing\n")
    callers = load(
        tmp_path,
        f"""
callers:
  - name: shop
    tokens: [{{sha256: {sha256(TOKEN.encode()).hexdigest()}}}]
    bots: [shop, 123]
    methods: [Send, Get]
    quota: {{per_second: 5}}
  - name: news
    tokens: [{{env: NEWS_TOKEN}}, {{file: {tmp_path}/token}}]
    certificates: [news.internal]
    quota: {{per_second: 0.5, burst: 20}}
""",
    )
    shop = callers.by_token[hash_token(TOKEN)]
    assert (shop.name, shop.quota) == ("shop", Quota(5, 5))
    assert shop.bots == frozenset({"shop", "123"})
    assert shop.methods == frozenset({"Send", "Get"})
    news = callers.by_token[hash_token("a-token-of-the-news")]
    assert callers.by_token[hash_token("a-token-of-billing")] is news
    assert callers.by_certificate == {"news.internal": news}
    assert (news.bots, len(news.methods), news.quota) == (
        None,
        len(METHODS),
        Quota(0.5, 20),
    )
    assert [it.name for it in callers.files] == ["callers.yaml", "token"]


def test_a_caller_without_bots_may_use_all() -> None:

    assert Caller(name="shop").may_use_bot(["any", "1"])
    limited = Caller(name="shop", bots=frozenset({"1"}))
    assert limited.may_use_bot(["any", "1"])
    assert not limited.may_use_bot(["any", "2"])


def test_all_problems_of_the_form_are_found(tmp_path: Path) -> None:
    problems = find_problems(
        tmp_path,
        """
callers:
  - name: "hush hush"
    tokens: [{sha256: hush}]
    quota: {per_second: 0, burst: 0.5}
  - name: news
    tokens: [{hush: 1}]
    bots: []
  - name: nobody
  - name: both
    tokens: [{env: A, file: b}]
  - name: wrong
    tokens: [{env: A}]
    methods: [Hush]
""",
    )
    assert [it.partition(":")[0] for it in problems] == [
        "callers.1.name",
        "callers.1.tokens.1.sha256",
        "callers.1.quota.per_second",
        "callers.1.quota.burst",
        "callers.2.tokens.1",
        "callers.2.bots",
        "callers.3",
        "callers.4.tokens.1",
        "callers.5",
    ]


def test_all_problems_of_the_contents_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHORT", "hush")
    problems = find_problems(
        tmp_path,
        f"""
callers:
  - name: shop
    tokens: [{{env: MISSING}}, {{env: SHORT}}, {{file: {tmp_path}/missing}}]
  - name: shop
    certificates: [shop.internal]
  - name: news
    tokens: [{{sha256: {"ab" * 32}}}, {{sha256: {"ab" * 32}}}]
""",
    )
    assert problems == [
        "shop: token 1 is empty or not set",
        (
            "shop: token 2 needs 16 or more printable characters, for example from"
            " `openssl rand -hex 24`"
        ),
        "shop: token 3 cannot be read: No such file or directory",
        "shop: is there twice",
        "shop: has certificates, but DELIVERY_TLS_CLIENT_CA_FILE is not set",
        "news: token 2 is there twice",
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("callers: [hush", "callers.yaml: is not valid YAML"),
        ("hush", "the file: Input should be a valid dictionary or instance of _File"),
        ("callers: []", "callers: List should have at least 1 item"),
    ],
)
def test_a_file_of_another_form_is_one_problem(
    tmp_path: Path, text: str, problem: str
) -> None:
    (found,) = find_problems(tmp_path, text)
    assert found.startswith(problem)


def test_a_missing_file_is_one_problem(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load_callers(tmp_path / "missing", accepts_certificates=True)
    assert list(caught.value.problems) == [
        f"DELIVERY_CALLERS_FILE: {tmp_path}/missing: No such file or directory"
    ]
