"""Finds the rpc that handles an update, and prepares its call."""

import asyncio
import time
from collections.abc import Callable, Mapping
from copy import copy
from typing import Any

from botgateway.chat.v1.context_pb2 import RequestContext
from botgateway.chat.v1.reply_pb2 import CallbackTarget, OutgoingMessage, Reply
from botgateway.chat.v1.update_pb2 import CallbackQuery
from botgateway.route.v1.event_pb2 import Event
from msgspec import structs

from gateway.domain.ports import BoundCall, button_scope
from gateway.domain.update import (
    BotEvent,
    ButtonPress,
    Command,
    Update,
    UserMessage,
    has_session,
)
from gateway.services.button_signatures import ButtonSigner
from gateway.services.call_limits import CallLimits, LimitedCall
from gateway.services.channels import ServiceChannels
from gateway.services.delivery_calls import DeliveryCalls
from gateway.services.delivery_marks import mark_callback_data, split_callback_data
from gateway.services.diagnosis.problems import ServiceProblem
from gateway.services.routing.route import Route
from gateway.services.routing.route_loader import HELP_COMMAND
from gateway.services.routing.route_table import RouteTable
from gateway.services.routing.update_types import build_payload_fields
from gateway.services.rpc_call import AddFileUrls, Rpc, RpcCall


def _ignore_failure(service: str, route_name: str, problem: ServiceProblem) -> None:
    """Record nothing."""


class GrpcServiceRouter:
    """Finds the rpc that handles an update by the route table; prepares the call."""

    def __init__(
        self,
        table: RouteTable,
        channels: ServiceChannels,
        limits: Mapping[str, CallLimits],
        add_file_urls: AddFileUrls | None = None,
        *,
        now: Callable[[], float] = time.time,
        signer: ButtonSigner | None = None,
        record_failure: Callable[[str, str, ServiceProblem], None] = _ignore_failure,
    ) -> None:
        """Prepare the rpc of every route.

        Args:
            table: the routes.
            channels: open channels to the services that have a route.
            limits: the limits for the calls of each of these services, by its name in
                settings.
            add_file_urls: adds the URLs of the files to a message of a bot; None if
                files have no URLs.
            now: returns the seconds since the epoch, by the clock that records the
                arrival of updates.
            signer: signs and verifies the buttons of routes that require it. If it is
                None, such buttons are not served.
            record_failure: records that a call failed: the service, the route's name
                and the problem.
        """
        self._table = table
        self._signer = signer
        self._places = {
            service: asyncio.Semaphore(it.max_concurrent_calls)
            for service, it in limits.items()
            if it.max_concurrent_calls is not None
        }
        self._rpcs = {}
        for route in table.routes:
            channel = channels[route.service]
            own = limits[route.service]
            self._rpcs[route] = Rpc(
                route,
                route.name,
                channel.unary_unary(route.path),
                channel.unary_stream(route.path),
                own.stream_timeout if route.is_streaming else own.timeout,
                add_file_urls,
                now,
                record_failure,
            )
        self._help_call = _HelpCall(table)

    @property
    def delivery_calls(self) -> DeliveryCalls:
        """The object that calls the rpcs for deliveries, as far as there are any."""
        routes = self._table.report_route, self._table.recipient_route
        return DeliveryCalls(*(self._rpcs[it] if it else None for it in routes))

    def for_bot(self, table: RouteTable, signer: ButtonSigner) -> "GrpcServiceRouter":
        """Return a router for one bot. It shares the rpcs and limits of this router.

        Args:
            table: a part of the routes of this router: those that the bot offers.
            signer: signs and verifies the buttons of the bot.
        """
        router = copy(self)
        router._table = table  # noqa: SLF001 - of the same class
        router._signer = signer  # noqa: SLF001
        router._help_call = _HelpCall(table)  # noqa: SLF001
        return router

    def route(self, update: Update) -> BoundCall | None:
        """Find the route of an update, and prepare the call of its rpc; do not make it.

        A pressed button or a command is never handled as text. The route of an event
        has priority over that of the update type that carries the event.

        Returns:
            The prepared call; None if no route matches.

        Raises:
            MalformedUpdate: a field that the route needs has the wrong type.
        """
        if isinstance(update, BotEvent):
            event_call = self.route_event(update, update.event)
            return event_call or self._route_trigger(update)
        if update.trigger_name is not None and (
            bound_call := self._route_trigger(update)
        ):
            return bound_call
        if isinstance(update, Command):
            return self._route_command(update)
        if isinstance(update, UserMessage):
            text_route = self._table.text_route
            return self._bind(text_route, update, {}) if text_route else None
        if isinstance(update, ButtonPress):
            return self._route_callback(update)
        return None

    def route_event(self, update: Update, event: "Event.ValueType") -> BoundCall | None:
        """Prepare the call of the rpc that handles an event.

        Args:
            update: the update that the event belongs to.
            event: the event.

        Returns:
            The prepared call; None if the event has no route.
        """
        if not (route := self._table.by_event.get(event)):
            return None
        values = {route.event_field: event} if route.event_field else {}
        return self._bind(route, update, values)

    def encode_callback_data(self, call: CallbackTarget) -> str | None:
        """Return the callback data for a button that calls an rpc.

        Returns:
            The data without a signature; None if no callback route has this rpc with
            these parameters, or if the data would be read differently.
        """
        return self._table.encode_callback_data(call)

    def sign_callback_data(
        self, data: str, scope: str, delivery_id: str | None = None
    ) -> str:
        """Return callback data as the button gets it: marked and signed where needed.

        Args:
            data: the data that a route matches.
            scope: where the signature is valid; see `button_scope`.
            delivery_id: the id of the delivery whose message has the button, which is
                appended; None if the button is part of a reply.

        Returns:
            The data. It is signed only if its route requires that and there is a
            signer.
        """
        is_signed = self._table.requires_signature(data)
        if delivery_id is not None:
            data = mark_callback_data(data, delivery_id)
        if self._signer is not None and is_signed:
            return self._signer.sign(data, scope)
        return data

    async def resolve_user(self, update: Update) -> str | None:
        """Ask the session service for the internal id of the user who acted.

        Returns:
            The id; None if the service returned none, if no service can be asked, or if
            the update is of a kind without a user to ask for.

        Raises:
            ServiceError: the session service failed.
        """
        route = self._table.session_route
        if not route or not has_session(update):
            return None
        return str(await self._bind(route, update, {}).call(None)) or None

    def _route_trigger(self, update: Update) -> BoundCall | None:
        """Return the call of the route with the update's trigger name, or None."""
        if update.trigger_name is None:
            return None
        route = self._table.by_update.get(update.trigger_name)
        return self._bind(route, update, {}) if route else None

    def _route_callback(self, update: ButtonPress) -> BoundCall | None:
        if update.callback_data is None:
            return None
        data, is_signed = self._verify_callback_data(
            update.callback_data, update.context
        )
        data, delivery_id = split_callback_data(data)
        if (found := self._table.match_callback_data(data)) is None:
            return None
        route, values = found
        if route.requires_signature and not is_signed:
            return None
        if delivery_id is not None:
            context = RequestContext()
            context.CopyFrom(update.context)
            context.delivery_id = delivery_id
            update = structs.replace(update, context=context)
        bound_call = self._bind(route, update, values)
        query = values.get(route.payload_field)
        if isinstance(query, CallbackQuery):
            query.data = data
        return bound_call

    def _verify_callback_data(
        self, data: str, context: RequestContext
    ) -> tuple[str, bool]:
        """Return callback data without its signature, and whether that was valid."""
        if self._signer is None:
            return data, False
        scope = button_scope(context.chat_id, context.business_connection_id)
        verified_data = self._signer.verify(data, scope)
        return (data, False) if verified_data is None else (verified_data, True)

    def _route_command(self, update: Command) -> BoundCall | None:
        if update.name == HELP_COMMAND:
            return self._help_call
        route = self._table.by_command.get(update.name)
        if not route or (values := route.match_text(update.arguments)) is None:
            return None
        return self._bind(route, update, values)

    def _bind(
        self, route: Route, update: Update, values: dict[str, Any]
    ) -> RpcCall | LimitedCall:
        """Bind an update to the rpc of a route, with all data that its request accepts.

        Raises:
            MalformedUpdate: data that the request accepts has a wrong type.
        """
        if route.payload_field or route.json_field:
            values |= build_payload_fields(
                update, route.payload_field, route.json_field
            )
        rpc = self._rpcs[route]
        call = RpcCall(
            rpc, update, values, rpc.route_name, route.is_streaming, route.shows_typing
        )
        if self._places and (places := self._places.get(route.service)):
            return LimitedCall(call, places)
        return call


class _HelpCall:
    """The reply to /help, which the gateway builds itself."""

    route_name = f"/{HELP_COMMAND}"
    is_streaming = False
    shows_typing = False

    def __init__(self, table: RouteTable) -> None:
        lines = (
            f"/{name} - {description}" for name, description in table.menu_commands
        )
        self._text = "\n".join(lines)

    async def call(self, internal_user_id: str | None) -> Reply:
        return Reply(messages=[OutgoingMessage(text=self._text)])

    async def stream(
        self, internal_user_id: str | None, write: Callable[[str], None]
    ) -> Reply | None:
        return await self.call(internal_user_id)
