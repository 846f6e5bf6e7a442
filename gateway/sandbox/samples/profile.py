"""The profile service: maps Telegram users to the company's users."""
# ruff: noqa: N802 - rpcs have the names of their contract

import html
from typing import Any

from botgateway.chat.v1.reply_pb2 import TEXT_FORMAT_HTML, OutgoingMessage, Reply
from botgateway.profile.v1.profile_service_pb2 import (
    GetProfileRequest,
    GetProfileResponse,
    ResolveUserRequest,
    ResolveUserResponse,
    StartRequest,
    StartResponse,
)
from botgateway.profile.v1.profile_service_pb2_grpc import ProfileServiceServicer
from grpc.aio import ServicerContext

from gateway.sandbox.samples.replies import WORDS
from gateway.sandbox.samples.users import Users


class Profile(ProfileServiceServicer):
    """Gives each Telegram user an internal id, and describes users.

    Args:
        users: where the users are recorded.
    """

    def __init__(self, users: Users) -> None:
        self._users = users

    async def ResolveUser(
        self, request: ResolveUserRequest, context: ServicerContext[Any, Any]
    ) -> ResolveUserResponse:
        """Return the internal id of a Telegram user, and record the user.

        The id is always the same for a user, and empty for an update without one.
        """
        telegram_user_id = request.context.telegram_user_id
        if not telegram_user_id:
            return ResolveUserResponse()
        internal_user_id = f"u-{telegram_user_id}"
        self._users.record(request.context, internal_user_id)
        return ResolveUserResponse(internal_user_id=internal_user_id)

    async def Start(
        self, request: StartRequest, context: ServicerContext[Any, Any]
    ) -> StartResponse:
        """Welcome a user, who may have followed a link with a payload."""
        # Names and payloads are user input: escape markup in them.
        name = html.escape(request.context.first_name) or "stranger"
        lines = [f"<b>Welcome, {name}!</b>"]
        if request.payload:
            lines.append(
                f"You followed the link <i>{html.escape(request.payload)}</i>."
            )
        lines.append("Say something, send a photo, or write <code>match</code>.")
        lines.append(f"There is more to see: {', '.join(WORDS)}.")
        return StartResponse(reply=_formatted("\n".join(lines)))

    async def GetProfile(
        self, request: GetProfileRequest, context: ServicerContext[Any, Any]
    ) -> GetProfileResponse:
        """Reply with the name and the internal id of the user who asks."""
        user = request.context
        name = html.escape(user.first_name) or "No name"
        user_id = html.escape(user.internal_user_id) or "unknown"
        text = f"<b>{name}</b>\nYour user id: <code>{user_id}</code>"
        return GetProfileResponse(reply=_formatted(text))


def _formatted(text: str) -> Reply:
    return Reply(messages=[OutgoingMessage(text=text, format=TEXT_FORMAT_HTML)])
