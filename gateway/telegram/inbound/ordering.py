"""Determines who acted in an update, and the ordering key of the update."""

from gateway.telegram.inbound.headers import PollAnswerHeader, PollHeader
from gateway.telegram.inbound.schema import Chat, UpdateHeader, UpdateOrigin, User

_PLACEHOLDER_USER_IDS = frozenset({1087968824, 136817688, 777000})
"""Placeholders for an anonymous admin, a channel and an automatic forward.

Many people share them as senders (Bot API: Message.from).
"""


def find_human_sender(origin: UpdateOrigin) -> User | None:
    """Return who acted; None if nobody did, or only a placeholder for several people.

    Bots count as senders here. The placeholders are Telegram's accounts for anonymous
    administrators, channels and automatic forwards.
    """
    user = origin.user
    return None if user is None or user.id in _PLACEHOLDER_USER_IDS else user


def find_ordering_key(
    update_type: str, header: UpdateHeader, user: User | None, chat: Chat | None
) -> str:
    """Return the ordering key of an update, without the bot before it.

    All updates of one user have the same ordering key in all chats. A private chat has
    the id of its user, so updates of that chat without a user also have this key.

    Args:
        update_type: Telegram's name of the update type.
        header: the decoded header, which may name a poll.
        user: the sender, as `find_human_sender` returns it; None if there is none.
        chat: the chat; None if the update has none.
    """
    if user is not None:
        return str(user.id)
    if isinstance(header, PollHeader | PollAnswerHeader):
        return f"poll:{header.poll_id}"
    return f"kind:{update_type}" if chat is None else str(chat.id)
