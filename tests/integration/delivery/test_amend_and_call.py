from collections.abc import AsyncIterator, Awaitable

import grpc
import pytest
from botgateway.chat.v1.reply_pb2 import Media, OutgoingMessage
from botgateway.delivery.v1.delivery_service_pb2 import (
    AmendRequest,
    CallRequest,
    Recipient,
)
from grpc import aio

from gateway.domain.delivery import DeliveryKind
from gateway.domain.message_handles import MessageHandle, MessageHandles
from tests.integration.delivery.harness import (
    Client,
    Harness,
    make_send,
    read_violations,
    serve,
)

HANDLE = MessageHandles(["a secret"]).encode(MessageHandle(7, -1005, 55))


@pytest.fixture
async def harness() -> AsyncIterator[Harness]:
    async with serve() as started:
        yield started


@pytest.fixture
async def client(harness: Harness) -> AsyncIterator[Client]:
    async with harness.client() as connected:
        yield connected


async def fail(call: Awaitable[object]) -> aio.AioRpcError:
    with pytest.raises(aio.AioRpcError) as caught:
        await call
    return caught.value


@pytest.mark.parametrize(
    "amendment",
    [
        AmendRequest(edit=OutgoingMessage(text="new")),
        AmendRequest(edit=OutgoingMessage()),
        AmendRequest(delete=True),
        AmendRequest(pin=True),
        AmendRequest(unpin=True),
        AmendRequest(reaction="👍"),
        AmendRequest(reaction=""),
    ],
    ids=lambda it: str(it).replace("\n", " "),
)
async def test_an_amendment_is_a_delivery_to_the_chat_of_the_message(
    harness: Harness, client: Client, amendment: AmendRequest
) -> None:
    if amendment.WhichOneof("amendment") == "edit" and not amendment.edit.text:
        amendment.edit.inline_keyboard.rows.add().buttons.add(text="x", url="x.org")
    request = AmendRequest(handle=HANDLE, idempotency_key="k")
    request.MergeFrom(amendment)
    response = await client.Amend(request)
    stored = harness.store.deliveries[response.delivery_id]
    assert (stored.kind, stored.ordering_key) == (DeliveryKind.AMEND, "7/-1005")
    assert stored.chat_id == -1005
    assert AmendRequest.FromString(stored.request) == request
    assert (await client.Amend(request)).is_repeated


async def test_all_wrong_fields_of_an_amendment_are_named(client: Client) -> None:
    error = await fail(client.Amend(AmendRequest()))
    expected = {"handle", "amendment", "idempotency_key"}
    assert set(read_violations(error)) == expected
    for amendment, field in (
        (AmendRequest(pin=False), "pin"),
        (AmendRequest(reaction="hush hush hush hush"), "reaction"),
        (AmendRequest(edit=OutgoingMessage()), "edit.text"),
        (AmendRequest(edit=OutgoingMessage(media=[Media()])), "edit.media"),
        (AmendRequest(edit=OutgoingMessage(text="x", remove_keyboard=True)), "edit"),
    ):
        request = AmendRequest(handle="forged", idempotency_key="k")
        request.MergeFrom(amendment)
        error = await fail(client.Amend(request))
        assert set(read_violations(error)) == {"handle", field}
        assert "hush" not in str(read_violations(error))


async def test_a_handle_of_a_bot_that_is_gone_is_refused(client: Client) -> None:
    handle = MessageHandles(["a secret"]).encode(MessageHandle(8, 1, 1))
    request = AmendRequest(handle=handle, delete=True, idempotency_key="k")
    assert set(read_violations(await fail(client.Amend(request)))) == {"handle"}


async def test_a_method_is_called_in_the_order_of_the_recipient(
    harness: Harness, client: Client
) -> None:
    request = CallRequest(
        recipient=Recipient(internal_user_id="u-1"),
        method="sendPoll",
        parameters_json='{"question": "Tea?", "options": ["yes", "no"]}',
        idempotency_key="k",
    )
    response = await client.Call(request)
    stored = harness.store.deliveries[response.delivery_id]
    assert (stored.kind, stored.ordering_key) == (DeliveryKind.CALL, "7/1001")
    assert CallRequest.FromString(stored.request) == request
    error = await fail(client.Send(make_send("k")))
    assert error.code() is grpc.StatusCode.ALREADY_EXISTS


@pytest.mark.parametrize("method", ["setWebhook", "SendPoll", "logOut"])
async def test_only_listed_methods_are_called(client: Client, method: str) -> None:
    request = CallRequest(
        recipient=Recipient(internal_user_id="u-1"), method=method, idempotency_key="k"
    )
    error = await fail(client.Call(request))
    assert error.code() is grpc.StatusCode.PERMISSION_DENIED


@pytest.mark.parametrize(
    "parameters", ["{", "[]", "1", '{"a": "' + "x" * 70_000 + '"}', "[" * 20_000]
)
async def test_parameters_are_a_small_json_object(
    client: Client, parameters: str
) -> None:
    request = CallRequest(parameters_json=parameters)
    assert set(read_violations(await fail(client.Call(request)))) == {
        "recipient",
        "method",
        "parameters_json",
        "idempotency_key",
    }
