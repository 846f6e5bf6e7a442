"""The promises of the README, each over the whole gateway."""

import asyncio
import json

import grpc
import pytest

from tests.support.backend import gate
from tests.support.gateway_harness import (
    SECRET,
    TOKEN,
    UPDATES,
    GatewayHarness,
    running_gateway,
)
from tests.support.waiting import wait_until, wait_until_found

ROUTED = {
    "message_text": "SendMessage",
    "message_start_deeplink": "Start",
    "message_photo_caption": "SendMessage",
    "message_album_item": "SendMessage",
    "message_voice": "SendMessage",
    "message_document": "SendMessage",
    "message_location": "SendMessage",
    "message_contact": "SendMessage",
    "message_sticker": "SendMessage",
    "message_group_entities_emoji": "SendMessage",
    "message_private_topic": "SendMessage",
    "message_successful_payment": "SendMessage",
    "my_chat_member_user_blocked_bot": "ReportReachability",
    "my_chat_member_user_unblocked_bot": "ReportReachability",
}
UNKNOWN = {
    # Buttons that no route of the four services serves are answered with the hint.
    "callback_query_message",
    "callback_query_inaccessible_message",
    "callback_query_inline_message",
}


@pytest.mark.parametrize("path", sorted(UPDATES.glob("*.json")), ids=lambda p: p.stem)
async def test_every_kind_of_update_travels_through(
    gateway: GatewayHarness, path: object
) -> None:
    """What has a route reaches its service; the rest is acknowledged and counted."""
    assert hasattr(path, "stem")
    assert hasattr(path, "read_bytes")
    await gateway.post(path.read_bytes())
    await gateway.ended(1)
    rpcs = [rpc for rpc, _ in gateway.backend.calls if rpc != "ResolveUser"]
    expected = ROUTED.get(path.stem)
    assert rpcs == ([expected] if expected else [])
    outcome = "unknown" if path.stem in UNKNOWN else "unrouted"
    if expected or path.stem == "stopped_message_generation":
        outcome = "done"
    assert gateway.outcomes() == [outcome]
    assert not [line for line in gateway.log() if line["level"] == "error"]


def test_there_are_33_updates() -> None:
    """A lost file would be a lost test."""
    assert len(list(UPDATES.glob("*.json"))) == 33


async def test_an_attachment_reaches_the_conversation_as_such(
    gateway: GatewayHarness,
) -> None:
    kinds = ("photo_caption", "voice", "document", "location", "contact", "sticker")
    for name in kinds:
        await gateway.post((UPDATES / f"message_{name}.json").read_bytes())
    await gateway.ended(len(kinds))
    seen = [
        request.message.WhichOneof("attachment")
        for request in gateway.backend.asked("SendMessage")
    ]
    assert sorted(seen) == [
        "contact",
        "document",
        "location",
        "photo",
        "sticker",
        "voice",
    ]


async def test_an_update_is_answered_once(gateway: GatewayHarness) -> None:
    """A repetition is dropped, while the first waits and after it is done."""
    until = asyncio.Event()
    gate(gateway.backend, until, {7})
    await gateway.say("once", update_id=5)
    await wait_until(lambda: gateway.backend.asked("SendMessage"))
    await gateway.say("once", update_id=5)
    until.set()
    await gateway.ended(1)
    await gateway.say("once", update_id=5)
    await gateway.ended(2)
    assert gateway.outcomes() == ["done", "duplicate"]
    assert gateway.texts() == ["echo: once"]


async def test_one_users_updates_are_done_in_order(gateway: GatewayHarness) -> None:
    """A burst that arrives upside down is served by update id, one at a time."""
    until = asyncio.Event()
    gate(gateway.backend, until, {7})
    await gateway.say("first", update_id=1)
    await wait_until(lambda: gateway.backend.asked("SendMessage"))
    for n in (6, 3, 5, 2, 4):
        await gateway.say(str(n), update_id=n)
    assert len(gateway.backend.asked("SendMessage")) == 1
    until.set()
    await gateway.ended(6)
    assert gateway.texts() == [f"echo: {t}" for t in ("first", 2, 3, 4, 5, 6)]


async def test_no_user_waits_for_another(gateway: GatewayHarness) -> None:
    """With 1,000 users in a hanging call another one is answered all the same."""
    until = asyncio.Event()
    hanging = set(range(10_000, 11_000))
    gate(gateway.backend, until, hanging)
    await asyncio.gather(*(gateway.say("hang", user=user) for user in hanging))
    await wait_until(lambda: len(gateway.backend.asked("SendMessage")) == 1000)
    await gateway.say("hi")
    await wait_until(lambda: gateway.texts() == ["echo: hi"])
    await wait_until(lambda: gateway.outcomes() == ["done"])
    until.set()
    await gateway.ended(1001)


async def test_a_broken_connection_costs_one_reply_at_most(
    gateway: GatewayHarness,
) -> None:
    """It is not sent twice, and the next one goes out as if nothing had been."""
    gateway.simulator.fail("sendMessage", drop=True)
    await gateway.say("lost")
    await gateway.ended(1)
    await gateway.say("kept")
    await gateway.ended(2)
    assert gateway.texts() == ["echo: kept"]


async def test_a_command_for_another_bot_is_ignored(gateway: GatewayHarness) -> None:
    """The group of many bots is left in peace."""
    await wait_until(
        lambda: any(call.method == "setMyCommands" for call in gateway.simulator.sent)
    )
    await gateway.say("/start@other_bot")
    await gateway.say("/start@Sandbox_Bot hello")
    await gateway.ended(2)
    assert gateway.outcomes() == ["unrouted", "done"]
    (request,) = gateway.backend.asked("Start")
    assert request.payload == "hello"


async def test_an_album_counts_once() -> None:
    """Ten photos that were sent together are ten updates and one of the limit."""
    async with running_gateway(rate_limit_requests=1, rate_limit_window=60) as gateway:
        album = json.loads((UPDATES / "message_album_item.json").read_bytes())
        for n in range(10):
            album["update_id"] = n + 1
            await gateway.post(json.dumps(album).encode())
        await gateway.ended(10)
        assert gateway.outcomes() == ["done"] * 10


async def test_health_readiness_and_metrics_are_there(gateway: GatewayHarness) -> None:
    """Operators and their machines see what is going on."""
    await gateway.say("hi")
    await gateway.ended(1)
    assert await gateway.get("/health") == (200, '{"status":"ok"}')
    status, body = await gateway.get("/health", ops=True)
    assert status == 200
    health = json.loads(body)
    assert health["status"] == "ok"
    assert health["mailboxes"] == "memory"
    assert await gateway.get("/ready", ops=True) == (
        200,
        '{"ready":true,"reason":"","bot_api":"ok"}',
    )
    _, page = await gateway.get("/metrics", ops=True)
    line = (
        'gateway_updates_total{outcome="done",route="text",update_type="message"} 1.0'
    )
    assert line in page
    for name in (
        "gateway_queue_wait_seconds_count 1.0",
        'gateway_service_seconds_count{route="text"} 1.0',
        'gateway_bot_api_seconds_count{method="sendMessage"} 1.0',
        "gateway_active_actors 0.0",
        "gateway_queued_updates 0.0",
    ):
        assert name in page
    # What operators see is not for the internet.
    assert (await gateway.get("/metrics"))[0] == 404


async def test_a_revoked_token_fails_readiness(gateway: GatewayHarness) -> None:
    """The gateway is ready again by itself when the token is."""
    gateway.simulator.fail("sendMessage", 401)
    gateway.simulator.fail("getMe", 401)
    await gateway.say("hi")
    await gateway.ended(1)
    status, _ = await gateway.get("/ready", ops=True)
    assert status == 503

    async def ready() -> bool:
        return (await gateway.get("/ready", ops=True))[0] == 200

    await wait_until_found(ready)


async def test_nothing_private_leaves_by_a_side_door(gateway: GatewayHarness) -> None:
    """No text, name, token or secret in a log, a metric or a page, whatever fails."""
    canary = "hush"
    person = {
        "id": 7,
        "first_name": f"{canary}-first",
        "last_name": f"{canary}-last",
        "username": f"{canary}_name",
    }
    message = {
        "message_id": 1,
        "date": 1_790_000_000,
        "from": person,
        "chat": {"id": 7, "type": "private", "first_name": f"{canary}-first"},
        "text": f"{canary}-text",
    }
    query = {"id": "1", "from": person, "data": f"{canary}:1", "message": message}
    await gateway.update({"message": message})
    await gateway.update({"message": {**message, "text": f"/{canary} x"}})
    await gateway.update({"callback_query": query})
    await gateway.update({f"{canary}_kind": {"from": person}})
    await gateway.post(f'{{"update_id": 5, "message": "{canary}"}}'.encode())
    await gateway.post(f'{{"{canary}": '.encode())
    await gateway.post(f"{canary}".encode(), secret=f"{canary}-secret")
    # What strangers send is logged by the webhook, at most once a second.
    assert {"update_body_invalid", "webhook_secret_invalid"} <= {
        line["message"] for line in gateway.log()
    }
    await gateway.ended(4)
    gateway.backend.status = {"SendMessage": grpc.StatusCode.INTERNAL}
    await gateway.update({"message": message})
    await gateway.ended(5)
    gateway.backend.status = {}
    gateway.simulator.fail("sendMessage", 400, description=f"Bad Request: {canary}")
    await gateway.update({"message": message})
    gateway.simulator.fail("sendMessage", 403, description=f"Forbidden: {canary}")
    await gateway.ended(6)
    await gateway.update({"message": message})
    await gateway.ended(7)
    gateway.simulator.fail("sendMessage", drop=True)
    await gateway.update({"message": message})
    await gateway.ended(8)
    pages = [json.dumps(gateway.log())]
    pages.append((await gateway.get("/metrics", ops=True))[1])
    pages.append((await gateway.get("/ready", ops=True))[1])
    pages.append((await gateway.get("/health", ops=True))[1])
    for page in pages:
        for private in (canary, TOKEN, TOKEN.partition(":")[2], SECRET):
            assert private not in page
