"""Who acted, and the order that an update belongs to."""

from gateway.telegram.inbound.headers import Poll, PollAnswer
from gateway.telegram.inbound.schema import Happening, User

_STAND_INS = frozenset({1087968824, 136817688, 777000})
"""Senders that stand for an anonymous admin, a channel, and an automatic forward.

Many people have them in common (Bot API: Message.from).
"""


def human(happening: Happening) -> User | None:
    """Give the human who acted; None for stand-ins."""
    user = happening.actor
    return None if user is None or user.id in _STAND_INS else user


def lane_of(kind: str, happening: Happening, user: User | None) -> str:
    """Give the order that the update belongs to.

    One human has one lane over all chats. A private chat has the id of its user, so
    what happens there without a user is in the user's lane too.
    """
    if user is not None:
        return str(user.id)
    if isinstance(happening, Poll | PollAnswer):
        return f"poll:{happening.poll_id}"
    chat = happening.place
    return f"kind:{kind}" if chat is None else str(chat.id)
