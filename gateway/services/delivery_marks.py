"""Adds the id of a delivery to the data of the buttons in its messages.

So the service learns which delivery a pressed button belongs to. The id follows the
data, after a control character; Telegram does not change the data of a button. The
gateway removes the id before it looks for the route of the data.
"""

_SEPARATOR = "\x1f"
"""The unit separator of ASCII. Templates of callbacks have only printable characters,
and the values of their variables are never ambiguous: the mark has a fixed length."""

_ID_LENGTH = 16


def mark_callback_data(data: str, delivery_id: str) -> str:
    """Return callback data with the id of a delivery appended, which takes 17 bytes."""
    return f"{data}{_SEPARATOR}{delivery_id}"


def split_callback_data(data: str) -> tuple[str, str | None]:
    """Return callback data without the id of a delivery, and that id.

    The id is None, and the data is unchanged, if no id was appended.
    """
    position = len(data) - _ID_LENGTH - 1
    if position < 0 or data[position] != _SEPARATOR:
        return data, None
    return data[:position], data[position + 1 :]
