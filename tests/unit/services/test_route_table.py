"""The route table as a whole."""

import itertools
from pathlib import Path

import botgateway
import pytest
from botgateway.route.v1.event_pb2 import EVENT_DELIVERY_FAILED
from botgateway.route.v1.route_pb2 import Route

from gateway.domain.errors import ConfigurationError
from gateway.services.contracts.installed_stubs import discover_services
from gateway.services.routing.route_table import (
    RouteTable,
    build_route_table,
    get_service_name,
)
from tests.support.services.made_up import CONTEXT, MESSAGE, Rpc, a_service
from tests.support.services.samples import TABLE, list_repository_services

LOCK = Path(__file__).parents[3] / "routes.lock"


def test_all_services_of_the_contracts_are_found_in_a_fixed_order() -> None:
    """A service needs no entry anywhere but its contract."""
    found = [service.full_name for service in discover_services()]
    assert found == sorted(found)
    assert set(found) >= {
        "botgateway.conversation.v1.ConversationService",
        "botgateway.matching.v1.MatchingService",
        "botgateway.notification.v1.NotificationService",
        "botgateway.profile.v1.ProfileService",
    }


@pytest.mark.parametrize(
    ("name", "setting"),
    [
        ("ConversationService", "CONVERSATION"),
        ("OrderHistoryService", "ORDER_HISTORY"),
        ("Service", "SERVICE"),
    ],
)
def test_a_service_gives_its_settings_their_name(name: str, setting: str) -> None:
    """ORDER_HISTORY_TARGET is the target of OrderHistoryService."""
    assert get_service_name(a_service(name=name)) == setting


def test_modules_that_cannot_be_imported_are_named_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stubs of another version stop the start with a line each, without traceback."""
    for name in "a", "b":
        (tmp_path / f"{name}_service_pb2.py").write_text(f"import no_{name}")
    monkeypatch.setattr(botgateway, "__path__", [*botgateway.__path__, str(tmp_path)])
    with pytest.raises(ConfigurationError) as caught:
        discover_services()
    assert caught.value.problems == (
        "botgateway.a_service_pb2 cannot be imported: No module named 'no_a'",
        "botgateway.b_service_pb2 cannot be imported: No module named 'no_b'",
    )


def test_the_routes_are_those_of_the_lock_file() -> None:
    """Users' commands and the buttons of old messages stay what they are.

    If this change is meant: telegram-gateway routes --lock > routes.lock
    """
    table = build_route_table(list_repository_services())
    assert table.format_lock_file() == LOCK.read_text()


def test_the_table_is_printed_with_the_settings_it_needs() -> None:
    """An operator reads which rpc serves what, and which setting says where it is."""
    rows = [line.split("  ") for line in TABLE.format_lines()]
    assert [row[0] for row in rows] == sorted(row[0] for row in rows)
    cells = [[cell.strip() for cell in row if cell.strip()] for row in rows]
    assert ["/help", "built in"] in cells
    assert [
        "/start {payload}",
        "botgateway.profile.v1.ProfileService.Start",
        "PROFILE_TARGET",
    ] in cells
    assert (
        len({line.rfind(" ") for line in TABLE.format_lines() if "_TARGET" in line})
        == 1
    )


def test_the_names_of_routes_are_few_and_fixed() -> None:
    """Metrics may carry them: no name holds what a user sent."""
    assert TABLE.route_names == (
        "/help",
        "/notifications",
        "/profile",
        "/start",
        "ACCEPT:",
        "CONNECT:",
        "REJECT:",
        "SKIP:",
        "event:delivery_failed",
        "event:user_blocked_bot",
        "event:user_unblocked_bot",
        "session",
        "text",
    )
    assert TABLE.service_names == (
        "CONVERSATION",
        "MATCHING",
        "NOTIFICATION",
        "PROFILE",
    )


def test_the_menu_has_the_commands_with_a_description_and_help() -> None:
    """A command without description works, and is not advertised."""
    hidden = Rpc((Route(command="/secret"),), name="Hidden")
    shown = Rpc((Route(command="/order", description="Order something"),))
    table = build_route_table([a_service(hidden, shown)])
    assert table.menu_commands == (
        ("help", "Show what I can do"),
        ("order", "Order something"),
    )
    assert set(table.by_command) == {"secret", "order"}


def fit(table: RouteTable, data: str) -> str | None:
    """Return the method of the route that a button's data fits first."""
    for route in table.callback_routes:
        if route.match_text(data) is not None:
            return route.method.rpartition(".")[2]
    return None


def test_the_longest_literal_start_that_fits_wins_in_any_order() -> None:
    """Where a route stands in its file, or its file among others, says nothing."""
    request = {"context": CONTEXT, "number": "int32", "text": "string"}
    rpcs = [
        Rpc((Route(callback="A{text}"),), request, name="Short"),
        Rpc((Route(callback="A:{number}"),), request, name="Number"),
        Rpc((Route(callback="A:B:{text}"),), request, name="Long"),
    ]
    for order in itertools.permutations(rpcs):
        for services in (
            [a_service(*order)],
            [
                a_service(
                    rpc, name=f"S{number}Service", package=f"botgateway.s{number}.v1"
                )
                for number, rpc in enumerate(order)
            ],
        ):
            table = build_route_table(services)
            found = [fit(table, data) for data in ("A:B:c", "A:5", "A:c", "AB", "B")]
            assert found == ["Long", "Number", "Short", "Short", None]


SHARED_TRIGGERS = {
    "/order": (Route(command="/order {a}"), Route(command="/order")),
    "ORDER:": (Route(callback="ORDER:{a}"), Route(callback="ORDER:{a}:x")),
    "text": (Route(text=True), Route(text=True)),
    "session": (Route(session=True), Route(session=True)),
    "update:edited_message": (
        Route(update_type="edited_message"),
        Route(update_type="edited_message"),
    ),
    "event:delivery_failed": (
        Route(event=EVENT_DELIVERY_FAILED),
        Route(event=EVENT_DELIVERY_FAILED),
    ),
}


@pytest.mark.parametrize("name", SHARED_TRIGGERS)
def test_two_routes_for_one_trigger_stop_the_start(name: str) -> None:
    """Neither wins: the gateway cannot know which was meant."""
    request = {"context": CONTEXT, "message": MESSAGE, "a": "string"}
    response = {"reply": "botgateway.chat.v1.Reply", "internal_user_id": "string"}
    one, other = (
        Rpc((route,), request, response, method)
        for method, route in zip(("One", "Other"), SHARED_TRIGGERS[name], strict=True)
    )
    services = [
        a_service(other, name="LastService", package="botgateway.last.v1"),
        a_service(one, name="FirstService", package="botgateway.first.v1"),
    ]
    with pytest.raises(ConfigurationError) as caught:
        build_route_table(services)
    last = "botgateway.last.v1.LastService.Other"
    first = "botgateway.first.v1.FirstService.One"
    assert caught.value.problems == (f"{last}: {name} is already routed to {first}",)


def test_two_services_with_the_same_settings_stop_the_start() -> None:
    """ORDER_TARGET cannot be the target of both."""
    services = [
        a_service(
            Rpc((Route(command=f"/order_{area}"),)), package=f"botgateway.{area}.v1"
        )
        for area in ("food", "drink")
    ]
    with pytest.raises(ConfigurationError) as caught:
        build_route_table(services)
    food, drink = (service.full_name for service in services)
    assert caught.value.problems == (
        f"{food}: ORDER_TARGET is already that of {drink}",
    )


def test_a_service_without_routes_needs_no_settings() -> None:
    """It may even have the name of another: nobody calls it."""
    table = build_route_table(
        [
            a_service(Rpc((Route(command="/order"),))),
            a_service(Rpc(()), package="botgateway.internal.v1"),
        ]
    )
    assert table.service_names == ("ORDER",)


def test_update_routes_are_printed_locked_and_named_like_others() -> None:
    """The name in the table, in routes.lock and in metrics is the same."""
    table = build_route_table([a_service(Rpc((Route(update_type="chat_boost"),)))])
    assert table.route_names == ("/help", "update:chat_boost")
    method = "botgateway.order.v1.OrderService.Order"
    assert table.format_lock_file() == f"update:chat_boost -> {method}\n"
    assert f"update:chat_boost  {method}  ORDER_TARGET" in table.format_lines()
    assert set(table.by_update) == {"chat_boost"}


def test_no_route_at_all_stops_the_start() -> None:
    """A gateway that serves nothing was built wrong."""
    with pytest.raises(ConfigurationError, match="none of 1 services has a route"):
        build_route_table([a_service(Rpc(()))])


def test_more_commands_than_telegrams_menu_takes_stop_the_start() -> None:
    """The 100th described command is one too many: /help is in the menu too."""
    rpcs = [
        Rpc((Route(command=f"/c{number}", description="x"),), name=f"C{number}")
        for number in range(100)
    ]
    build_route_table([a_service(*rpcs[1:])])
    with pytest.raises(ConfigurationError, match="over 100 commands"):
        build_route_table([a_service(*rpcs)])
