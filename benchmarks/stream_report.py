"""What the stand-ins saw of streamed answers. Times are of `time.monotonic`."""

from msgspec import Struct, field


class Stream(Struct):
    """One streamed answer.

    Attributes:
        first_token: when the service wrote it.
        last_token: when the service had written all.
        ended: when the call ended, also one that was stopped.
        first_draft: when the Bot API got it.
        last_message: when the Bot API got it.
        drafts: how many came.
        refused: how many of them were.
        messages: how many came.
        beside: drafts that were under way when a message came.
        text: of all messages.
    """

    first_token: float = 0
    last_token: float = 0
    ended: float = 0
    first_draft: float = 0
    last_message: float = 0
    drafts: int = 0
    refused: int = 0
    messages: int = 0
    beside: int = 0
    text: str = ""


class Report(Struct):
    """Everything.

    Attributes:
        streams: by the user.
        others: user and time of messages to others.
        most_at_once: drafts of one chat that were under way at once.
    """

    streams: dict[int, Stream] = field(default_factory=dict)
    others: list[tuple[int, float]] = field(default_factory=list)
    most_at_once: int = 0
