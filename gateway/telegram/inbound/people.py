"""Converts users and chats to the contract's messages."""

from botgateway.chat.v1 import context_pb2 as contract
from botgateway.chat.v1.context_pb2 import (
    CHAT_TYPE_CHANNEL,
    CHAT_TYPE_GROUP,
    CHAT_TYPE_PRIVATE,
    CHAT_TYPE_SUPERGROUP,
    CHAT_TYPE_UNSPECIFIED,
)

from gateway.telegram.inbound.schema import Chat, User

CHAT_TYPES = {
    "private": CHAT_TYPE_PRIVATE,
    "group": CHAT_TYPE_GROUP,
    "supergroup": CHAT_TYPE_SUPERGROUP,
    "channel": CHAT_TYPE_CHANNEL,
}
"""The contract's types by Telegram's names. Other types are unspecified."""


def convert_chat(chat: Chat) -> contract.Chat:
    """Convert a chat to the contract's Chat; an unknown type becomes unspecified."""
    return contract.Chat(
        id=chat.id,
        type=CHAT_TYPES.get(chat.type, CHAT_TYPE_UNSPECIFIED),
        title=chat.title or None,
        username=chat.username or None,
        is_forum=chat.is_forum,
        is_direct_messages=chat.is_direct_messages,
    )


def convert_user(user: User) -> contract.User:
    """Convert a user to the contract's User; empty parts stay unset."""
    return contract.User(
        id=user.id,
        is_bot=user.is_bot,
        first_name=user.first_name,
        last_name=user.last_name or None,
        username=user.username or None,
        language_code=user.language_code or None,
        is_premium=user.is_premium,
    )
