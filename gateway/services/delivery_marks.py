"""Marks the data of a button with the delivery whose message has the button.

The id of the delivery stands behind the data, after a control character. Telegram does
not change the data of a button. A mark is removed before the data is routed.
"""

_SEPARATOR = "\x1f"
"""The unit separator of ASCII. Templates of callbacks have only printable characters,
and the values of their variables are never ambiguous: the mark has a fixed length."""

_ID_LENGTH = 16


def mark_callback_data(data: str, delivery_id: str) -> str:
    """Return callback data with the id of a delivery."""
    return f"{data}{_SEPARATOR}{delivery_id}"


def split_callback_data(data: str) -> tuple[str, str | None]:
    """Return callback data without its mark, and the id of the delivery.

    The id is None if the data has no mark.
    """
    position = len(data) - _ID_LENGTH - 1
    if position < 0 or data[position] != _SEPARATOR:
        return data, None
    return data[:position], data[position + 1 :]
