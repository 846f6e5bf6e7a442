"""A call of the Bot API, ready to be sent."""

from typing import Any

from msgspec import Struct


class Call(Struct, frozen=True, kw_only=True):
    """One method with its parameters.

    Attributes:
        method: Telegram's name, such as "sendMessage".
        parameters: what goes into the JSON body.
        anew: of an edit, what a new message in its place has besides, such as its
            topic. Edits themselves take none of it.
    """

    method: str
    parameters: dict[str, Any]
    anew: dict[str, Any] | None = None

    @property
    def chat_id(self) -> int:
        """The chat it writes to; 0 where there is none."""
        return int(self.parameters.get("chat_id", 0))
