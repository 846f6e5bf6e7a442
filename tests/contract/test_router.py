"""Which rpc gets which update, and with what in its request."""

import asyncio
import re
import time
from typing import Any

import pytest
from botgateway.chat.v1.message_pb2 import (
    Document,
    File,
    IncomingMessage,
    Photo,
    ReferencedMessage,
)
from botgateway.chat.v1.update_pb2 import CallbackQuery, PinnedMessage, PollAnswer
from botgateway.route.v1 import event_pb2
from google.protobuf.message import Message
from grpc import aio
from msgspec import Raw, structs

from gateway.domain.errors import ServiceTimeout
from gateway.domain.update import BotEvent, OtherUpdate, ServiceMessage, Update
from gateway.services.button_signatures import ButtonSigner
from gateway.services.call_limits import CallLimits
from gateway.services.channels import ServiceChannels
from gateway.services.router import GrpcServiceRouter
from gateway.services.routing.route_table import build_route_table
from gateway.services.routing.update_types import build_payload_fields
from tests.factories import (
    build_button_press,
    build_command,
    build_message,
    build_private_update,
)
from tests.support.services.every_kind import EveryKind, every_kind
from tests.support.services.serving import (
    NEVER,
    TIMEOUTS,
    Seen,
    Services,
    call,
    calling,
    serving,
)
from tests.support.waiting import wait_until

DELIVERY = "abcdefghijklmno-"
"""The id of a delivery."""

PHOTO = IncomingMessage(message_id=5, text="look", photo=Photo(width=90))


RPCS = [
    ("SendMessage", "CONVERSATION", "text", build_message(message=PHOTO)),
    ("Connect", "MATCHING", "CONNECT:", build_button_press("CONNECT:user-9")),
    ("Accept", "MATCHING", "ACCEPT:", build_button_press("ACCEPT:user-9")),
    ("Reject", "MATCHING", "REJECT:", build_button_press("REJECT:user-9")),
    ("Skip", "MATCHING", "SKIP:", build_button_press("SKIP:user-9")),
    ("Start", "PROFILE", "/start", build_command("start", "ref_77")),
    ("GetProfile", "PROFILE", "/profile", build_command("profile")),
    (
        "SetPreference",
        "NOTIFICATION",
        "/notifications",
        build_command("notifications", "off  at night"),
    ),
    (
        "ReportReachability",
        "NOTIFICATION",
        "event:user_blocked_bot",
        build_private_update(
            BotEvent,
            update_type="my_chat_member",
            event=event_pb2.EVENT_USER_BLOCKED_BOT,
        ),
    ),
]
FIELDS: dict[str, dict[str, Any]] = {
    "SendMessage": {"message": PHOTO},
    "Connect": {"target_user_id": "user-9"},
    "Accept": {"target_user_id": "user-9"},
    "Reject": {"target_user_id": "user-9"},
    "Skip": {"target_user_id": "user-9"},
    "Start": {"payload": "ref_77"},
    "GetProfile": {},
    "SetPreference": {"setting": "off  at night"},
    "ReportReachability": {"event": event_pb2.EVENT_USER_BLOCKED_BOT},
}


ROUNDING = 0.15
"""So many seconds at most gRPC adds to a deadline when it writes it down."""


def assert_deadline(seen: Seen, asked: float, seconds: float) -> None:
    """Check that a call that began then was given so many seconds.

    However long it took the call to come to the service.
    """
    assert seen.seconds_left <= seconds + ROUNDING
    assert seen.time + seen.seconds_left >= asked + seconds - ROUNDING


@pytest.mark.parametrize(
    ("method", "service", "route", "update"), RPCS, ids=[rpc[0] for rpc in RPCS]
)
async def test_every_rpc_gets_its_fields_deadline_and_headers(
    method: str, service: str, route: str, update: Update
) -> None:
    """A service sees who asks, what was asked, and for how long it may think."""
    services = Services()
    async with serving(services) as port, calling(port) as dispatch:
        match = dispatch.route(update)
        assert match
        assert match.route_name == route
        asked = time.monotonic()
        reply = await match.call("user-7")
    assert [message.text for message in reply.messages] == [method]
    [seen] = services.seen
    assert seen.method == method
    context = type(update.context)()
    context.CopyFrom(update.context)
    context.internal_user_id = "user-7"
    assert seen.request == type(seen.request)(context=context, **FIELDS[method])
    assert_deadline(seen, asked, TIMEOUTS[service])
    assert seen.metadata["x-request-id"] == update.context.request_id
    assert re.fullmatch(
        r"00-[0-9a-f]{32}-[0-9a-f]{16}-00", seen.metadata["traceparent"]
    )


async def test_an_update_is_not_changed_by_its_call() -> None:
    """The context that the update brought stays without an internal user id."""
    services = Services()
    async with serving(services) as port, calling(port) as dispatch:
        update = build_command("profile")
        await call(dispatch, update)
        assert not update.context.internal_user_id
        match = dispatch.route(update)
        assert match
        await match.call(None)
    assert [it.request.context.internal_user_id for it in services.seen] == [
        "user-7",
        "",
    ]
    is_set = [it.request.context.HasField("internal_user_id") for it in services.seen]
    assert is_set == [True, False]


async def test_repetitions_of_an_update_belong_to_one_trace() -> None:
    """The trace is the update's, the span is the call's."""
    services = Services()
    async with serving(services) as port, calling(port) as dispatch:
        await call(dispatch, build_command("profile"))
        await call(dispatch, build_command("profile"))
        other = build_command("profile")
        other.context.request_id = "request-119"
        await call(dispatch, other)
    traces = [seen.metadata["traceparent"].split("-") for seen in services.seen]
    assert traces[0][1] == traces[1][1] != traces[2][1]
    assert traces[0][2] != traces[1][2]


async def test_a_user_is_resolved_without_an_internal_id() -> None:
    """The session rpc is asked with the context alone."""
    services = Services()
    async with serving(services) as port, calling(port) as dispatch:
        update = build_message(message=PHOTO)
        assert await dispatch.resolve_user(update) == "user-7"
    [seen] = services.seen
    assert seen.method == "ResolveUser"
    assert seen.request.context == update.context
    assert seen.metadata["x-request-id"] == update.context.request_id


async def test_nobody_is_resolved_where_telegram_names_no_human() -> None:
    """Posts of channels have no user: the session service is not asked."""
    services = Services()
    async with serving(services) as port, calling(port) as dispatch:
        update = build_private_update(OtherUpdate)
        update.context.telegram_user_id = 0
        assert await dispatch.resolve_user(update) is None
    assert services.seen == []


async def test_an_event_around_an_update_is_reported_for_its_user() -> None:
    """A message that failed for good is reported in the context of what it answered."""
    services = Services()
    async with serving(services) as port, calling(port) as dispatch:
        update = build_message(message=PHOTO)
        match = dispatch.route_event(update, event_pb2.EVENT_DELIVERY_FAILED)
        assert match
        assert match.route_name == "event:delivery_failed"
        await match.call("user-7")
    [seen] = services.seen
    assert seen.request.event == event_pb2.EVENT_DELIVERY_FAILED
    assert seen.request.context.telegram_user_id == update.context.telegram_user_id


async def test_help_is_made_from_the_routes_without_a_service() -> None:
    """Nothing listens on the port, and /help still answers."""
    async with calling(1) as dispatch:
        match = dispatch.route(build_command("help"))
        assert match
        assert match.route_name == "/help"
        reply = await match.call(None)
    assert reply.messages[0].text.splitlines() == [
        "/help - Show what I can do",
        "/notifications - Choose what I am notified of",
        "/profile - Show my profile",
        "/start - Start the bot",
    ]


@pytest.mark.parametrize(
    "update",
    [
        pytest.param(build_command("unknown"), id="an unknown command is not a text"),
        pytest.param(build_button_press("BUY:1"), id="an unknown button"),
        pytest.param(build_button_press(""), id="a button with empty data"),
        pytest.param(build_button_press(None), id="a button without data"),
        pytest.param(build_button_press("CONNECT"), id="a button cut short"),
        pytest.param(build_button_press("/start"), id="a button is not a command"),
        pytest.param(
            build_private_update(ServiceMessage), id="a message without content"
        ),
        pytest.param(
            build_private_update(OtherUpdate, update_type="poll", trigger_name="poll"),
            id="a kind that is not read",
        ),
        pytest.param(
            build_private_update(BotEvent, event=99), id="an event is not a text"
        ),
    ],
)
async def test_what_no_route_serves_finds_none(update: Update) -> None:
    """No update is ever handed to a route of another kind."""
    async with calling(1) as dispatch:
        assert dispatch.route(update) is None


@pytest.mark.parametrize(("left", "given"), [(2.4, 0.4), (90.0, 40.0), (1.0, 0.0)])
async def test_a_call_ends_in_time_for_its_answer(left: float, given: float) -> None:
    """Two seconds before nobody waits any more, or at its own deadline."""

    async def hang(_: object) -> None:
        await asyncio.Event().wait()

    services = Services(hang)
    async with serving(services) as port, calling(port) as dispatch:
        asked = build_button_press("CONNECT:user-9", answer_deadline=time.time() + left)
        match = dispatch.route(asked)
        assert match
        if given == 40.0:
            call = asyncio.create_task(match.call("user-7"))
            await wait_until(lambda: services.seen)
            call.cancel()
        else:
            with pytest.raises(ServiceTimeout):
                await match.call("user-7")
    for seen in services.seen:
        assert seen.seconds_left <= given + ROUNDING


async def test_a_call_ends_by_the_clock_that_noted_the_arrival() -> None:
    """It is the store's, which this machine's own may be far from."""

    def store_time() -> float:
        return time.time() - 3600

    services = Services()
    async with serving(services) as port, calling(port, now=store_time) as dispatch:
        asked = build_button_press("CONNECT:user-9", answer_deadline=store_time() + 60)
        match = dispatch.route(asked)
        assert match
        await match.call("user-7")
    assert len(services.seen) == 1


async def test_an_event_without_a_route_goes_by_its_kind() -> None:
    """A block is a change of membership, for whoever wants to hear of it."""
    blocked = build_private_update(
        BotEvent,
        update_type="my_chat_member",
        trigger_name="my_chat_member",
        event=event_pb2.EVENT_USER_BLOCKED_BOT,
    )
    table = build_route_table([every_kind()])
    target = dict.fromkeys(table.service_names, "127.0.0.1:1")
    limits = dict.fromkeys(table.service_names, CallLimits(5.0, 5.0))
    async with ServiceChannels(target) as channels:
        match = GrpcServiceRouter(table, channels, limits).route(blocked)
    assert match
    assert match.route_name == "update:my_chat_member"


async def test_a_button_of_a_delivery_brings_its_id() -> None:
    """The service sees the data as it was before."""
    services = Services()
    async with serving(services) as port, calling(port) as dispatch:
        data = dispatch.sign_callback_data("CONNECT:user-9", "7:", DELIVERY)
        press = build_button_press(data)
        await call(dispatch, press)
        await call(dispatch, build_button_press("CONNECT:user-9"))
    delivered, other = (seen.request for seen in services.seen)
    assert delivered.target_user_id == other.target_user_id == "user-9"
    assert delivered.context.delivery_id == DELIVERY
    assert not other.context.HasField("delivery_id")
    assert not press.context.HasField("delivery_id")  # an update is not changed


async def test_the_signature_of_a_button_covers_the_id_of_its_delivery() -> None:
    """Where the data is trusted, so is the id."""
    table = build_route_table([every_kind()])
    target = dict.fromkeys(table.service_names, "127.0.0.1:1")
    limits = dict.fromkeys(table.service_names, CallLimits(5.0, 5.0))
    async with ServiceChannels(target) as channels:
        router = GrpcServiceRouter(
            table, channels, limits, signer=ButtonSigner("token")
        )
        data = router.sign_callback_data("PAY:5", "7:", DELIVERY)
        forged = data.replace(DELIVERY, DELIVERY[::-1])
        pressed = router.route(build_button_press(data))
        assert router.route(build_button_press(forged)) is None
    assert pressed
    assert pressed.route_name == "PAY:"


async def test_details_are_read_for_routes_that_want_them_only() -> None:
    """Nothing is parsed for a route that takes the JSON, or for none at all."""
    read = []

    def details(_: Raw) -> PollAnswer:
        read.append(1)
        return PollAnswer(poll_id="52")

    update = build_private_update(
        OtherUpdate,
        update_type="poll_answer",
        trigger_name="poll_answer",
        payload_decoder=details,
    )
    async with calling(1) as dispatch:
        assert dispatch.route(update) is None
    update_json = build_payload_fields(update, "", "json")["json"]
    assert (update_json.update_type, read) == ("poll_answer", [])
    assert build_payload_fields(update, "details", "") == {
        "details": PollAnswer(poll_id="52")
    }


SENT = IncomingMessage(document=Document(file=File(file_id="f")))


@pytest.mark.parametrize(
    ("update", "place"),
    [
        (build_private_update(OtherUpdate, trigger_name="edited_message"), SENT),
        (build_private_update(OtherUpdate, trigger_name="business_message"), SENT),
        (
            build_private_update(ServiceMessage, trigger_name="pinned_message"),
            PinnedMessage(message=ReferencedMessage(content=SENT)),
        ),
        (build_button_press("LOOK:up"), CallbackQuery(message=SENT)),
    ],
    ids=["edited", "business", "pinned", "pressed"],
)
async def test_files_have_addresses_in_every_kind_of_message(
    update: Update, place: Message
) -> None:
    """Not only in those that the triggers text and command serve."""
    update = structs.replace(update, payload_decoder=lambda _: place)

    def address(message: IncomingMessage, bot_id: int) -> None:
        del bot_id
        message.document.file.url = f"at/{message.document.file.file_id}"

    service, server = EveryKind(), aio.server()
    server.add_generic_rpc_handlers((service,))
    target = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    table = build_route_table([every_kind()])
    limits = dict.fromkeys(table.service_names, CallLimits(5.0, 5.0))
    async with ServiceChannels(dict.fromkeys(table.service_names, target)) as channels:
        match = GrpcServiceRouter(table, channels, limits, address).route(update)
        assert match
        await match.call(None)
    await server.stop(None)
    [(_, request)] = service.asked
    assert 'url: "at/f"' in str(request)


async def test_cancelling_the_caller_cancels_the_call_at_the_service() -> None:
    """A service does not go on working for an actor that is gone."""
    fates = []

    async def hang(_: object) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            fates.append("cancelled")
            raise

    services = Services(hang)
    async with (
        serving(services) as port,
        calling(port, timeout=NEVER) as dispatch,
    ):
        match = dispatch.route(build_message(message=PHOTO))
        assert match
        calls = asyncio.create_task(match.call("user-7"))
        await wait_until(lambda: services.seen)
        calls.cancel()
        with pytest.raises(asyncio.CancelledError):
            await calls
        await wait_until(lambda: fates)
    assert len(services.seen) == 1
