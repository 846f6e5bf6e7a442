"""Addresses are taken and refused as TDLib does; private ones are known as such."""

import random
from collections import Counter

import pytest

from gateway.sandbox.simulator.validation.links import InvalidLink, check_link
from gateway.telegram.outbound.urls import is_complete_url, is_private_url, parse_url
from tests import tdlib
from tests.tdlib.comparison import AGREED, compare_links, make_link


@pytest.mark.parametrize(
    "link",
    [
        "https://a.b/c d",
        "a.b/c",
        "https://u:p@a.b:443/?q#f",
        "https://[::1]/",
        "https://ü.de",
        "tg:resolve?domain=x",
        "tg://user?id=5",
        "TON://x/y",
        "tonsite://a.b/c",
        "https://a.b:00080",
    ],
)
def test_what_tdlib_takes_is_taken(link: str) -> None:
    """Spaces in a path and a scheme that is not written, too."""
    assert tdlib.check_link(link)
    assert parse_url(link)
    assert check_link(link)


@pytest.mark.parametrize(
    "link",
    [
        "https://a.b:0/",
        "https://a.b:65536/",
        "https://a.b:/",
        "https://.",
        "https://",
        "https://u@v@a.b",
        "tg://t.me/x",
        "tg:https://a.b",
        "https://[::1",
        "https://localhost/",
        "ftp://a.b",
        *(f"https://a{character}b.c" for character in '<>"|^\\` {}'),
    ],
)
def test_what_tdlib_refuses_is_refused(link: str) -> None:
    """Each would cost the whole keyboard."""
    assert not tdlib.check_link(link)
    assert parse_url(link) is None
    with pytest.raises(InvalidLink):
        check_link(link)


def test_gateway_and_simulator_agree_with_tdlib() -> None:
    """About any link that is put together from difficult pieces."""
    chance = random.Random(1)
    results: Counter[str] = Counter()
    for _ in range(4000):
        link = make_link(chance)
        result = compare_links(link)
        assert result in AGREED, f"{result}: {link!r}"
        results[result] += 1
    assert min(results["both take it"], results["both refuse it"]) > 100


def test_an_address_names_its_scheme() -> None:
    """Where Telegram downloads it, nothing is made up."""
    assert is_complete_url("HTTPS://a.b", "http", "https")
    assert not is_complete_url("a.b/c", "http", "https")
    assert not is_complete_url("tg://a", "http", "https")
    assert not is_complete_url("http://a.b", "https")


@pytest.mark.parametrize(
    "address",
    [
        "http://127.0.0.1/",
        "http://127.1/",
        "http://0x7f.0.0.1/",
        "http://0177.0.0.01/",
        "http://10.1.2.3:8080/",
        "http://169.254.169.254/latest/meta-data",
        "http://100.64.0.1/",
        "http://u@192.168.0.1/",
        "http://[::1]/",
        "http://[::ffff:10.0.0.1]/",
        "http://[2002:a00:1::]/",
        "http://[fd00::1]/",
        "http://redis.bots.svc.cluster.local/",
        "http://metadata.google.internal/",
        "http://x.localhost./",
        "http://169%2e254.%3169.254/",
        "http://\uff11\uff16\uff19.254.169.254/",
        "http://169\u3002254.169.254/",
        "http://redis.%6c%6f%63al/",
        "http://[64:ff9b::a9fe:a9fe]/",
        "http://localhost/",
    ],
)
def test_private_addresses_are_known(address: str) -> None:
    """In every notation that connecting takes."""
    assert is_private_url(address)


@pytest.mark.parametrize(
    "address",
    ["https://example.com/a.jpg", "http://93.184.216.34/", "https://[2606:4700::1]/"],
)
def test_addresses_on_the_internet_are_not_private(address: str) -> None:
    """Names are not looked up."""
    assert not is_private_url(address)
