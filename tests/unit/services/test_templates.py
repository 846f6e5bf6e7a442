"""How commands and buttons are taken apart."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.services.routing.templates import (
    parse_callback_template,
    parse_command_template,
)


@pytest.mark.parametrize(
    ("template", "arguments", "texts"),
    [
        ("/start", "", []),
        ("/start", "not asked for", []),
        ("/start {payload}", "", []),
        ("/start {payload}", "ref_77", ["ref_77"]),
        ("/start {payload}", "all  the rest", ["all  the rest"]),
        ("/pay {to} {amount} {why}", "bob", ["bob"]),
        (
            "/pay {to} {amount} {why}",
            "bob \n 5\tfor  the tea",
            ["bob", "5", "for  the tea"],
        ),
    ],
)
def test_arguments_are_separated_by_space_and_the_last_takes_the_rest(
    template: str, arguments: str, texts: list[str]
) -> None:
    assert list(parse_command_template(template).parse(arguments)) == texts


@pytest.mark.parametrize(
    ("template", "data", "texts"),
    [
        ("SETTINGS", "SETTINGS", []),
        ("SETTINGS", "SETTINGS:1", None),
        ("CONNECT:{user}", "CONNECT:7", ["7"]),
        ("CONNECT:{user}", "CONNECT:", [""]),
        ("CONNECT:{user}", "connect:7", None),
        ("CONNECT:{user}", "CONNECT", None),
        ("CONNECT:{user}", "CONNECT:a:b{c}", ["a:b{c}"]),
        ("cf:{order}:{answer}", "cf:7781:1", ["7781", "1"]),
        ("cf:{order}:{answer}", "cf:7781", None),
        ("cf:{order}:{answer}", "cf:7781:1:2", ["7781", "1:2"]),
        ("cf:{order}:end", "cf:7781:end", ["7781"]),
        ("cf:{order}:end", "cf:7781:end!", None),
    ],
)
def test_a_variable_of_a_button_ends_at_the_literal_text_behind_it(
    template: str, data: str, texts: list[str] | None
) -> None:
    """Data that does not fit to its end does not fit."""
    assert parse_callback_template(template).parse(data) == texts


@given(data=st.text(alphabet="ab:{", max_size=70))
def test_a_button_that_fits_is_put_together_again_from_its_parts(data: str) -> None:
    """Nothing of the data is lost, and nothing is added."""
    template = parse_callback_template("a:{one}:{two}b{three}")
    texts = template.parse(data)
    if texts is not None:
        parts = zip(texts, template.separators, strict=True)
        assert template.prefix + "".join(text + end for text, end in parts) == data


def test_long_data_takes_no_longer_than_its_length() -> None:
    """Nobody can keep the gateway busy with a long text of almost fitting parts."""
    template = parse_callback_template("a{one}ab{two}ab{three}c")
    start = time.thread_time()
    assert template.parse("a" * 1_000_000) is None
    assert parse_command_template("/a {b} {c}").parse(" " * 1_000_000) == []
    assert time.thread_time() - start < 20  # of the processor; else it takes hours
