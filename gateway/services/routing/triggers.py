"""Parses the trigger of a route: what makes the gateway call an rpc."""

import re

from botgateway.route.v1.event_pb2 import Event
from botgateway.route.v1.route_pb2 import Route
from msgspec import Struct

from gateway.services.routing.templates import (
    Template,
    parse_callback_template,
    parse_command_template,
)
from gateway.services.routing.update_types import TYPES_WITH_OWN_TRIGGERS

_UPDATE_TYPE_PATTERN = re.compile(r"[a-z_]{1,64}")
"""Names of update types (Bot API: the fields of Update)."""

DELIVERY_TRIGGERS = frozenset({"report", "recipient"})
"""Kinds of triggers that serve deliveries and not updates."""


class Trigger(Struct, frozen=True):
    """The condition under which the gateway calls an rpc.

    Attributes:
        kind: "command", "callback", "text", "event", "session", "update_type",
            "report" or "recipient".
        key: identifies the trigger within its kind: a command's name, a button's
            literal prefix, an event's number or an update type; "" for a kind with
            only one trigger.
        name: the trigger without its variables, for logs and metrics.
        text: the trigger as in the contract.
        template: the template; None for kinds without one.
    """

    kind: str
    key: str | int
    name: str
    text: str
    template: Template | None = None


def parse_trigger(route: Route) -> Trigger:
    """Parse the trigger of a route option.

    Args:
        route: the option of an rpc.

    Raises:
        ValueError: the trigger is missing or invalid; the message says why.
    """
    match kind := route.WhichOneof("trigger"):
        case "command":
            command = parse_command_template(route.command)
            text = " ".join(route.command.split())
            return Trigger(kind, command.name, f"/{command.name}", text, command)
        case "callback":
            button = parse_callback_template(route.callback)
            return Trigger(kind, button.prefix, button.prefix, route.callback, button)
        case "event" if route.event and route.event in Event.values():
            name = f"event:{Event.Name(route.event).removeprefix('EVENT_').lower()}"
            return Trigger(kind, route.event, name, name)
        case "text" if route.text:
            return Trigger(kind, "", kind, kind)
        case "session" | "report" | "recipient" if getattr(route, kind):
            return Trigger(kind, "", kind, kind)
        case "update_type":
            name = f"update:{_check_update_type(route.update_type)}"
            return Trigger(kind, route.update_type, name, name)
    raise ValueError("a route has no trigger that this gateway knows")


def _check_update_type(name: str) -> str:
    if not _UPDATE_TYPE_PATTERN.fullmatch(name):
        raise ValueError(f"update_type {name!r} is not 1 to 64 of a-z, _")
    if name in TYPES_WITH_OWN_TRIGGERS:
        raise ValueError(
            f"update_type {name!r} is served by commands, text and callbacks"
        )
    return name
