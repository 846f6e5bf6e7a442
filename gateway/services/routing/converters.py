"""Converts the text of a template's variable to the value of a request's field.

Only plain notations are accepted, because callback data may be forged: int() and
float() would also read underscores, spaces, "nan" and digits of other scripts.
"""

import re
from collections.abc import Callable
from math import isfinite

from google.protobuf.descriptor import EnumDescriptor, FieldDescriptor

Converter = Callable[[str], object]
"""Returns the value of a text, or raises ValueError if the text is not valid."""

_INTEGER = re.compile(r"-?[0-9]{1,20}")  # long enough for 64 bits
_DECIMAL = re.compile(r"[+-]?[0-9.]+([eE][+-]?[0-9]+)?")

# The largest finite 32-bit float: protobuf stores larger numbers as infinity.
_FLOAT_MAX = (2 - 2**-23) * 2.0**127
_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}


def get_converter(field: FieldDescriptor) -> Converter | None:
    """Return the function that converts a text to a value of a field.

    Returns:
        The converter; None if the field is repeated or a message, which no text can
        fill.
    """
    if field.is_repeated:
        return None
    if field.enum_type:
        return _make_enum_converter(field.enum_type)
    return _SCALAR_CONVERTERS.get(field.type)


def _make_integer_converter(low: int, high: int) -> Converter:
    def convert(text: str) -> int:
        if not _INTEGER.fullmatch(text):
            raise ValueError("not an integer")
        if not low <= (value := int(text)) <= high:
            raise ValueError("out of the field's range")
        return value

    return convert


def _make_decimal_converter(limit: float) -> Converter:
    def convert(text: str) -> float:
        if not _DECIMAL.fullmatch(text):
            raise ValueError("not a decimal number")
        value = float(text)
        if not isfinite(value) or abs(value) > limit:
            raise ValueError("out of the field's range")
        return value

    return convert


def _convert_boolean(text: str) -> bool:
    try:
        return _BOOLEANS[text.lower()]
    except KeyError:
        raise ValueError("neither true nor false") from None


def _make_enum_converter(enum: EnumDescriptor) -> Converter:
    """Accept the name of a value in any case, with or without the enum's prefix."""
    prefix = to_upper_snake(enum.name) + "_"
    values = {value.name.removeprefix(prefix).lower(): value for value in enum.values}
    values |= {value.name.lower(): value for value in enum.values}
    numbers = {name: value.number for name, value in values.items()}

    def convert(text: str) -> int:
        try:
            return numbers[text.lower()]
        except KeyError:
            raise ValueError("not a value of the enum") from None

    return convert


def to_upper_snake(name: str) -> str:
    """Convert CamelCase to UPPER_SNAKE: "OrderHistory" becomes "ORDER_HISTORY"."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).upper()


_SIGNED_32 = _make_integer_converter(-(2**31), 2**31 - 1)
_SIGNED_64 = _make_integer_converter(-(2**63), 2**63 - 1)
_UNSIGNED_32 = _make_integer_converter(0, 2**32 - 1)
_UNSIGNED_64 = _make_integer_converter(0, 2**64 - 1)
_SCALAR_CONVERTERS: dict[int, Converter] = {
    FieldDescriptor.TYPE_STRING: str,
    FieldDescriptor.TYPE_BYTES: str.encode,
    FieldDescriptor.TYPE_BOOL: _convert_boolean,
    FieldDescriptor.TYPE_FLOAT: _make_decimal_converter(_FLOAT_MAX),
    FieldDescriptor.TYPE_DOUBLE: _make_decimal_converter(float("inf")),
    FieldDescriptor.TYPE_INT32: _SIGNED_32,
    FieldDescriptor.TYPE_SINT32: _SIGNED_32,
    FieldDescriptor.TYPE_SFIXED32: _SIGNED_32,
    FieldDescriptor.TYPE_INT64: _SIGNED_64,
    FieldDescriptor.TYPE_SINT64: _SIGNED_64,
    FieldDescriptor.TYPE_SFIXED64: _SIGNED_64,
    FieldDescriptor.TYPE_UINT32: _UNSIGNED_32,
    FieldDescriptor.TYPE_FIXED32: _UNSIGNED_32,
    FieldDescriptor.TYPE_UINT64: _UNSIGNED_64,
    FieldDescriptor.TYPE_FIXED64: _UNSIGNED_64,
}
