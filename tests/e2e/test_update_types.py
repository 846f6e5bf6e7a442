"""Every type of update reaches a service, and its answer reaches Telegram."""

import json
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import pytest
from botgateway.chat.v1.context_pb2 import User
from botgateway.chat.v1.message_pb2 import (
    IncomingMessage,
    MessageEntity,
    MessageOrigin,
    OrderInfo,
    OtherAttachment,
    Payment,
    ReferencedMessage,
)
from botgateway.chat.v1.reply_pb2 import (
    JOIN_DECISION_APPROVE,
    InlineAnswer,
    InlineQueryResult,
    OutgoingMessage,
    PreCheckoutAnswer,
    Reply,
)
from botgateway.chat.v1.update_pb2 import (
    BusinessConnection,
    CallbackQuery,
    ChatBoostAdded,
    ChatJoinRequest,
    ChatMemberUpdate,
    ChatMigration,
    ChatShared,
    ChosenInlineResult,
    ForumTopicCreated,
    InlineQuery,
    LeftChatMember,
    MessageReactionUpdate,
    NewChatMembers,
    NewChatTitle,
    PinnedMessage,
    PollAnswer,
    PreCheckoutQuery,
    ProximityAlertTriggered,
    Reaction,
    SharedUser,
    ShippingQuery,
    UsersShared,
    WebAppData,
    WriteAccessAllowed,
)
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from gateway.sandbox.simulator.actions.sample_updates import MAKERS
from gateway.telegram.inbound.update_types import UPDATE_TYPES
from tests.support.gateway_harness import UPDATES, GatewayHarness, running_gateway
from tests.support.services.every_kind import TYPES, EveryKind, every_kind, rpc_name

ANNA, BO, CARA, SHOPPER = 5510000001, 5510000002, 812345678, 5510000044
FANS, NEWS, ELSEWHERE = -1002100000077, -1002100000088, -1002100000123
APOLOGY = "Something went wrong on our side. Please try again in a minute."
PERSON = {"id": ANNA, "is_bot": False, "first_name": "Anna"}
GROUP = {"id": FANS, "type": "supergroup"}
PRIVATE = {"id": ANNA, "type": "private"}
SAID = {"message_id": 5, "date": 1, "chat": GROUP, "text": "hi"}
PAID: dict[str, Any] = {
    "currency": "EUR",
    "total_amount": 1250,
    "invoice_payload": "order-7",
    "telegram_payment_charge_id": "t1",
    "provider_payment_charge_id": "p1",
}
ADDRESS: Any = {
    "country_code": "AT",
    "state": "",
    "city": "Vienna",
    "street_line1": "Ring 1",
    "street_line2": "",
    "post_code": "1010",
}


def recorded(name: str) -> dict[str, Any]:
    """Return what stands under the kind's key in a real update."""
    update = json.loads((UPDATES / f"{name}.json").read_bytes())
    content: dict[str, Any] = next(update[key] for key in update if key != "update_id")
    return content


class Row(NamedTuple):
    """A kind's update, and what its service has to learn."""

    content: dict[str, Any]
    user: int
    chat: int
    details: Message | None = None


CHANGE = {
    "from": PERSON,
    "chat": GROUP,
    "old_chat_member": {"status": "left", "user": PERSON},
    "new_chat_member": {"status": "member", "user": {"id": BO}},
}
BOOST = {"boost_id": "b", "source": {"source": "premium", "user": PERSON}}
ROWS = {
    "edited_message": Row(
        recorded("edited_message"),
        ANNA,
        ANNA,
        IncomingMessage(
            message_id=recorded("edited_message")["message_id"],
            text=recorded("edited_message")["text"],
            edit_time=Timestamp(seconds=recorded("edited_message")["edit_date"]),
        ),
    ),
    "channel_post": Row(
        recorded("channel_post"),
        0,
        NEWS,
        IncomingMessage(
            message_id=recorded("channel_post")["message_id"],
            text=recorded("channel_post")["text"],
            entities=[MessageEntity(type="bold", length=11)],
        ),
    ),
    "edited_channel_post": Row(
        SAID | {"edit_date": 9},
        0,
        FANS,
        IncomingMessage(message_id=5, text="hi", edit_time=Timestamp(seconds=9)),
    ),
    "business_connection": Row(
        {
            "id": "b",
            "user": PERSON,
            "user_chat_id": ANNA,
            "date": 1,
            "is_enabled": True,
            "rights": {"can_reply": True},
        },
        ANNA,
        ANNA,
        BusinessConnection(
            business_connection_id="b",
            user_chat_id=ANNA,
            is_enabled=True,
            can_reply=True,
        ),
    ),
    "business_message": Row(
        recorded("business_message"),
        SHOPPER,
        SHOPPER,
        IncomingMessage(message_id=90210, text="Is the shop open tomorrow?"),
    ),
    "edited_business_message": Row(
        SAID | {"from": PERSON, "business_connection_id": "b", "edit_date": 9},
        ANNA,
        FANS,
        IncomingMessage(message_id=5, text="hi", edit_time=Timestamp(seconds=9)),
    ),
    "deleted_business_messages": Row(
        {"chat": PRIVATE, "business_connection_id": "b", "message_ids": [1]}, 0, ANNA
    ),
    "guest_message": Row(
        recorded("guest_message"),
        CARA,
        ELSEWHERE,
        IncomingMessage(
            message_id=4402,
            text="@marmot_desk_bot summarise this thread",
            entities=[MessageEntity(type="mention", length=16)],
        ),
    ),
    "message_reaction": Row(
        recorded("message_reaction"),
        CARA,
        FANS,
        MessageReactionUpdate(message_id=88012, new_reactions=[Reaction(emoji="👍")]),
    ),
    "message_reaction_count": Row(
        {"chat": GROUP, "message_id": 1, "date": 1, "reactions": []}, 0, FANS
    ),
    "inline_query": Row(
        recorded("inline_query"),
        CARA,
        0,
        InlineQuery(
            inline_query_id="3489000000000000004",
            query="marmot 🦫",
            chat_type="supergroup",
        ),
    ),
    "chosen_inline_result": Row(
        {"result_id": "r", "from": PERSON, "query": "q", "inline_message_id": "m"},
        ANNA,
        0,
        ChosenInlineResult(result_id="r", query="q", inline_message_id="m"),
    ),
    "shipping_query": Row(
        {
            "id": "s",
            "from": PERSON,
            "invoice_payload": "order-7",
            "shipping_address": ADDRESS,
        },
        ANNA,
        0,
        ShippingQuery(
            shipping_query_id="s", invoice_payload="order-7", shipping_address=ADDRESS
        ),
    ),
    "pre_checkout_query": Row(
        recorded("pre_checkout_query") | {"order_info": {"name": "Anna"}},
        ANNA,
        0,
        PreCheckoutQuery(
            pre_checkout_query_id="23665271850000005",
            currency="XTR",
            total_amount=250,
            invoice_payload="order:7781:v1",
            order_info=OrderInfo(name="Anna"),
        ),
    ),
    "purchased_paid_media": Row({"from": PERSON, "paid_media_payload": "p"}, ANNA, 0),
    "poll": Row({"id": "52", "question": "q", "options": []}, 0, 0),
    "poll_answer": Row(
        {"poll_id": "52", "user": PERSON, "option_ids": [0, 2]},
        ANNA,
        0,
        PollAnswer(poll_id="52", option_ids=[0, 2]),
    ),
    "my_chat_member": Row(
        CHANGE,
        ANNA,
        FANS,
        ChatMemberUpdate(telegram_user_id=BO, old_status="left", new_status="member"),
    ),
    "chat_member": Row(
        CHANGE,
        ANNA,
        FANS,
        ChatMemberUpdate(telegram_user_id=BO, old_status="left", new_status="member"),
    ),
    "chat_join_request": Row(
        {
            "chat": GROUP,
            "from": PERSON,
            "user_chat_id": ANNA,
            "date": 1,
            "bio": "b",
            "invite_link": {"invite_link": "https://t.me/+x", "name": "n"},
        },
        ANNA,
        FANS,
        ChatJoinRequest(
            bio="b",
            user_chat_id=ANNA,
            invite_link_name="n",
            invite_link="https://t.me/+x",
        ),
    ),
    "chat_boost": Row({"chat": GROUP, "boost": BOOST}, ANNA, FANS),
    "removed_chat_boost": Row({"chat": GROUP} | BOOST, ANNA, FANS),
    "managed_bot": Row({"user": PERSON, "bot": {"id": 3}}, ANNA, 0),
    "subscription": Row(recorded("subscription"), ANNA, 0),
    "stopped_message_generation": Row(recorded("stopped_message_generation"), 0, ANNA),
    "hologram_call": Row(recorded("unknown_future_update"), ANNA, ANNA),
}


BO_AS_USER = User(id=BO, first_name="Bo")
BO_AS_JSON = {"id": BO, "is_bot": False, "first_name": "Bo"}


class Content(NamedTuple):
    """What stands in a message, and what its service has to learn."""

    value: object
    details: Message | None = None


CONTENTS = {
    "giveaway": Content(
        {"winner_count": 1},
        IncomingMessage(message_id=5, other=OtherAttachment(type="giveaway")),
    ),
    "web_app_data": Content(
        {"data": "size=9", "button_text": "Choose"},
        WebAppData(data="size=9", button_text="Choose"),
    ),
    "users_shared": Content(
        {"request_id": 3, "users": [{"user_id": BO, "first_name": "Bo"}]},
        UsersShared(
            request_id=3, users=[SharedUser(telegram_user_id=BO, first_name="Bo")]
        ),
    ),
    "chat_shared": Content(
        {"request_id": 3, "chat_id": FANS, "title": "Fans"},
        ChatShared(request_id=3, chat_id=FANS, title="Fans"),
    ),
    "new_chat_members": Content([BO_AS_JSON], NewChatMembers(members=[BO_AS_USER])),
    "left_chat_member": Content(BO_AS_JSON, LeftChatMember(member=BO_AS_USER)),
    "new_chat_title": Content("Fans", NewChatTitle(title="Fans")),
    "pinned_message": Content(
        SAID | {"from": BO_AS_JSON},
        PinnedMessage(
            message=ReferencedMessage(
                content=IncomingMessage(message_id=5, text="hi"),
                content_type="text",
                from_user=BO_AS_USER,
                send_time=Timestamp(seconds=1),
            )
        ),
    ),
    "migrate_to_chat_id": Content(FANS, ChatMigration(chat_id=FANS)),
    "migrate_from_chat_id": Content(-77, ChatMigration(chat_id=-77)),
    "write_access_allowed": Content(
        {"web_app_name": "shop"}, WriteAccessAllowed(web_app_name="shop")
    ),
    "forum_topic_created": Content(
        {"name": "Marmots", "icon_color": 7322096},
        ForumTopicCreated(name="Marmots", icon_color=7322096),
    ),
    "proximity_alert_triggered": Content(
        {"traveler": BO_AS_JSON, "watcher": BO_AS_JSON, "distance": 12},
        ProximityAlertTriggered(
            traveler=BO_AS_USER, watcher=BO_AS_USER, distance_meters=12
        ),
    ),
    "boost_added": Content({"boost_count": 2}, ChatBoostAdded(boost_count=2)),
    "delete_chat_photo": Content(True),
    "video_chat_started": Content({}),
    "hologram_shared": Content({"beam": 1}),
}
"""Contents of messages that have a route by their name; the last is from the future."""


@pytest.fixture
def service() -> EveryKind:
    """Return a service that has an rpc for each kind."""
    return EveryKind()


@pytest.fixture
async def gateway(service: EveryKind) -> AsyncIterator[GatewayHarness]:
    """Yield a gateway that routes every kind."""
    async with running_gateway(further={every_kind(): service}) as running:
        yield running


def test_the_table_names_every_kind() -> None:
    """All 27 of Bot API 10.3, but the two that other triggers serve."""
    assert UPDATE_TYPES.keys() - {"message", "callback_query"} == ROWS.keys() - {
        "hologram_call"
    }
    assert len(UPDATE_TYPES) == 27
    payments = {"successful_payment", "refunded_payment"}
    assert TYPES.keys() - ROWS.keys() - CONTENTS.keys() == payments | {
        "game_short_name"
    }


async def test_every_kind_reaches_its_service_typed_and_as_json(
    gateway: GatewayHarness, service: EveryKind
) -> None:
    """Who, where, what it says, and the very bytes that Telegram sent."""
    for number, (kind, row) in enumerate(ROWS.items(), 1):
        # Spaces and escapes as nobody would write them again.
        sent = json.dumps(row.content, separators=(" , ", " : "))
        update_id = 9000 + number
        await gateway.post(f'{{"update_id":{update_id},"{kind}": {sent} }}'.encode())
        await gateway.ended(number)
        name, asked = service.asked[-1]
        assert name == rpc_name(kind)
        assert (asked.json.update_type, asked.json.json.decode()) == (kind, sent)
        assert asked.context.update_id == update_id
        assert asked.context.telegram_user_id == row.user, kind
        assert asked.context.chat_id == row.chat, kind
        if row.details is not None:
            assert asked.details == row.details
        record = gateway.turns()[-1]
        assert (record["outcome"], record["route"]) == ("done", f"update:{kind}")
    assert len(service.asked) == len(ROWS)


async def test_only_what_a_human_did_towards_the_bot_has_an_internal_user(
    gateway: GatewayHarness, service: EveryKind
) -> None:
    """Not what happened in a private chat, nor what a stranger's account passes on.

    Anybody can connect a bot to a business account; customers do not speak to the bot.
    """
    channel = {"id": NEWS, "type": "channel"}
    shop = {"chat": PRIVATE, "business_connection_id": "b", "message_id": 5, "date": 1}
    rows: list[tuple[str, dict[str, Any], str]] = [
        ("pre_checkout_query", ROWS["pre_checkout_query"].content, "u-5510000001"),
        ("deleted_business_messages", shop | {"message_ids": [1]}, ""),
        ("business_message", shop | {"text": "hi"}, ""),
        ("business_message", shop | {"text": "hi", "from": PERSON}, ""),
        ("edited_business_message", shop | {"text": "hi", "from": PERSON}, ""),
        ("message_reaction", {"actor_chat": channel, "chat": PRIVATE, "message_id": 5,
                              "old_reaction": [], "new_reaction": []}, ""),
        ("stopped_message_generation", {"chat": PRIVATE, "draft_id": 3}, ""),
        ("hologram_call", {"chat": PRIVATE}, ""),
        ("business_connection", ROWS["business_connection"].content, "u-5510000001"),
    ]  # fmt: skip
    for number, (kind, content, internal) in enumerate(rows, 1):
        await gateway.update({kind: content})
        await gateway.ended(number)
        name, asked = service.asked[-1]
        assert name == rpc_name(kind)
        assert asked.context.internal_user_id == internal, kind
    assert len(gateway.backend.asked("ResolveUser")) == 1


@pytest.mark.parametrize("allowed", [False, True])
async def test_bots_are_served_only_where_the_settings_allow_it(
    *, allowed: bool
) -> None:
    """What is dropped is counted and logged under an outcome of its own."""
    bot = {"id": 9, "is_bot": True, "first_name": "B"}
    async with running_gateway(allow_bots=allowed) as gateway:
        await gateway.update({"message": SAID | {"from": bot}})
        await gateway.ended(1)
        outcome = "done" if allowed else "from_bot"
        assert gateway.outcomes() == [outcome]
        asked = gateway.backend.asked("SendMessage")
        assert [request.context.is_bot for request in asked] == [True] * allowed
        assert gateway.backend.asked("ResolveUser") == []
        _, page = await gateway.get("/metrics", ops=True)
        assert f'outcome="{outcome}"' in page


async def test_contents_of_messages_reach_their_service_typed_and_as_json(
    gateway: GatewayHarness, service: EveryKind
) -> None:
    """With the bytes of the content, and those of the message that it came in."""
    for number, (name, content) in enumerate(CONTENTS.items(), 1):
        message = {"message_id": 5, "date": 1, "chat": GROUP, "from": PERSON}
        sent = json.dumps(message | {name: content.value})
        body = f'{{"update_id":{9000 + number},"message":{sent}}}'
        await gateway.post(body.encode())
        await gateway.ended(number)
        rpc, asked = service.asked[-1]
        assert rpc == rpc_name(name)
        assert asked.json.update_type == name
        assert json.loads(asked.json.json) == content.value
        assert asked.json.message_json.decode() == sent
        assert (asked.context.telegram_user_id, asked.context.message_id) == (ANNA, 5)
        if content.details is not None:
            assert asked.details == content.details
        record = gateway.turns()[-1]
        assert (record["outcome"], record["route"]) == ("done", f"update:{name}")
    assert gateway.backend.asked("SendMessage") == []


@pytest.mark.parametrize(
    "name", ["web_app_data", "new_chat_members", "hologram_shared"]
)
async def test_contents_without_a_route_are_ignored(name: str) -> None:
    """They are no texts of a user."""
    message = {"message_id": 5, "date": 1, "chat": GROUP, "from": PERSON}
    async with running_gateway() as gateway:
        await gateway.update({"message": message | {name: CONTENTS[name].value}})
        await gateway.ended(1)
        assert gateway.outcomes() == ["unrouted"]
        assert gateway.backend.calls == []


async def test_a_failing_service_excuses_itself_only_to_who_spoke_to_the_bot(
    gateway: GatewayHarness, service: EveryKind
) -> None:
    """Whoever sent data of a web app waits; a group with a new member does not."""
    service.fails = True
    for chat, name in (PRIVATE, "web_app_data"), (GROUP, "new_chat_members"):
        message = {"message_id": 5, "date": 1, "chat": chat, "from": PERSON}
        await gateway.update({"message": message | {name: CONTENTS[name].value}})
    await gateway.ended(2)
    assert gateway.outcomes() == ["service_failed", "service_failed"]
    assert (gateway.texts(ANNA), gateway.texts(FANS)) == ([APOLOGY], [])


async def test_data_of_web_apps_is_limited_and_news_of_a_group_are_not(
    service: EveryKind,
) -> None:
    """A client can send any amount of such data; nobody answers for who joins."""
    async with running_gateway(
        further={every_kind(): service}, rate_limit_requests=1, rate_limit_window=3600
    ) as gateway:
        for name in ("web_app_data", "web_app_data", "new_chat_members"):
            message = {"message_id": 5, "date": 1, "chat": PRIVATE, "from": PERSON}
            await gateway.update({"message": message | {name: CONTENTS[name].value}})
        await gateway.ended(3)
        assert gateway.outcomes() == ["done", "limited", "done"]


async def test_a_button_and_a_command_may_take_all_that_telegram_sent(
    gateway: GatewayHarness, service: EveryKind
) -> None:
    """The message under which the button is, and either update as JSON."""
    pressed = {"id": "q", "from": PERSON, "data": "LOOK:up", "chat_instance": "-9"}
    pressed |= {"message": SAID}
    await gateway.update({"callback_query": pressed})
    said = SAID | {"from": PERSON, "text": "/look"}
    await gateway.update({"message": said})
    await gateway.ended(2)
    (_, button), (_, command) = service.asked
    assert button.what == "up"
    assert button.query == CallbackQuery(
        callback_query_id="q",
        data="LOOK:up",
        chat_instance="-9",
        message=IncomingMessage(message_id=5, text="hi"),
    )
    assert button.json.update_type == "callback_query"
    assert json.loads(button.json.json) == pressed
    assert command.message.text == "/look"
    assert (command.json.update_type, command.json.message_json) == ("message", b"")
    assert json.loads(command.json.json) == said


async def test_a_button_under_an_inline_message_names_that_message(
    gateway: GatewayHarness, service: EveryKind
) -> None:
    """Telegram sends no chat and no message with it."""
    pressed = {"id": "q", "from": PERSON, "data": "LOOK:up", "chat_instance": "-9"}
    await gateway.update({"callback_query": pressed | {"inline_message_id": "AAQ"}})
    await gateway.ended(1)
    [(_, button)] = service.asked
    assert button.query == CallbackQuery(
        callback_query_id="q",
        data="LOOK:up",
        chat_instance="-9",
        inline_message_id="AAQ",
    )


async def test_a_button_of_a_game_reaches_its_service(
    gateway: GatewayHarness, service: EveryKind
) -> None:
    """It has no data that the route of a button could fit."""
    pressed = {"id": "q", "from": PERSON, "game_short_name": "chess", "message": SAID}
    await gateway.update({"callback_query": pressed})
    await gateway.ended(1)
    [(name, asked)] = service.asked
    assert (name, asked.details.game_short_name) == ("GameShortName", "chess")
    assert asked.json.update_type == "callback_query"
    assert json.loads(asked.json.json) == pressed
    assert [answer["callback_query_id"] for answer in gateway.simulator.answers] == [
        "q"
    ]


async def test_a_forwarded_command_is_a_text(gateway: GatewayHarness) -> None:
    """Whoever forwards "/start x" did not write it; the service sees who did."""
    bo = {"type": "user", "date": 9, "sender_user": BO_AS_JSON}
    said = SAID | {"from": PERSON, "chat": PRIVATE, "text": "/start x"}
    await gateway.update({"message": said | {"forward_origin": bo}})
    await gateway.update({"message": said | {"forward_date": 9}})
    await gateway.update({"message": said})
    await gateway.ended(3)
    first, second = gateway.backend.asked("SendMessage")
    assert first.message.text == second.message.text == "/start x"
    assert first.message.forward_origin == MessageOrigin(
        type="user", send_time=Timestamp(seconds=9), sender_user=BO_AS_USER
    )
    assert second.message.HasField("forward_origin")
    assert len(gateway.backend.asked("Start")) == 1


async def test_metrics_name_routes_but_no_kind_from_outside(
    gateway: GatewayHarness,
) -> None:
    """A label has few values, whatever somebody posts."""
    await gateway.update({"hologram_call": {"from": PERSON}})
    await gateway.update({"strangers_label": {"from": PERSON}})
    await gateway.ended(2)
    _, page = await gateway.get("/metrics", ops=True)
    assert 'outcome="done",route="update:hologram_call",update_type="unknown"' in page
    assert "strangers_label" not in page
    assert "strangers_label" not in str(gateway.log())


async def test_the_business_connection_is_reported(
    gateway: GatewayHarness, service: EveryKind
) -> None:
    """The service knows on whose behalf the bot speaks."""
    await gateway.update({"business_message": recorded("business_message")})
    await gateway.ended(1)
    [(_, asked)] = service.asked
    assert asked.context.business_connection_id == "InVaLiDbUsInEsScOnNeCt01"


@pytest.mark.parametrize("kind", ["successful_payment", "refunded_payment"])
async def test_a_payment_goes_to_the_rpc_that_asks_for_it(
    gateway: GatewayHarness, service: EveryKind, kind: str
) -> None:
    """Typed, with its JSON, and not to the text route."""
    said = {"message_id": 5, "date": 1, "from": PERSON, "chat": PRIVATE, kind: PAID}
    await gateway.update({"message": said})
    await gateway.ended(1)
    [(name, asked)] = service.asked
    assert name == rpc_name(kind)
    assert getattr(asked.details, kind) == Payment(**PAID)
    assert json.loads(asked.json.json) == PAID
    assert gateway.backend.asked("SendMessage") == []


async def test_a_payment_that_no_rpc_asks_for_goes_to_the_text_route() -> None:
    """It is a message, and nobody may lose it."""
    async with running_gateway(rate_limit_requests=1) as gateway:
        said = {"message_id": 5, "date": 1, "from": PERSON, "chat": PRIVATE}
        for _ in range(3):
            await gateway.update({"message": said | {"successful_payment": PAID}})
        await gateway.ended(3)
        asked = gateway.backend.asked("SendMessage")
        assert [each.message.successful_payment for each in asked] == [
            Payment(**PAID)
        ] * 3


async def test_an_event_goes_before_the_kind_that_tells_of_it(
    gateway: GatewayHarness, service: EveryKind
) -> None:
    """Who blocked the bot is reported as before; other changes go by their kind."""
    name = "my_chat_member_user_blocked_bot"
    await gateway.post((UPDATES / f"{name}.json").read_bytes())
    await gateway.ended(1)
    assert len(gateway.backend.asked("ReportReachability")) == 1
    assert service.asked == []


def answered(gateway: GatewayHarness) -> list[tuple[str, dict[str, Any]]]:
    """Return the answers to queries: method and parameters."""
    return gateway.simulator.queries.answers


async def test_a_user_may_pay_if_the_service_says_so(
    gateway: GatewayHarness, service: EveryKind
) -> None:
    """From the webhook to answerPreCheckoutQuery; messages go to the private chat."""
    service.reply = Reply(
        pre_checkout_answer=PreCheckoutAnswer(ok=True),
        messages=[OutgoingMessage(text="Thank you")],
    )
    await gateway.update({"pre_checkout_query": recorded("pre_checkout_query")})
    await gateway.ended(1)
    answer = {"pre_checkout_query_id": "23665271850000005", "ok": True}
    assert answered(gateway) == [("answerPreCheckoutQuery", answer)]
    assert gateway.texts(ANNA) == ["Thank you"]


@pytest.mark.parametrize("fault", ["fails", "hangs", "says nothing", "unreadable"])
async def test_a_payment_is_declined_in_time_without_a_good_answer(
    service: EveryKind, fault: str
) -> None:
    """Within Telegram's 10 seconds, with a reason, whatever the service does.

    How long a hanging service is waited for at most is a test of the dispatch.
    """
    service.fails, service.hangs = fault == "fails", fault == "hangs"
    query = recorded("pre_checkout_query")
    if fault == "unreadable":
        query["total_amount"] = "much"
    seconds = 0.3 if fault == "hangs" else 30
    async with running_gateway(seconds, further={every_kind(): service}) as gateway:
        await gateway.update({"pre_checkout_query": query})
        await gateway.ended(1)
    [(method, parameters)] = answered(gateway)
    assert method == "answerPreCheckoutQuery"
    assert parameters == {
        "pre_checkout_query_id": query["id"],
        "ok": False,
        "error_message": APOLOGY,
    }
    assert gateway.outcomes() == [
        {
            "fails": "service_failed",
            "hangs": "service_timeout",
            "says nothing": "done",
            "unreadable": "crashed",
        }[fault]
    ]
    if service.asked:
        assert 0 < service.seconds_left < 8.1


async def test_an_inline_query_gets_its_results(
    gateway: GatewayHarness, service: EveryKind
) -> None:
    """From the webhook to answerInlineQuery; there is no chat for messages."""
    result = InlineQueryResult(
        result_id="1", title="Marmot", message=OutgoingMessage(text="A marmot")
    )
    service.reply = Reply(
        inline_answer=InlineAnswer(
            results=[result], cache_seconds=60, is_personal=True
        ),
        messages=[OutgoingMessage(text="nowhere to go")],
    )
    await gateway.update({"inline_query": recorded("inline_query")})
    await gateway.ended(1)
    [(method, parameters)] = answered(gateway)
    assert method == "answerInlineQuery"
    assert parameters == {
        "inline_query_id": "3489000000000000004",
        "results": [
            {
                "id": "1",
                "type": "article",
                "title": "Marmot",
                "input_message_content": {"message_text": "A marmot"},
            }
        ],
        "cache_time": 60,
        "is_personal": True,
    }
    _, page = await gateway.get("/metrics", ops=True)
    assert 'gateway_rejected_reply_parts_total{reason="no_chat"} 1.0' in page


async def test_an_inline_query_gets_no_results_from_a_failing_service(
    gateway: GatewayHarness, service: EveryKind
) -> None:
    """The user's app stops waiting, and the empty answer is not kept."""
    service.fails = True
    await gateway.update({"inline_query": recorded("inline_query")})
    await gateway.ended(1)
    [(_, parameters)] = answered(gateway)
    assert (parameters["results"], parameters["cache_time"]) == ([], 0)


async def test_a_join_request_is_decided_and_its_user_written_to(
    gateway: GatewayHarness, service: EveryKind
) -> None:
    """The decision is for the group, the message for the user."""
    service.reply = Reply(
        join_decision=JOIN_DECISION_APPROVE, messages=[OutgoingMessage(text="Hello")]
    )
    await gateway.update({"chat_join_request": ROWS["chat_join_request"].content})
    await gateway.ended(1)
    decision = {"chat_id": FANS, "user_id": ANNA}
    assert answered(gateway) == [("approveChatJoinRequest", decision)]
    assert (gateway.texts(ANNA), gateway.texts(FANS)) == (["Hello"], [])


async def test_a_guest_is_answered_once(
    gateway: GatewayHarness, service: EveryKind
) -> None:
    """The first message is the answer; the bot cannot say more in that chat."""
    texts = ("first", "second")
    service.reply = Reply(messages=[OutgoingMessage(text=text) for text in texts])
    await gateway.update({"guest_message": recorded("guest_message")})
    await gateway.ended(1)
    [(method, parameters)] = answered(gateway)
    assert method == "answerGuestQuery"
    content = parameters["result"]["input_message_content"]
    assert content == {"message_text": "first"}
    assert gateway.texts(ELSEWHERE) == []


@pytest.mark.parametrize("kind", ["edited_message", "message_reaction", "channel_post"])
async def test_nobody_is_told_of_a_failure_who_did_not_speak_to_the_bot(
    gateway: GatewayHarness, service: EveryKind, kind: str
) -> None:
    """No apology in a channel, nor for a reaction."""
    service.fails = True
    await gateway.update({kind: ROWS[kind].content})
    await gateway.ended(1)
    assert gateway.outcomes() == ["service_failed"]
    assert gateway.simulator.sent[-1].method != "sendMessage"


_BY_OTHER_DOORS = {"message", "callback_query", "stopped_message_generation"}


@pytest.mark.parametrize("kind", sorted(UPDATE_TYPES.keys() - _BY_OTHER_DOORS))
def test_what_the_sandbox_makes_by_hand_can_be_read(kind: str) -> None:
    """Nothing has to be added to an ordinary update."""
    made = MAKERS[kind](PERSON, GROUP, 1)
    UPDATE_TYPES[kind].decoder.decode(json.dumps(made))
