"""What the Bot API answers, and what that means for the gateway.

Descriptions are compared without regard to case and by what they contain: Telegram
promises neither their wording nor the meaning of the codes. They may quote the user and
never leave this module.
"""

import re
from typing import Any

import msgspec
from msgspec import Struct

from gateway.domain.errors import (
    BotApiError,
    BotApiUnavailable,
    CallRejected,
    InvalidBotToken,
    RecipientBlocked,
    RejectedPart,
)

_IDEMPOTENT_PREFIXES = (
    "answer",
    "approve",
    "decline",
    "delete",
    "edit",
    "get",
    "sendChatAction",
    "set",
)
"""How the methods begin that may be carried out twice: a query is answered once.

A message that is sent twice is read twice: there is no idempotency key.
"""

_UPSTREAM_ERRORS = frozenset({502, 504, 520, 524})
"""A server in front asked the one behind, and got no answer that it understood (RFC
9110), or none in time; 520 and 524 are Cloudflare's words for that. The Bot API itself
answers none of them (telegram-bot-api: every 5xx of its own is a 500), so the request
may have been carried out. Any other 5xx is an answer instead of carrying it out."""

_APPLIED_PHRASES = ("immediately deleted", "request aborted")
"""A 500 of the Bot API for a message that was sent and is gone already, or for a call
that was on its way when the server shut down (telegram-bot-api, delete_message; TDLib,
request_aborted_error)."""

_PROXY_REJECTIONS = frozenset({403, 404, 408})
"""Statuses of a proxy, a firewall or a wrong path in front of the Bot API. Unless the
Bot API itself gave one as `error_code`, it speaks neither of the user nor of the token,
and the call was not carried out."""

_UPSTREAM_RESET = b"disconnect/reset before headers"
"""Envoy answers 503 also where the server behind it got the request and went away."""

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
"""telegram-bot-api, Client.cpp; TDLib, MessagesManager and MessageEntity."""

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
"""Media of this kind is not wanted in the chat; a text may be."""

_TARGET = re.compile(
    r"chat|channel|peer|topic|thread|repl(?:y|ied)|user_|\buser\b|business|write access"
)
"""What else a media method may be refused for: where it sends, and what it answers."""


class _ResponseParameters(Struct, frozen=True):
    retry_after: float = 0
    migrate_to_chat_id: int = 0


class ApiResponse(Struct):
    """The answer to one request, or what is known where none came.

    Attributes:
        ok: the call worked.
        result: what it gave back.
        error_code: Telegram's code, or the HTTP status. 0: no answer came.
        description: Telegram's words for the fault.
        parameters: how long to wait, or the chat's new id.
        maybe_applied: it is not ok, and yet the request may have been carried out.
        is_from_proxy: it is not ok, and not the Bot API's: something in front of it
            answered.
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
        """True: the message to edit looks the way it should already."""
        return "message is not modified" in self.description.lower()

    @property
    def is_transient(self) -> bool:
        """True: the same call may work a moment later."""
        if self.is_from_proxy and self.error_code in _PROXY_REJECTIONS:
            return True
        return self.error_code < 400 or self.error_code >= 500


def build_cooldown_response(seconds: float) -> ApiResponse:
    """Give the answer to a call whose chat is held back by an earlier 429."""
    return ApiResponse(
        error_code=429, parameters=_ResponseParameters(retry_after=seconds)
    )


_decoder = msgspec.json.Decoder(ApiResponse)


def parse_response(status: int, retry_after: str, body: bytes) -> ApiResponse:
    """Read an HTTP response; what is not the Bot API's has no more than its status.

    Args:
        status: the HTTP status.
        retry_after: the header of that name. Empty: there is none.
        body: the body; errors of proxies are seldom JSON.
    """
    try:
        response = _decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        response = ApiResponse()
    if response.ok:
        return response
    response.is_from_proxy = not response.error_code
    response.error_code = response.error_code or status
    response.maybe_applied = _may_be_applied(status, response, body)
    if response.error_code == 429 and response.parameters.retry_after <= 0:
        # The header may also be a date, which Telegram never sends.
        seconds = float(retry_after) if retry_after.isdecimal() else 1.0
        response.parameters = _ResponseParameters(retry_after=seconds)
    return response


def _may_be_applied(status: int, response: ApiResponse, body: bytes) -> bool:
    if status < 300:  # unreadable, but a success: it was most likely one
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
    """Give the error for an answer that is not ok."""
    code = response.error_code
    description = response.description.lower()
    if code == 429 or response.is_transient:
        return BotApiUnavailable(
            f"{method} failed with {code or 'no answer'}",
            response.parameters.retry_after,
            maybe_applied=response.maybe_applied
            and not method.startswith(_IDEMPOTENT_PREFIXES),
        )
    # A token that is no token at all gives a 404, as an unknown method does.
    if code == 401 or (code == 404 and "method not found" not in description):
        return InvalidBotToken(
            f"{method} failed with {code}: the bot token is wrong;"
            " set TELEGRAM_BOT_TOKEN to the one that BotFather gives"
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
    """Tell the media from the place that it is sent to.

    Files are refused in too many words to list them: what names nothing else means
    the media.
    """
    if code == 413:
        return RejectedPart.SIZE
    if code != 400:
        return RejectedPart.OTHER
    if any(phrase in description for phrase in _FORBIDDEN_MEDIA_PHRASES):
        return RejectedPart.MEDIA
    return RejectedPart.OTHER if _TARGET.search(description) else RejectedPart.MEDIA
