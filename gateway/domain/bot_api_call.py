"""A call to the Bot API: its method, parameters and files, before it is sent."""

from typing import Any

from msgspec import Struct


class Upload(Struct, frozen=True, kw_only=True):
    """A file whose content is sent to Telegram together with a call.

    Attributes:
        content: the bytes of the file.
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
    """Return whether a second execution of a Bot API method has no visible effect.

    False for methods that send a message: the user would get it twice. Unknown methods
    count as such.

    Args:
        method: Telegram's name of the method, such as "editMessageText".
    """
    return method.startswith(_IDEMPOTENT_PREFIXES)


class BotApiCall(Struct, frozen=True, kw_only=True):
    """A Bot API method with its parameters, ready for `Messenger.send`.

    Attributes:
        method: Telegram's name of the method, such as "sendMessage".
        parameters: the parameters in the JSON body.
        resend_parameters: additional parameters, such as the topic, of the new message
            that replaces a failed edit; an edit itself does not accept them. None if
            the call is not an edit, or if no message replaces it.
        min_patience: the minimum number of seconds, counted from the first failure, for
            which the call is retried; it applies if the sender passes a lower
            `patience`.
        files: the uploaded files. The key is the name of the parameter whose value is
            the file, or the name that a parameter refers to with "attach://".
        is_verbatim: True if the call must be sent exactly as it is, so that a rejection
            is final. False if the sender may remove or change the part that Telegram
            rejects, and call again.
    """

    method: str
    parameters: dict[str, Any]
    resend_parameters: dict[str, Any] | None = None
    min_patience: float = 0
    files: dict[str, Upload] = {}
    is_verbatim: bool = False

    @property
    def chat_id(self) -> int | None:
        """The id of the chat that the call writes to.

        None if the call has no `chat_id`, as an answer to a query, or names the chat by
        its @username.
        """
        chat_id = self.parameters.get("chat_id")
        if chat_id is None or str(chat_id).startswith("@"):
            return None
        return int(chat_id)
