"""Who acted, and the order that an update belongs to."""

from gateway.telegram.inbound.headers import PollAnswerHeader, PollHeader
from gateway.telegram.inbound.schema import UpdateHeader, User

_PLACEHOLDER_USER_IDS = frozenset({1087968824, 136817688, 777000})
"""Senders that stand for an anonymous admin, a channel, and an automatic forward.

Many people have them in common (Bot API: Message.from).
"""


def find_human_sender(header: UpdateHeader) -> User | None:
    """Give the human who acted; None for stand-ins."""
    user = header.effective_user
    return None if user is None or user.id in _PLACEHOLDER_USER_IDS else user


def find_ordering_key(update_type: str, header: UpdateHeader, user: User | None) -> str:
    """Give the order that the update belongs to.

    One human has one lane over all chats. A private chat has the id of its user, so
    what happens there without a user is in the user's lane too.
    """
    if user is not None:
        return str(user.id)
    if isinstance(header, PollHeader | PollAnswerHeader):
        return f"poll:{header.poll_id}"
    chat = header.effective_chat
    return f"kind:{update_type}" if chat is None else str(chat.id)
