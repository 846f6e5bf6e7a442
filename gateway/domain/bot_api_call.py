"""A call to the Bot API, ready to be sent."""

from typing import Any

from msgspec import Struct


class Upload(Struct, frozen=True, kw_only=True):
    """A file that is uploaded with a call.

    Attributes:
        content: the content of the file.
        file_name: the file name that the user sees.
        mime_type: the MIME type; None lets Telegram detect it.
    """

    content: bytes
    file_name: str
    mime_type: str | None = None

    def __repr__(self) -> str:
        """Show the size only: the content must not reach a log."""
        return f"Upload({len(self.content)} bytes)"


TEXT_EDITS = frozenset({"editMessageText", "editEphemeralMessageText"})
"""The methods that edit the text of a message."""


_IDEMPOTENT_PREFIXES = (
    "answer",
    "approve",
    "decline",
    "delete",
    "edit",
    "get",
    "pin",
    "sendChatAction",
    "set",
    "unpin",
)
"""Prefixes of the methods that may be executed twice.

Telegram accepts only the first answer to a query. The methods that send are missing:
the Bot API has no idempotency key, so the user would get a message twice.
"""


def is_idempotent(method: str) -> bool:
    """Return whether a second execution of a method has no visible effect."""
    return method.startswith(_IDEMPOTENT_PREFIXES)


class BotApiCall(Struct, frozen=True, kw_only=True):
    """A method with its parameters.

    Attributes:
        method: Telegram's name of the method, such as "sendMessage".
        parameters: the parameters in the JSON body.
        resend_parameters: additional parameters, such as the topic, of the new message
            that replaces a failed edit; an edit itself does not accept them. None if
            the call is not an edit, or no message replaces it.
        min_patience: a minimum, in seconds, for the time that the call is retried. It
            only matters if it is longer than REPLY_PATIENCE.
        files: the uploaded files. The key is the name of the parameter that the file
            is the value of, or the name that a parameter refers to with "attach://".
        is_verbatim: whether no part may be changed or removed after a rejection.
    """

    method: str
    parameters: dict[str, Any]
    resend_parameters: dict[str, Any] | None = None
    min_patience: float = 0
    files: dict[str, Upload] = {}
    is_verbatim: bool = False

    @property
    def chat_id(self) -> int | None:
        """The id of the chat that the call writes to; None if it names no id."""
        chat_id = self.parameters.get("chat_id")
        if chat_id is None or str(chat_id).startswith("@"):
            return None
        return int(chat_id)
