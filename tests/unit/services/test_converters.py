"""How a text becomes the value of a field."""

import math

import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message_factory import GetMessageClass
from hypothesis import given
from hypothesis import strategies as st

from gateway.services.routing.converters import get_converter, to_upper_snake
from tests.support.services.made_up import Rpc, a_service

INTEGERS = [
    f"{sign}{bits}"
    for sign in ("int", "sint", "sfixed", "uint", "fixed")
    for bits in (32, 64)
]
KINDS = [*INTEGERS, "float", "double", "bool", "string", "bytes"]
REQUEST = (
    a_service(
        Rpc(
            (),
            {kind: kind for kind in KINDS}
            | {
                "enum": "enum botgateway.chat.v1.ChatType",
                "list": "repeated string",
                "message": "botgateway.chat.v1.Reply",
            },
        )
    )
    .methods[0]
    .input_type
)


def field(kind: str) -> FieldDescriptor:
    """Return a field of that kind."""
    return REQUEST.fields_by_name[kind]


def convert(kind: str, text: str) -> object:
    """Convert a text for a field of that kind."""
    converted = get_converter(field(kind))
    assert converted
    return converted(text)


def limits(kind: str) -> tuple[int, int]:
    """Return the lowest and the highest number of an integer kind."""
    bits = int(kind[-2:])
    if kind.startswith(("uint", "fixed")):
        return 0, 2**bits - 1
    return -(2 ** (bits - 1)), 2 ** (bits - 1) - 1


@pytest.mark.parametrize("kind", INTEGERS)
def test_an_integer_is_taken_up_to_the_limits_of_its_field(kind: str) -> None:
    """What would not fit is no match, instead of an error or another number."""
    low, high = limits(kind)
    assert convert(kind, str(low)) == low
    assert convert(kind, str(high)) == high
    for text in str(low - 1), str(high + 1), "9" * 5000:
        with pytest.raises(ValueError):  # noqa: PT011 - the class is the contract
            convert(kind, text)


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("string", "", ""),
        ("string", " {Ä} ", " {Ä} "),
        ("bytes", "Ä", b"\xc3\x84"),
        ("int32", "007", 7),
        ("double", "-1.5e3", -1500.0),
        ("double", ".5", 0.5),
        ("float", "3.4e38", 3.4e38),
        ("bool", "TRUE", True),
        ("bool", "1", True),
        ("bool", "false", False),
        ("bool", "0", False),
        ("enum", "CHAT_TYPE_GROUP", 2),
        ("enum", "chat_type_group", 2),
        ("enum", "Group", 2),
    ],
)
def test_a_plain_text_becomes_its_value(kind: str, text: str, value: object) -> None:
    """Enums go by name, in any case, with or without the enum's own name."""
    assert convert(kind, text) == value


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("int32", ""),
        ("int32", "1_000"),
        ("int32", " 1"),
        ("int32", "+1"),
        ("int32", "1.0"),
        ("int32", "٣"),
        ("int32", "1\n"),
        ("double", ""),
        ("double", "."),
        ("double", "nan"),
        ("double", "inf"),
        ("double", "1e999"),
        ("double", "1_0.0"),
        ("double", "1.2.3"),
        ("float", "3.5e38"),
        ("bool", ""),
        ("bool", "yes"),
        ("enum", ""),
        ("enum", "2"),
        ("enum", "CHAT_TYPE_"),
    ],
)
def test_any_other_notation_is_refused(kind: str, text: str) -> None:
    """Python's own int() and float() would take half of these."""
    with pytest.raises(ValueError):  # noqa: PT011 - the class is the contract
        convert(kind, text)


@pytest.mark.parametrize("kind", ["list", "message"])
def test_a_field_that_is_not_a_scalar_has_no_converter(kind: str) -> None:
    """Variables are for scalars."""
    assert get_converter(field(kind)) is None


@given(
    kind=st.sampled_from([*KINDS, "enum"]),
    text=st.one_of(
        st.text(max_size=64),
        st.from_regex(r"[-+]?[0-9.]{1,50}(e[-+]?[0-9]{1,4})?", fullmatch=True),
    ),
)
def test_a_field_takes_what_a_converter_gives(kind: str, text: str) -> None:
    """A request can always be built from what was found to fit."""
    try:
        value = convert(kind, text)
    except ValueError:
        return
    stored = getattr(GetMessageClass(REQUEST)(**{kind: value}), kind)
    assert stored == pytest.approx(value) if kind == "float" else stored == value
    assert not isinstance(stored, float) or math.isfinite(stored)


@pytest.mark.parametrize(
    ("name", "snake"),
    [
        ("Conversation", "CONVERSATION"),
        ("OrderHistory", "ORDER_HISTORY"),
        ("HTTPGate", "HTTP_GATE"),
        ("AI", "AI"),
        ("Web3Wallet", "WEB3_WALLET"),
    ],
)
def test_camel_case_becomes_upper_snake(name: str, snake: str) -> None:
    """Names in settings and of enums are written in upper snake case."""
    assert to_upper_snake(name) == snake
