"""A call of the Bot API, ready to be sent."""

from typing import Any

from msgspec import Struct


class Upload(Struct, frozen=True, kw_only=True):
    """A file that goes along with a call.

    Attributes:
        content: the bytes.
        file_name: the name that the user sees.
        mime_type: the MIME type. Empty: Telegram finds out.
    """

    content: bytes
    file_name: str
    mime_type: str = ""

    def __repr__(self) -> str:
        """Say how large it is, and nothing of what is in it."""
        return f"Upload({len(self.content)} bytes)"


TEXT_EDITS = frozenset({"editMessageText", "editEphemeralMessageText"})
"""The methods that edit the text of a message."""


class BotApiCall(Struct, frozen=True, kw_only=True):
    """One method with its parameters.

    Attributes:
        method: Telegram's name, such as "sendMessage".
        parameters: what goes into the JSON body.
        resend_parameters: of an edit, what a new message in its place has besides, such
            as its topic. Edits themselves take none of it.
        min_patience: for how many seconds it is worth a retry where that is longer than
            REPLY_PATIENCE. 0: it is not.
        files: the files that go along, by the name of the parameter that each of them
            is, or by the name that a parameter calls it by with "attach://".
    """

    method: str
    parameters: dict[str, Any]
    resend_parameters: dict[str, Any] | None = None
    min_patience: float = 0
    files: dict[str, Upload] = {}

    @property
    def chat_id(self) -> int:
        """The chat it writes to; 0 where there is none."""
        return int(self.parameters.get("chat_id", 0))
