"""Every fault of a contract stops the start, with a line that names the rpc."""

import pytest
from botgateway.chat.v1 import context_pb2, message_pb2, reply_pb2
from botgateway.route.v1.event_pb2 import Event
from botgateway.route.v1.route_pb2 import Route

from gateway.domain.errors import ConfigurationError
from gateway.services.routing.route import Route as FoundRoute
from gateway.services.routing.route_table import build_route_table
from tests.support.services.made_up import (
    CONTEXT,
    EVENT,
    JSON,
    MESSAGE,
    REPLY,
    STATUS,
    TEXT,
    Rpc,
    a_service,
)

ORDER = "botgateway.order.v1.OrderService.Order"
WITHOUT_ROUTE_PROTO = (context_pb2, message_pb2, reply_pb2)


def faults_of(*rpcs: Rpc) -> list[str]:
    """Build the table of one service; gives what is wrong with it."""
    with pytest.raises(ConfigurationError) as caught:
        build_route_table([a_service(*rpcs)])
    return list(caught.value.problems)


def routes_of(*rpcs: Rpc) -> tuple[FoundRoute, ...]:
    """Build the table of one service without faults."""
    return build_route_table([a_service(*rpcs)]).routes


def command(template: str, description: str = "") -> tuple[Route, ...]:
    """Make the route of a command."""
    return (Route(command=template, description=description),)


def callback(template: str) -> tuple[Route, ...]:
    """Make the route of a button."""
    return (Route(callback=template),)


def update(name: str) -> tuple[Route, ...]:
    """Make the route of a kind of update."""
    return (Route(update_type=name),)


CHAT = "botgateway.chat.v1"
SESSION = (Route(session=True),)
REPORT = (Route(report=True),)
RECIPIENT = (Route(recipient=True),)

UNREADABLE = (
    "option 52741 cannot be read: botgateway/route/v1/route.proto is not loaded,"
    " or another extension took its number"
)
CASES = {
    "an unknown variable": (
        Rpc(command("/order {size}")),
        "variable {size}: OrderRequest has no such field",
    ),
    "a variable for a repeated field": (
        Rpc(command("/order {size}"), {"context": CONTEXT, "size": "repeated string"}),
        "variable {size}: the field is not a scalar",
    ),
    "a variable for a message": (
        Rpc(callback("ORDER:{context}")),
        "variable {context}: the field is not a scalar",
    ),
    "the same variable twice": (
        Rpc(callback("A:{size}:{size}"), {"context": CONTEXT, "size": "string"}),
        "'A:{size}:{size}' has the same variable twice",
    ),
    "a command without a slash": (
        Rpc(command("order")),
        "'order' does not start with / and 1 to 32 of a-z, 0-9, _",
    ),
    "a command in capitals": (
        Rpc(command("/Order")),
        "'/Order' does not start with / and 1 to 32 of a-z, 0-9, _",
    ),
    "a command that is too long": (
        Rpc(command("/" + "o" * 33)),
        f"'/{'o' * 33}' does not start with / and 1 to 32 of a-z, 0-9, _",
    ),
    "an empty command": (
        Rpc(command("")),
        "'' does not start with / and 1 to 32 of a-z, 0-9, _",
    ),
    "text between the variables of a command": (
        Rpc(command("/order ref_{size}"), {"context": CONTEXT, "size": "string"}),
        "'/order ref_{size}' has 'ref_{size}' where a {variable} is due",
    ),
    "the built-in command": (
        Rpc(command("/help")),
        "the gateway answers /help itself",
    ),
    "a button without literal start": (
        Rpc(callback("{size}"), {"context": CONTEXT, "size": "string"}),
        "'{size}' does not start with literal text",
    ),
    "an empty button": (Rpc(callback("")), "'' does not start with literal text"),
    "a button longer than Telegram takes": (
        Rpc(callback("é" * 32 + "x")),
        f"'{'é' * 32}x' has over 64 bytes of literal text",
    ),
    "variables of a button that touch": (
        Rpc(
            callback("A:{size}{color}"),
            {"context": CONTEXT, "size": "string", "color": "string"},
        ),
        "'A:{size}{color}' has no literal text between two variables",
    ),
    "a brace on its own": (
        Rpc(callback("A:{size")),
        "'A:{size' has a brace that belongs to no variable",
    ),
    "the JSON of a text twice": (
        Rpc(TEXT, {"context": CONTEXT, "it": MESSAGE, "one": JSON, "two": JSON}),
        f"OrderRequest has several fields of type {JSON}",
    ),
    "a signed command": (
        Rpc((Route(command="/order", signed=True),)),
        "signed is for the trigger callback",
    ),
    "no context": (
        Rpc(command("/order"), {}),
        f"OrderRequest has no field of type {CONTEXT}",
    ),
    "a list of contexts": (
        Rpc(command("/order"), {"contexts": f"repeated {CONTEXT}"}),
        f"OrderRequest has no field of type {CONTEXT}",
    ),
    "two contexts": (
        Rpc(command("/order"), {"one": CONTEXT, "other": CONTEXT}),
        f"OrderRequest has several fields of type {CONTEXT}",
    ),
    "a text route without message": (
        Rpc(TEXT),
        f"OrderRequest has no field of type {MESSAGE}",
    ),
    "two messages": (
        Rpc(TEXT, {"context": CONTEXT, "one": MESSAGE, "other": MESSAGE}),
        f"OrderRequest has several fields of type {MESSAGE}",
    ),
    "two events": (
        Rpc(
            (Route(event=Event.Value("EVENT_DELIVERY_FAILED")),),
            {"context": CONTEXT, "one": EVENT, "other": EVENT},
        ),
        "OrderRequest has several fields of type botgateway.route.v1.Event",
    ),
    "no reply": (
        Rpc(command("/order"), response={"text": "string"}),
        f"OrderResponse has no field of type {REPLY}",
    ),
    "two replies": (
        Rpc(command("/order"), response={"one": REPLY, "other": REPLY}),
        f"OrderResponse has several fields of type {REPLY}",
    ),
    "a session without user id": (
        Rpc(SESSION),
        "OrderResponse has no string field internal_user_id",
    ),
    "a session whose user id is a number": (
        Rpc(SESSION, response={"internal_user_id": "int64"}),
        "OrderResponse has no string field internal_user_id",
    ),
    "reports without a field for them": (
        Rpc(REPORT, {"status": STATUS}, {}),
        f"OrderRequest needs one repeated {STATUS}",
    ),
    "reports in two fields": (
        Rpc(REPORT, {"one": f"repeated {STATUS}", "two": f"repeated {STATUS}"}, {}),
        f"OrderRequest needs one repeated {STATUS}",
    ),
    "a stream of answers to reports": (
        Rpc(REPORT, {"one": f"repeated {STATUS}"}, {}, streaming="server"),
        "nobody would see a streamed response to the trigger report",
    ),
    "a recipient without the internal id": (
        Rpc(RECIPIENT, {"context": CONTEXT}, {"telegram_user_id": "int64"}),
        "OrderRequest has no string field internal_user_id",
    ),
    "a recipient without Telegram's id": (
        Rpc(RECIPIENT, {"internal_user_id": "string"}, {"telegram_user_id": "string"}),
        "OrderResponse has no field int64 telegram_user_id",
    ),
    "report: false": (
        Rpc((Route(report=False),), {"one": f"repeated {STATUS}"}),
        "a route has no trigger that this gateway knows",
    ),
    "a description that is too long": (
        Rpc(command("/order", "x" * 257)),
        "a description has over 256 characters",
    ),
    "a route without trigger": (
        Rpc((Route(description="Order something"),)),
        "a route has no trigger that this gateway knows",
    ),
    "text: false": (
        Rpc((Route(text=False),), {"context": CONTEXT, "message": MESSAGE}),
        "a route has no trigger that this gateway knows",
    ),
    "session: false": (
        Rpc((Route(session=False),), response={"internal_user_id": "string"}),
        "a route has no trigger that this gateway knows",
    ),
    "no event": (
        Rpc((Route(event=Event.Value("EVENT_UNSPECIFIED")),)),
        "a route has no trigger that this gateway knows",
    ),
    "a trigger of a newer contract": (
        Rpc((Route.FromString(b"\xfa\x01\x01x"),)),  # field 31
        "a route has no trigger that this gateway knows",
    ),
    "an event of a newer contract": (
        Rpc((Route.FromString(b"\x28\x63"),)),  # event: 99
        "a route has no trigger that this gateway knows",
    ),
    "an update without a name": (
        Rpc(update("")),
        "update_type '' is not 1 to 64 of a-z, _",
    ),
    "an update whose name is none": (
        Rpc(update("Chat-Boost")),
        "update_type 'Chat-Boost' is not 1 to 64 of a-z, _",
    ),
    "an update with too long a name": (
        Rpc(update("b" * 65)),
        f"update_type '{'b' * 65}' is not 1 to 64 of a-z, _",
    ),
    "messages by their kind": (
        Rpc(update("message")),
        "update_type 'message' is served by commands, text and callbacks",
    ),
    "buttons by their kind": (
        Rpc(update("callback_query")),
        "update_type 'callback_query' is served by commands, text and callbacks",
    ),
    "a type of another kind of update": (
        Rpc(update("poll_answer"), {"context": CONTEXT, "it": f"{CHAT}.InlineQuery"}),
        f"OrderRequest: {CHAT}.InlineQuery does not belong to poll_answer",
    ),
    "a message for an update that is none": (
        Rpc(update("chat_boost"), {"context": CONTEXT, "it": MESSAGE}),
        f"OrderRequest: {MESSAGE} does not belong to chat_boost",
    ),
    "a button for an update that is none": (
        Rpc(update("poll"), {"context": CONTEXT, "it": f"{CHAT}.CallbackQuery"}),
        f"OrderRequest: {CHAT}.CallbackQuery does not belong to poll",
    ),
    "an update without a context": (
        Rpc(update("chat_boost"), {"json": JSON}),
        f"OrderRequest has no field of type {CONTEXT}",
    ),
    "an update without a reply": (
        Rpc(update("chat_boost"), response={}),
        f"OrderResponse has no field of type {REPLY}",
    ),
    "an update's type twice": (
        Rpc(
            update("poll_answer"),
            {
                "context": CONTEXT,
                "one": f"{CHAT}.PollAnswer",
                "two": f"{CHAT}.PollAnswer",
            },
        ),
        f"OrderRequest has several fields of type {CHAT}.PollAnswer",
    ),
    "an update's JSON twice": (
        Rpc(update("chat_boost"), {"context": CONTEXT, "one": JSON, "two": JSON}),
        f"OrderRequest has several fields of type {JSON}",
    ),
    "a stream of requests": (
        Rpc(command("/order"), streaming="client"),
        "an rpc that streams its request cannot have a route",
    ),
    "a stream of answers to an event": (
        Rpc((Route(event=Event.Value("EVENT_USER_BLOCKED_BOT")),), streaming="server"),
        "nobody would see a streamed response to the trigger event",
    ),
    "a stream of user ids": (
        Rpc(SESSION, response={"internal_user_id": "string"}, streaming="server"),
        "nobody would see a streamed response to the trigger session",
    ),
    "pieces of text in two fields": (
        Rpc(
            command("/order"),
            response={"reply": REPLY, "one": "string", "other": "string"},
            streaming="server",
        ),
        "OrderResponse has several string fields for pieces of text",
    ),
    "an option that is no route": (
        Rpc((), options=b"\xa8\xe0\x19\x01"),  # field 52741 as a number
        UNREADABLE,
    ),
}


def test_routes_of_deliveries_need_no_context() -> None:
    """They belong to no update, and nobody sees their response."""
    report = Rpc(REPORT, {"ends": f"repeated {STATUS}"}, {}, name="Report")
    recipient = Rpc(
        RECIPIENT,
        {"internal_user_id": "string"},
        {"telegram_user_id": "int64"},
        name="Find",
    )
    table = build_route_table([a_service(report, recipient)])
    assert table.report_route is not None
    assert table.recipient_route is not None
    assert (table.report_route.status_field, table.report_route.context_field) == (
        "ends",
        "",
    )
    assert table.recipient_route.result_field == "telegram_user_id"
    # They do not belong to the routes that a bot may leave out.
    restricted = table.restrict([], [])
    assert restricted.report_route is table.report_route
    assert restricted.recipient_route is table.recipient_route


@pytest.mark.parametrize(("rpc", "fault"), CASES.values(), ids=CASES)
def test_a_fault_names_the_rpc_and_what_is_wrong(rpc: Rpc, fault: str) -> None:
    """One fault in the contract is one line, and nothing else."""
    assert faults_of(rpc) == [f"{ORDER}: {fault}"]


def test_all_faults_come_at_once() -> None:
    """Nobody has to start the gateway five times to see five faults."""
    wrong = Rpc(
        (*command("/Order", "x" * 257), *callback("A:{size}")),
        request={},
        response={},
        name="Wrong",
    )
    text = Rpc(TEXT, {"context": CONTEXT, "text": MESSAGE}, name="Text")
    other_text = Rpc(TEXT, name="OtherText")
    lines = faults_of(wrong, text, other_text)
    service = "botgateway.order.v1.OrderService"
    assert sorted(line.removeprefix(f"{service}.") for line in lines) == [
        f"OtherText: OtherTextRequest has no field of type {MESSAGE}",
        f"OtherText: text is already routed to {service}.Text",
        "Wrong: '/Order' does not start with / and 1 to 32 of a-z, 0-9, _",
        f"Wrong: WrongRequest has no field of type {CONTEXT}",
        f"Wrong: WrongResponse has no field of type {REPLY}",
        "Wrong: a description has over 256 characters",
        "Wrong: variable {size}: WrongRequest has no such field",
    ]


def test_fields_are_found_by_their_type_and_may_have_any_name() -> None:
    """A service is not told how to name its fields."""
    request = {"from": CONTEXT, "import": MESSAGE, "self": "string"}
    [route] = routes_of(Rpc(command("/order {self}"), request, {"class": REPLY}))
    assert (route.context_field, route.message_field) == ("from", "import")
    assert route.result_field == "class"
    assert [name for name, _ in route.variables] == ["self"]


def test_an_update_route_takes_the_type_of_its_kind_and_the_json() -> None:
    """Both are found by their type, and neither has to be there."""
    request = {"context": CONTEXT, "answer": f"{CHAT}.PollAnswer", "raw": JSON}
    [route] = routes_of(Rpc(update("poll_answer"), request))
    assert route.name == route.trigger.text == "update:poll_answer"
    assert (route.payload_field, route.json_field) == ("answer", "raw")
    [route] = routes_of(Rpc(update("hologram_call")))
    assert (route.payload_field, route.json_field) == ("", "")


@pytest.mark.parametrize(
    "trigger", [*TEXT, *command("/order"), *callback("ORDER:"), *update("poll")]
)
def test_json_may_be_taken_of_whatever_a_user_does(trigger: Route) -> None:
    """The field is found by its type and does not have to be there."""
    request = {"context": CONTEXT, "message": MESSAGE}
    if trigger.update_type:
        del request["message"]
    [route] = routes_of(Rpc((trigger,), request | {"raw": JSON}))
    assert route.json_field == "raw"
    [route] = routes_of(Rpc((trigger,), request))
    assert route.json_field == ""


def test_a_button_may_take_the_query() -> None:
    """Other triggers of the same rpc leave it unset."""
    request = {"context": CONTEXT, "query": f"{CHAT}.CallbackQuery"}
    routes = routes_of(Rpc((*callback("ORDER:"), *update("poll")), request))
    found = {route.name: route.payload_field for route in routes}
    assert found == {"ORDER:": "query", "update:poll": ""}


def test_only_the_route_that_serves_data_says_whether_it_is_signed() -> None:
    """The longest literal start wins, as for every press."""
    table = build_route_table(
        [
            a_service(
                Rpc(callback("A:{size}"), {"context": CONTEXT, "size": "string"}),
                Rpc((Route(callback="A:B", signed=True),), name="Pay"),
            )
        ]
    )
    assert table.requires_signature("A:B")
    assert not table.requires_signature("A:C")
    assert not table.requires_signature("nothing")


def test_one_rpc_may_serve_text_and_several_kinds_of_updates() -> None:
    """Each route fills the fields that belong to it, and leaves the others unset."""
    request = {"context": CONTEXT, "it": MESSAGE, "answer": f"{CHAT}.PollAnswer"}
    routes = (*TEXT, *update("edited_message"), *update("poll_answer"))
    found = {route.name: route for route in routes_of(Rpc(routes, request))}
    assert {name: route.payload_field for name, route in found.items()} == {
        "text": "",
        "update:edited_message": "it",
        "update:poll_answer": "answer",
    }


def test_an_event_route_needs_no_field_for_the_event() -> None:
    """An rpc that serves one event knows which."""
    event = Event.Value("EVENT_USER_BLOCKED_BOT")
    [route] = routes_of(Rpc((Route(event=event),)))
    assert (route.name, route.event_field) == ("event:user_blocked_bot", "")


def test_routes_are_read_where_the_pool_does_not_know_the_option() -> None:
    """A contract that never met route.proto is not taken for one without routes."""
    service = a_service(Rpc(command("/order")), shared=WITHOUT_ROUTE_PROTO)
    assert [route.name for route in build_route_table([service]).routes] == ["/order"]
