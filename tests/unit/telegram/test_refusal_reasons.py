"""What services read as the reason of a refused call."""

import msgspec
import pytest

from gateway.telegram.bot_api.responses import build_error, parse_response


@pytest.mark.parametrize(
    ("code", "description", "reason"),
    [
        (403, "Forbidden: bot was blocked by the user", "blocked_by_user"),
        (403, "Forbidden: user is deactivated", "user_deactivated"),
        (
            403,
            "Forbidden: bot can't initiate conversation with a user",
            "not_started",
        ),
        (403, "Forbidden: something new", "forbidden"),
        (400, "Bad Request: chat not found", "chat_not_found"),
        (400, "Bad Request: message to delete not found", "message_not_found"),
        (400, "Bad Request: can't parse entities: tag", "format_rejected"),
        (400, "Bad Request: something new", "rejected"),
        (401, "Unauthorized", "invalid_bot_token"),
        (429, "Too Many Requests: retry after 5", "too_many_requests"),
        (500, "Internal Server Error", "telegram_unavailable"),
    ],
)
def test_a_reason_is_a_word(code: int, description: str, reason: str) -> None:
    """The description is kept apart: it may quote a user."""
    body = msgspec.json.encode(
        {"ok": False, "error_code": code, "description": description}
    )
    error = build_error("sendMessage", parse_response(code, "", body))
    assert error.reason == reason
    assert error.description == description
    assert "something new" not in str(error)
