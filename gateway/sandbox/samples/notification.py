"""The notification service: whether users want notifications and can be reached."""
# ruff: noqa: N802 - rpcs have the names of their contract

from typing import Any

from botgateway.chat.v1.reply_pb2 import OutgoingMessage, Reply
from botgateway.notification.v1.notification_service_pb2 import (
    ReportReachabilityRequest,
    ReportReachabilityResponse,
    SetPreferenceRequest,
    SetPreferenceResponse,
)
from botgateway.notification.v1.notification_service_pb2_grpc import (
    NotificationServiceServicer,
)
from botgateway.route.v1.event_pb2 import EVENT_USER_UNBLOCKED_BOT
from grpc.aio import ServicerContext


class Notification(NotificationServiceServicer):
    """Remembers, in memory, who wants no notifications and who blocked the bot."""

    def __init__(self) -> None:
        self._switched_off: set[int] = set()
        self._unreachable: set[int] = set()

    async def SetPreference(
        self, request: SetPreferenceRequest, context: ServicerContext[Any, Any]
    ) -> SetPreferenceResponse:
        """Turn a user's notifications on or off; reply to other words with help."""
        user = request.context.telegram_user_id
        setting = request.setting.strip().lower()
        if setting == "off":
            self._switched_off.add(user)
        elif setting == "on":
            self._switched_off.discard(user)
        text = f"Notifications are {'off' if user in self._switched_off else 'on'}."
        if setting not in {"on", "off"}:
            text += " Switch them with /notifications on or /notifications off."
        return SetPreferenceResponse(reply=_say(text))

    async def ReportReachability(
        self, request: ReportReachabilityRequest, context: ServicerContext[Any, Any]
    ) -> ReportReachabilityResponse:
        """Record whether a user has blocked the bot, and greet users who unblock it."""
        user = request.context.telegram_user_id
        if request.event != EVENT_USER_UNBLOCKED_BOT:
            self._unreachable.add(user)
            return ReportReachabilityResponse()
        self._unreachable.discard(user)
        return ReportReachabilityResponse(reply=_say("Good to have you back!"))


def _say(text: str) -> Reply:
    return Reply(messages=[OutgoingMessage(text=text)])
