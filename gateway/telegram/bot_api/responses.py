"""Parses the responses of the Bot API and translates them into errors of the gateway.

Error descriptions are searched for known phrases, regardless of case: Telegram promises
neither their wording nor the meaning of the codes. They may quote the user, so no
message of an error contains one.
"""

import re
from typing import Any

import msgspec
from msgspec import Struct

from gateway.domain.bot_api_call import is_idempotent
from gateway.domain.errors import (
    BotApiError,
    BotApiUnavailable,
    CallRejected,
    InvalidBotToken,
    RecipientBlocked,
    RejectedPart,
)
from gateway.telegram.bot_api.refusal_reasons import find_reason

_UPSTREAM_ERRORS = frozenset({502, 504, 520, 524})
"""Statuses of a proxy that got no valid response from its upstream (RFC 9110), or none
in time; 520 and 524 are Cloudflare's own. The Bot API itself returns none of them
(telegram-bot-api: every 5xx of its own is a 500), so the request may have been
executed. Any other 5xx means that it was not executed."""

_APPLIED_PHRASES = ("immediately deleted", "request aborted")
"""Phrases of a 500 of the Bot API for a message that was sent and is already deleted,
or for a call that was in progress when the server shut down (telegram-bot-api,
delete_message; TDLib, request_aborted_error)."""

_PROXY_REJECTIONS = frozenset({403, 404, 408})
"""Statuses of a proxy, a firewall or a wrong path in front of the Bot API. Unless the
Bot API itself returned one as `error_code`, it says nothing about the user or the
token, and the call was not executed."""

_UPSTREAM_RESET = b"disconnect/reset before headers"
"""Envoy also returns 503 if its upstream got the request and closed the connection."""

_ERROR_PATTERNS = (
    # The order matters: "can't parse entities" may name any tag, also "button".
    (RejectedPart.FORMAT, ("can't parse entities",)),
    (RejectedPart.KEYBOARD, ("reply markup", "reply_markup", "keyboard", "button")),
    (
        RejectedPart.EDIT,
        (
            "message to edit not found",
            "message can't be edited",
            "there is no text in the message to edit",
            "message_id_invalid",
        ),
    ),
    (RejectedPart.REPLY, ("to be replied not found",)),
    (RejectedPart.TOPIC, ("message thread not found", "topic_deleted")),
    (
        RejectedPart.TOO_LATE,
        (
            "query is too old",
            "query id is invalid",
            "query_id_invalid",
            "hide_requester_missing",
            "user_already_participant",
        ),
    ),
    (RejectedPart.SIZE, ("file is too big",)),
    (
        RejectedPart.MEDIA,
        (
            "file identifier",
            "http url",
            "web page content",
            "webpage_",
            "can't use file of type",
            "file must be non-empty",
            "photo_",
            "image_process_failed",
        ),
    ),
)
"""Sources: telegram-bot-api, Client.cpp; TDLib, MessagesManager and MessageEntity."""

_MEDIA_METHODS = frozenset(
    {
        "sendAnimation",
        "sendAudio",
        "sendDocument",
        "sendMediaGroup",
        "sendPhoto",
        "sendSticker",
        "sendVideo",
        "sendVoice",
    }
)

_FORBIDDEN_MEDIA_PHRASES = (
    "not enough rights to send",
    "chat_send_",
    "restricted receiving of",
)
"""The chat does not allow this kind of media, but it may allow a text."""

_TARGET = re.compile(
    r"chat|channel|peer|topic|thread|repl(?:y|ied)|user_|\buser\b|business|write access"
)
"""Words for the other reasons to reject a media method: the chat that it sends to, and
the message that it replies to."""


class _ResponseParameters(Struct, frozen=True):
    retry_after: float = 0
    migrate_to_chat_id: int = 0


class ApiResponse(Struct):
    """The outcome of one request: the Bot API's response, or that none arrived.

    Attributes:
        ok: whether the call succeeded.
        result: the value that the method returned; None if the call failed.
        error_code: Telegram's error code, or the HTTP status, or 0 if no response
            arrived.
        description: Telegram's description of the error.
        parameters: the seconds to wait after a 429, or the new id of a chat that became
            a supergroup; 0 where they do not apply.
        maybe_applied: whether the call failed although it may have been executed.
        is_from_proxy: whether the call failed because a proxy responded instead of the
            Bot API.
    """

    ok: bool = False
    result: Any = None
    error_code: int = 0
    description: str = ""
    parameters: _ResponseParameters = _ResponseParameters()
    maybe_applied: bool = False
    is_from_proxy: bool = False

    @property
    def is_not_modified(self) -> bool:
        """Whether the message already has the content that the edit asks for."""
        return "message is not modified" in self.description.lower()

    @property
    def is_transient(self) -> bool:
        """Whether the same call may succeed a moment later.

        Only for calls that failed. True for an error of the server, for no response and
        for a proxy's rejection; False for a rejection by the Bot API, including a 429.
        """
        if self.is_from_proxy and self.error_code in _PROXY_REJECTIONS:
            return True
        return self.error_code < 400 or self.error_code >= 500


def build_cooldown_response(seconds: float) -> ApiResponse:
    """Return a 429 for a call that was not made because its chat has a cool-down.

    Args:
        seconds: the seconds until the cool-down ends.
    """
    return ApiResponse(
        error_code=429, parameters=_ResponseParameters(retry_after=seconds)
    )


_decoder = msgspec.json.Decoder(ApiResponse)


def parse_response(status: int, retry_after: str, body: bytes) -> ApiResponse:
    """Parse an HTTP response. Never raises: a body that is not JSON is a failed call.

    Args:
        status: the HTTP status.
        retry_after: the Retry-After header, or an empty string if there is none.
        body: the body. If it is not the Bot API's JSON, such as a proxy's error page,
            the result is built from the other arguments.
    """
    try:
        response = _decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        response = _decode_leniently(body)
    if response.ok:
        return response
    response.is_from_proxy = not response.error_code
    response.error_code = response.error_code or status
    response.maybe_applied = _may_be_applied(status, response, body)
    if response.error_code == 429 and response.parameters.retry_after <= 0:
        # The header may also be a date, but Telegram never sends one.
        seconds = float(retry_after) if retry_after.isdecimal() else 1.0
        response.parameters = _ResponseParameters(retry_after=seconds)
    return response


def _decode_leniently(body: bytes) -> ApiResponse:
    """Decode a body of any encoding; return an empty response if it is not JSON.

    The Bot API server passes on whatever bytes a user's client put into a button
    (telegram-bot-api, Client.cpp: json_store_callback_query_payload). One such update
    must not make all the updates of a call unreadable.
    """
    try:
        return _decoder.decode(body.decode(errors="replace"))
    except (msgspec.MsgspecError, RecursionError):
        return ApiResponse()


def _may_be_applied(status: int, response: ApiResponse, body: bytes) -> bool:
    if status < 300:  # The body is unreadable, but the call most likely succeeded.
        return True
    if response.error_code in _UPSTREAM_ERRORS or status in _UPSTREAM_ERRORS:
        return True
    description = response.description.lower()
    if response.error_code >= 500 and any(
        phrase in description for phrase in _APPLIED_PHRASES
    ):
        return True
    return _UPSTREAM_RESET in body


def build_error(method: str, response: ApiResponse) -> BotApiError:
    """Return the error for a response that is not ok, with its reason for services.

    Args:
        method: Telegram's name of the method that was called.
        response: the response, whose description must not contain the token.
    """
    error = _classify_error(method, response)
    error.description = response.description
    error.reason = find_reason(error, response.description)
    return error


def _classify_error(method: str, response: ApiResponse) -> BotApiError:
    code = response.error_code
    description = response.description.lower()
    if code == 429 or response.is_transient:
        return BotApiUnavailable(
            f"{method} failed with {code or 'no response'}",
            response.parameters.retry_after or None,
            maybe_applied=response.maybe_applied and not is_idempotent(method),
        )
    # A malformed token causes a 404, and so does an unknown method.
    if code == 401 or (code == 404 and "method not found" not in description):
        return InvalidBotToken(
            f"{method} failed with {code}: the bot token is invalid;"
            " set TELEGRAM_BOT_TOKEN to the token from BotFather"
        )
    if code == 403:
        return RecipientBlocked(
            f"{method} is forbidden: the bot cannot write to this chat"
        )
    part = _find_rejected_part(description)
    if part is RejectedPart.OTHER and method in _MEDIA_METHODS:
        part = _find_rejected_media_part(code, description)
    return CallRejected(method, code, part)


def _find_rejected_part(description: str) -> RejectedPart:
    for part, phrases in _ERROR_PATTERNS:
        if any(phrase in description for phrase in phrases):
            return part
    return RejectedPart.OTHER


def _find_rejected_media_part(code: int, description: str) -> RejectedPart:
    """Decide whether a rejection is about the media or about the target chat.

    Telegram rejects files in too many wordings to list. A description that names
    nothing else is therefore about the media.
    """
    if code == 413:
        return RejectedPart.SIZE
    if code != 400:
        return RejectedPart.OTHER
    if any(phrase in description for phrase in _FORBIDDEN_MEDIA_PHRASES):
        return RejectedPart.MEDIA
    return RejectedPart.OTHER if _TARGET.search(description) else RejectedPart.MEDIA
