"""Compares two route tables: what users gain and lose, and what servers must know."""

from collections.abc import Iterator
from typing import Any

from msgspec import Struct

from gateway.services.routing.route import Route
from gateway.services.routing.route_table import RouteTable
from gateway.services.routing.templates import CallbackTemplate


class TableDiff(Struct, frozen=True):
    """The differences of two route tables, as texts.

    Attributes:
        added: the triggers that only the new table has.
        removed: the triggers that only the old table has, and callbacks whose data the
            new table reads differently. Users and old buttons rely on them.
        changed: other differences of a trigger that both tables have.
        renumbered: fields that have another number or type in the new table. A server
            that was built with the old contract does not understand the new one.
    """

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    renumbered: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether nothing differs between the tables."""
        return not (self.added or self.removed or self.changed or self.renumbered)

    @property
    def is_breaking(self) -> bool:
        """Whether users, old buttons or running servers may fail with the new table."""
        return bool(self.removed or self.renumbered)

    def format_lines(self) -> list[str]:
        """Return the differences as lines of text, each with its kind before it."""
        return [
            f"{kind:10}  {text}"
            for kind, texts in (
                ("added", self.added),
                ("removed", self.removed),
                ("changed", self.changed),
                ("renumbered", self.renumbered),
            )
            for text in texts
        ]


def compare_tables(old: RouteTable, new: RouteTable) -> TableDiff:
    """Return how the new table differs from the old one."""
    before, after = _index(old), _index(new)
    added = [_describe(after[key]) for key in after if key not in before]
    removed = [text for text, _ in list_removed(old, new)]
    changed: list[str] = []
    renumbered: list[str] = []
    for key in before:
        if key not in after:
            continue
        if not _reads_other_data(before[key], after[key]):
            changed += _find_changes(before[key], after[key])
        renumbered += _find_other_numbers(before[key], after[key])
    return TableDiff(
        *(tuple(sorted(it)) for it in (added, removed, changed, renumbered))
    )


def list_removed(old: RouteTable, new: RouteTable) -> Iterator[tuple[str, str]]:
    """Yield what the new table lacks: each removed trigger, and the rpc that it called.

    The triggers are those of `TableDiff.removed`, as texts.
    """
    after = _index(new)
    for key, route in _index(old).items():
        if key not in after:
            yield _describe(route), route.method
        elif _reads_other_data(route, after[key]):
            text = f"{_describe(route)}: is now {after[key].trigger.text}"
            yield text, route.method


_Key = tuple[str, str | int, bool]


def _index(table: RouteTable) -> dict[_Key, Route]:
    return {
        (route.trigger.kind, route.trigger.key, route.is_streaming): route
        for route in table.routes
    }


def _describe(route: Route) -> str:
    return f"{route.trigger.text} -> {route.method}"


def _reads_other_data(old: Route, new: Route) -> bool:
    """Return whether the data of old buttons is read differently or not at all."""
    before, after = old.trigger.template, new.trigger.template
    if not isinstance(before, CallbackTemplate):
        return False
    if not isinstance(after, CallbackTemplate) or before.separators != after.separators:
        return True
    return new.requires_signature and not old.requires_signature


def _find_changes(old: Route, new: Route) -> Iterator[str]:
    for name, before, after in (
        ("the trigger", old.trigger.text, new.trigger.text),
        ("the rpc", old.method, new.method),
        ("the target", f"{old.service}_TARGET", f"{new.service}_TARGET"),
        ("the description", repr(old.description), repr(new.description)),
        ("signed", old.requires_signature, new.requires_signature),
        ("the typing indicator", old.shows_typing, new.shows_typing),
    ):
        if before != after:
            yield f"{old.trigger.text}: {name} is {after}, was {before}"


def _find_other_numbers(old: Route, new: Route) -> Iterator[str]:
    before, after = _list_fields(old), _list_fields(new)
    for role in before.keys() & after.keys():
        was, is_now = before[role], after[role]
        if (was.number, was.type) != (is_now.number, is_now.type):
            yield (
                f"{old.trigger.text}: the field for {role} is"
                f" {is_now.name} = {is_now.number}, was {was.name} = {was.number}"
            )


def _list_fields(route: Route) -> dict[str, Any]:
    """Return the descriptors of the fields that the gateway uses, by their role."""
    requests = {
        "the context": route.context_field,
        "the message": route.message_field,
        "the event": route.event_field,
        "the payload": route.payload_field,
        "the JSON": route.json_field,
    }
    for position, (name, _) in enumerate(route.variables, 1):
        requests[f"variable {position}"] = name
    responses = {"the result": route.result_field, "a piece": route.piece_field}
    found: dict[str, Any] = {}
    for message, fields in (
        (route.request_type, requests),
        (route.response_type, responses),
    ):
        by_name = message.DESCRIPTOR.fields_by_name
        found.update((role, by_name[name]) for role, name in fields.items() if name)
    return found
