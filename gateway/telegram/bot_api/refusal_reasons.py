"""Names the reason of a refused call by a word for services: "blocked_by_user".

The phrases come from Telegram's descriptions of errors, which are searched regardless
of case: Telegram promises no wording.
"""

from gateway.domain.errors import (
    BotApiError,
    BotApiUnavailable,
    CallRejected,
    InvalidBotToken,
    RecipientBlocked,
    RejectedPart,
)

_REASONS = (
    ("bot was blocked by the user", "blocked_by_user"),
    ("user is deactivated", "user_deactivated"),
    ("can't initiate conversation", "not_started"),
    ("bot can't send messages to bots", "is_bot"),
    ("bot was kicked", "kicked"),
    ("bot is not a member", "not_a_member"),
    ("chat not found", "chat_not_found"),
    ("peer_id_invalid", "chat_not_found"),
    ("user not found", "user_not_found"),
    ("not enough rights", "not_enough_rights"),
    ("have no rights", "not_enough_rights"),
    ("chat_write_forbidden", "not_enough_rights"),
    ("message to delete not found", "message_not_found"),
    ("message to edit not found", "message_not_found"),
    ("message to pin not found", "message_not_found"),
    ("message to unpin not found", "message_not_found"),
    ("message to react not found", "message_not_found"),
    ("message_id_invalid", "message_not_found"),
    ("message can't be deleted", "message_not_deletable"),
    ("message can't be edited", "message_not_editable"),
    ("there is no text in the message to edit", "message_not_editable"),
    ("not_modified", "not_modified"),
    ("reaction_invalid", "reaction_invalid"),
    ("method not found", "unknown_method"),
)
"""Sources: telegram-bot-api, Client.cpp; TDLib, MessagesManager and DialogManager."""

_REASONS_BY_TYPE: dict[type[BotApiError], str] = {
    BotApiUnavailable: "telegram_unavailable",
    RecipientBlocked: "forbidden",
    InvalidBotToken: "invalid_bot_token",
}


def find_reason(error: BotApiError, description: str) -> str:
    """Return a word for the reason of a failed call, such as "blocked_by_user".

    "rejected" stands for any reason that has no word of its own.

    Args:
        error: the error that the gateway raises for the call.
        description: Telegram's description of the error; "" if there is none.
    """
    lower = description.lower()
    for phrase, reason in _REASONS:
        if phrase in lower:
            return reason
    if isinstance(error, CallRejected) and error.part is not RejectedPart.OTHER:
        return f"{error.part}_rejected"
    if isinstance(error, BotApiUnavailable) and error.retry_after is not None:
        return "too_many_requests"
    return _REASONS_BY_TYPE.get(type(error), "rejected")
