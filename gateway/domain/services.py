"""What the actors need from the services: see `ports.py`."""

from collections.abc import Callable
from typing import Protocol

from botgateway.chat.v1.reply_pb2 import Reply, RouteCall
from botgateway.route.v1.event_pb2 import Event

from gateway.domain.update import Update

INLINE_SCOPE = ""
"""The place of buttons under inline messages, of which Telegram tells no chat."""


def button_scope(chat_id: int, business_connection_id: str) -> str:
    """Give the place of buttons in a chat: their signatures are valid only there.

    A chat of a business account has the same id as the customer's chat with the bot.
    """
    return f"{chat_id}:{business_connection_id}" if chat_id else INLINE_SCOPE


class BoundCall(Protocol):
    """An update together with the route that serves it."""

    @property
    def route(self) -> str:
        """The route's name: one of the names in the route table."""

    @property
    def is_streaming(self) -> bool:
        """True: the service answers piece by piece; ask by `stream`, else by `call`."""

    @property
    def shows_typing(self) -> bool:
        """True: a user who waits is to see that the bot is typing."""

    async def call(self, internal_user_id: str) -> Reply:
        """Ask the service.

        Raises:
            ServiceError: it did not answer.
        """

    async def stream(
        self, internal_user_id: str, write: Callable[[str], None]
    ) -> Reply | None:
        """Ask the service, and take its answer piece by piece.

        Args:
            internal_user_id: who the user is.
            write: takes the next piece of the text, never an empty one.

        Returns:
            The answer as it is to stay. None: the text of the pieces.

        Raises:
            ServiceError: it did not answer, or not to the end.
        """


class ServiceRouter(Protocol):
    """The internal services behind the route table."""

    def route(self, update: Update) -> BoundCall | None:
        """Find the route that serves an update. None: there is none."""

    def route_event(self, update: Update, event: "Event.ValueType") -> BoundCall | None:
        """Find the route that serves an event around an update's user."""

    def encode_callback_data(self, call: RouteCall) -> str:
        """Give the data of a button that calls an rpc. Empty: none would."""

    def sign_callback_data(self, data: str, scope: str) -> str:
        """Give the data of a button as it goes out, signed if its route wants that.

        Args:
            data: the data of a button.
            scope: where the button will be: see `button_scope`.
        """

    async def resolve_user(self, update: Update) -> str:
        """Give the internal user id of the update's human; empty where none is known.

        Raises:
            ServiceError: the session service did not answer.
        """
