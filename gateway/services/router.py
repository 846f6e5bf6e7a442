"""Finds the rpc that serves an update, and binds the update to it."""

import time
from collections.abc import Callable, Mapping
from typing import Any

from botgateway.chat.v1.message_pb2 import IncomingMessage
from botgateway.chat.v1.reply_pb2 import OutgoingMessage, Reply, RouteCall
from botgateway.chat.v1.update_pb2 import CallbackQuery
from botgateway.route.v1.event_pb2 import Event

from gateway.domain.services import BoundCall, button_scope
from gateway.domain.update import Update
from gateway.services.button_signatures import ButtonSigner
from gateway.services.channels import Channels
from gateway.services.routing.route import Route
from gateway.services.routing.route_loader import HELP
from gateway.services.routing.route_table import RouteTable
from gateway.services.routing.update_types import values_of
from gateway.services.rpc_client import Rpc


class Dispatch:
    """The services behind the route table."""

    def __init__(
        self,
        table: RouteTable,
        channels: Channels,
        timeouts: Mapping[str, float],
        stream_timeouts: Mapping[str, float],
        address_files: Callable[[IncomingMessage], None] | None = None,
        *,
        now: Callable[[], float] = time.time,
        signer: ButtonSigner | None = None,
    ) -> None:
        """Prepare the rpc of every route.

        Args:
            table: the routes.
            channels: open channels to the services that have a route.
            timeouts: deadline of each of these services in seconds, by its name in
                settings. It covers both attempts.
            stream_timeouts: the same for answers that come piece by piece.
            address_files: puts into a message the addresses of its files. None: they
                have none.
            now: seconds since the epoch, by the clock that the arrival of updates is
                noted by.
            signer: signs the buttons of routes that want it, and knows them again.
                None: such buttons cannot be pressed.
        """
        self._table = table
        self._signer = signer
        self._rpcs = {
            route: Rpc(
                route,
                channels[route.service],
                (stream_timeouts if route.streams else timeouts)[route.service],
                address_files,
                now,
            )
            for route in table.routes
        }
        self._help = _Help(table)

    def route(self, update: Update) -> BoundCall | None:
        """Find the route that serves an update. None: there is none.

        A pressed button is never taken for a text, nor is a command. An event goes
        before the kind of update that tells of it.

        Raises:
            Malformed: the route wants what the update holds, and that has parts of a
                wrong type.
        """
        if update.event:
            event = self.route_event(update, update.event)
            return event or self._find_update(update)
        if update.trigger_name and (match := self._find_update(update)):
            return match
        if update.callback_query_id:
            return self._find_callback(update)
        if update.command:
            return self._find_command(update)
        if update.message is not None and self._table.text:
            return self._call(self._table.text, update, {})
        return None

    def route_event(self, update: Update, event: "Event.ValueType") -> BoundCall | None:
        """Find the route that serves an event around an update's user."""
        if not (route := self._table.by_event.get(event)):
            return None
        values = {route.event_field: event} if route.event_field else {}
        return _Call(self._rpcs[route], update, values)

    def encode_callback_data(self, call: RouteCall) -> str:
        """Give the data of a button that calls an rpc. Empty: none would."""
        return self._table.render(call)

    def sign_callback_data(self, data: str, place: str) -> str:
        """Give the data of a button as it goes out, signed if its route wants that."""
        if self._signer is not None and self._table.wants_signature(data):
            return self._signer.sign(data, place)
        return data

    async def resolve_user(self, update: Update) -> str:
        """Give the internal user id of the update's human; empty where none is known.

        Raises:
            ServiceError: the session service did not answer.
        """
        route = self._table.session
        if not route or not update.has_session:
            return ""
        response = await self._rpcs[route](update, {}, "")
        return str(getattr(response, route.answer_field))

    def _find_update(self, update: Update) -> BoundCall | None:
        if not (route := self._table.by_update.get(update.trigger_name)):
            return None
        return self._call(route, update, {})

    def _find_callback(self, update: Update) -> BoundCall | None:
        data, is_signed = self._read_signature(update)
        if (found := self._table.serving(data)) is None:
            return None
        route, values = found
        if route.signed and not is_signed:
            return None
        match = self._call(route, update, values)
        query = values.get(route.details_field)
        if isinstance(query, CallbackQuery):
            query.data = data
        return match

    def _read_signature(self, update: Update) -> tuple[str, bool]:
        """Give the data of a pressed button, and whether it is signed for its place."""
        data, context = update.callback_data, update.context
        if self._signer is None:
            return data, False
        place = button_scope(context.chat_id, context.business_connection_id)
        signed = self._signer.read(data, place)
        return (data, False) if signed is None else (signed, True)

    def _find_command(self, update: Update) -> BoundCall | None:
        if update.command == HELP:
            return self._help
        route = self._table.by_command.get(update.command)
        if not route or (values := route.bind(update.arguments)) is None:
            return None
        return self._call(route, update, values)

    def _call(self, route: Route, update: Update, values: dict[str, Any]) -> BoundCall:
        """Bind an update to the rpc of a route, with all that its request has room for.

        Raises:
            Malformed: a part that the request has room for has a wrong type.
        """
        if route.details_field or route.json_field:
            values |= values_of(update, route.details_field, route.json_field)
        return _Call(self._rpcs[route], update, values)


class _Help:
    """The answer to /help, which no service gives."""

    route = f"/{HELP}"
    is_streaming = False
    shows_typing = False

    def __init__(self, table: RouteTable) -> None:
        lines = (f"/{name} - {description}" for name, description in table.commands)
        self._text = "\n".join(lines)

    async def call(self, internal_user_id: str) -> Reply:
        return Reply(messages=[OutgoingMessage(text=self._text)])

    async def stream(
        self, internal_user_id: str, write: Callable[[str], None]
    ) -> Reply | None:
        return await self.call(internal_user_id)


class _Call:
    """An update together with the rpc that serves it."""

    __slots__ = ("_rpc", "_update", "_values")

    def __init__(self, rpc: "Rpc", update: Update, values: dict[str, Any]) -> None:
        self._rpc = rpc
        self._update = update
        self._values = values

    @property
    def route(self) -> str:
        return self._rpc.route.name

    @property
    def is_streaming(self) -> bool:
        return self._rpc.route.streams

    @property
    def shows_typing(self) -> bool:
        return self._rpc.route.shows_typing

    async def call(self, internal_user_id: str) -> Reply:
        response = await self._rpc(self._update, self._values, internal_user_id)
        reply: Reply = getattr(response, self._rpc.route.answer_field)
        return reply

    async def stream(
        self, internal_user_id: str, write: Callable[[str], None]
    ) -> Reply | None:
        return await self._rpc.stream(
            self._update, self._values, internal_user_id, write
        )
