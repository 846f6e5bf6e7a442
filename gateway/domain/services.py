"""The ports to the services. See `ports.py`."""

from collections.abc import Callable
from typing import Protocol

from botgateway.chat.v1.reply_pb2 import Reply, RouteCall
from botgateway.route.v1.event_pb2 import Event

from gateway.domain.update import Update

INLINE_SCOPE = ""
"""The scope of buttons under inline messages, for which Telegram names no chat."""


def button_scope(chat_id: int, business_connection_id: str) -> str:
    """Return the scope of the buttons in a chat: their signatures are valid only there.

    The business connection is part of the scope because a chat of a business account
    has the same id as the customer's chat with the bot.
    """
    return f"{chat_id}:{business_connection_id}" if chat_id else INLINE_SCOPE


class BoundCall(Protocol):
    """An update together with the route that serves it."""

    @property
    def route(self) -> str:
        """The name of the route in the route table."""

    @property
    def is_streaming(self) -> bool:
        """Whether the service streams its reply: use `stream`, otherwise `call`."""

    @property
    def shows_typing(self) -> bool:
        """Whether to show a waiting user that the bot is typing."""

    async def call(self, internal_user_id: str) -> Reply:
        """Call the service and return its reply.

        Raises:
            ServiceError: the service did not reply.
        """

    async def stream(
        self, internal_user_id: str, write: Callable[[str], None]
    ) -> Reply | None:
        """Call the service and receive its reply in chunks.

        Args:
            internal_user_id: the internal id of the user.
            write: called with each chunk of the text, never with an empty one.

        Returns:
            The final reply, or None if it is the text of the chunks.

        Raises:
            ServiceError: the service did not reply, or did not complete its reply.
        """


class ServiceRouter(Protocol):
    """Routes updates to the internal services by the route table."""

    def route(self, update: Update) -> BoundCall | None:
        """Return the call of the route that serves an update, or None."""

    def route_event(self, update: Update, event: "Event.ValueType") -> BoundCall | None:
        """Return the call of the route that serves an event of the user, or None."""

    def encode_callback_data(self, call: RouteCall) -> str:
        """Return the data of a button that calls an rpc.

        Returns an empty string if no button could call it.
        """

    def sign_callback_data(self, data: str, scope: str) -> str:
        """Return the data of a button, signed if its route requires that.

        Args:
            data: the data of a button.
            scope: the scope of the button: see `button_scope`.
        """

    async def resolve_user(self, update: Update) -> str:
        """Return the internal id of the update's human user.

        Returns an empty string if no id is known.

        Raises:
            ServiceError: the session service did not reply.
        """
