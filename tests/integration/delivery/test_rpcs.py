from collections.abc import AsyncIterator, Awaitable
from typing import Any

import grpc
import pytest
from botgateway.chat.v1.reply_pb2 import (
    CallbackTarget,
    InlineKeyboard,
    InlineKeyboardButton,
    InlineKeyboardRow,
    Media,
    OutgoingMessage,
    Upload,
)
from botgateway.delivery.v1.delivery_pb2 import (
    DELIVERY_PRIORITY_BULK,
    DELIVERY_STATE_ACCEPTED,
    DELIVERY_STATE_CANCELLED,
    DELIVERY_STATE_SCHEDULED,
    DELIVERY_STATE_SENT,
    DOUBT_POLICY_DROP,
    REPORT_POLICY_FAILURES,
)
from botgateway.delivery.v1.delivery_service_pb2 import (
    CancelRequest,
    DeliveryOptions,
    GetRequest,
    Recipient,
    SendRequest,
)
from google.protobuf.timestamp_pb2 import Timestamp
from grpc import aio

from gateway.delivery.bots import DeliveryBot
from gateway.domain.delivery import DeliveryKind, DeliveryState, ReportPolicy, SentPart
from gateway.domain.errors import StoreUnavailable
from gateway.domain.message_handles import MessageHandle, MessageHandles
from tests.integration.delivery.harness import (
    Client,
    Harness,
    make_send,
    read_retry_seconds,
    read_violations,
    serve,
)
from tests.support.waiting import wait_until


@pytest.fixture
async def harness() -> AsyncIterator[Harness]:
    async with serve() as started:
        yield started


@pytest.fixture
async def client(harness: Harness) -> AsyncIterator[Client]:
    async with harness.client() as connected:
        yield connected


def at(seconds: float) -> Timestamp:
    return Timestamp(seconds=int(seconds))


async def fail(call: Awaitable[object]) -> aio.AioRpcError:
    with pytest.raises(aio.AioRpcError) as caught:
        await call
    return caught.value


async def test_a_send_is_stored_for_the_mailbox_of_the_user(
    harness: Harness, client: Client
) -> None:
    request = make_send()
    response = await client.Send(request)
    assert not response.is_repeated
    stored = harness.store.deliveries[response.delivery_id]
    assert len(response.delivery_id) == 16
    assert (stored.ordering_key, stored.chat_id, stored.bot_id) == ("7/1001", 1001, 7)
    assert (stored.kind, stored.caller) == (DeliveryKind.SEND, "local")
    assert SendRequest.FromString(stored.request) == request
    now = harness.clock.now()
    assert (stored.accepted_at, stored.expires_at) == (now, now + 86400)
    assert (stored.not_before, stored.is_bulk, stored.collapse_key) == (None, False, "")
    assert (stored.repeat_if_doubtful, stored.report) == (True, ReportPolicy.NONE)


@pytest.mark.parametrize(
    ("recipient", "ordering_key"),
    [
        ({"telegram_user_id": 5}, "7/5"),
        ({"chat_id": -1005}, "7/-1005"),
        ({"bot": "shop", "chat_id": -5, "message_thread_id": 3}, "7/-5"),
        ({"bot": "7", "telegram_user_id": 5}, "7/5"),
    ],
)
async def test_a_recipient_is_a_user_or_a_chat(
    harness: Harness, client: Client, recipient: dict[str, Any], ordering_key: str
) -> None:
    response = await client.Send(make_send(**recipient))
    stored = harness.store.deliveries[response.delivery_id]
    assert stored.ordering_key == ordering_key


async def test_a_bulk_delivery_has_one_message(client: Client) -> None:
    request = make_send()
    request.options.priority = DELIVERY_PRIORITY_BULK
    request.messages.append(OutgoingMessage(text="another"))
    violations = read_violations(await fail(client.Send(request)))
    assert set(violations) == {"messages"}


async def test_options_are_stored(harness: Harness, client: Client) -> None:
    now = harness.clock.now()
    request = make_send()
    request.options.CopyFrom(
        DeliveryOptions(
            not_before=at(now + 60),
            expire_time=at(now + 120),
            priority=DELIVERY_PRIORITY_BULK,
            collapse_key="status",
            on_doubt=DOUBT_POLICY_DROP,
            report=REPORT_POLICY_FAILURES,
        )
    )
    response = await client.Send(request)
    stored = harness.store.deliveries[response.delivery_id]
    assert (stored.not_before, stored.expires_at) == (now + 60, now + 120)
    assert (stored.is_bulk, stored.collapse_key) == (True, "status")
    assert (stored.repeat_if_doubtful, stored.report) == (False, ReportPolicy.FAILURES)
    found = await client.Get(GetRequest(delivery_id=response.delivery_id))
    assert found.status.state == DELIVERY_STATE_SCHEDULED


async def test_a_repeated_request_returns_the_first_delivery(
    harness: Harness, client: Client
) -> None:
    first = await client.Send(make_send())
    harness.clock.move(10)
    second = await client.Send(make_send())
    assert second.delivery_id == first.delivery_id
    assert second.is_repeated
    assert len(harness.store.deliveries) == 1


async def test_a_repeated_request_may_come_after_its_time(
    harness: Harness, client: Client
) -> None:
    """A caller that repeats it for long must not take a success for a failure."""
    request = make_send()
    request.options.expire_time.CopyFrom(at(harness.clock.now() + 60))
    first = await client.Send(request)
    harness.clock.move(61)
    second = await client.Send(request)
    assert second.delivery_id == first.delivery_id
    assert second.is_repeated
    request.idempotency_key = "another"
    error = await fail(client.Send(request))
    assert read_violations(error) == {"options.expire_time": "is over"}


async def test_another_request_under_a_used_key_is_refused(client: Client) -> None:
    await client.Send(make_send())
    error = await fail(client.Send(make_send(text="other")))
    assert error.code() is grpc.StatusCode.ALREADY_EXISTS


async def test_all_wrong_fields_are_named_at_once(
    harness: Harness, client: Client
) -> None:
    now = harness.clock.now()
    button = InlineKeyboardButton(callback_target=CallbackTarget())
    keyboard = InlineKeyboard(rows=[InlineKeyboardRow(buttons=[button])])
    request = SendRequest(
        recipient=Recipient(bot="other", chat_id=5, message_thread_id=0),
        messages=[
            OutgoingMessage(text=" ", edit=True),
            OutgoingMessage(media=[Media(), Media(url="ftp://x")]),
            OutgoingMessage(media=[Media(upload=Upload())], inline_keyboard=keyboard),
        ],
        idempotency_key="café",
        options=DeliveryOptions(
            not_before=at(now + 367 * 86400),
            expire_time=at(now + 1),
            collapse_key="x" * 65,
            priority=9,  # type: ignore[arg-type]
        ),
    )
    error = await fail(client.Send(request))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    button_path = "messages[2].inline_keyboard.rows[0].buttons[0]"
    assert set(read_violations(error)) == {
        "recipient.bot",
        "recipient.chat_id",
        "recipient.message_thread_id",
        "messages[0].text",
        "messages[0].edit",
        "messages[1].media[0]",
        "messages[1].media[1].url",
        "messages[2].media[0].upload.content",
        f"{button_path}.text",
        f"{button_path}.callback_target.method",
        "idempotency_key",
        "options.not_before",
        "options.expire_time",
        "options.collapse_key",
        "options.priority",
    }
    assert harness.store.deliveries == {}


async def test_an_empty_request_names_what_is_missing(client: Client) -> None:
    error = await fail(client.Send(SendRequest()))
    assert set(read_violations(error)) == {"recipient", "messages", "idempotency_key"}


async def test_a_request_with_thousands_of_mistakes_is_answered(client: Client) -> None:
    """The details have to fit into the metadata of the response."""
    media = [Media() for _ in range(5000)]
    request = make_send()
    request.messages[0].media.extend(media)
    error = await fail(client.Send(request))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "messages[0].media" in read_violations(error)


async def test_nothing_of_a_request_is_in_its_refusal(client: Client) -> None:
    request = make_send(key="hush\n", text="hush", internal_user_id="hush")
    request.messages.add(text="hush", edit=True)
    request.options.collapse_key = "hush\n"
    error = await fail(client.Send(request))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "hush" not in str(error.details()) + str(read_violations(error))


async def test_an_unknown_internal_id_is_not_found(client: Client) -> None:
    error = await fail(client.Send(make_send(internal_user_id="nobody")))
    assert error.code() is grpc.StatusCode.NOT_FOUND


async def test_a_full_mailbox_says_when_to_try_again(
    harness: Harness, client: Client
) -> None:
    harness.store.full = True
    error = await fail(client.Send(make_send()))
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert read_retry_seconds(error) == 5


@pytest.mark.parametrize("method", ["Send", "Get", "Cancel"])
async def test_a_store_that_does_not_answer_is_unavailable(
    harness: Harness, client: Client, method: str
) -> None:
    harness.store.error = StoreUnavailable("no answer")
    requests = {
        "Send": make_send(),
        "Get": GetRequest(delivery_id="x"),
        "Cancel": CancelRequest(delivery_id="x"),
    }
    error = await fail(getattr(client, method)(requests[method]))
    assert error.code() is grpc.StatusCode.UNAVAILABLE


async def test_an_unexpected_error_tells_the_caller_nothing(
    harness: Harness, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    harness.store.error = KeyError("hush")
    error = await fail(client.Send(make_send()))
    assert error.code() is grpc.StatusCode.INTERNAL
    assert "hush" not in str(error.details()) + caplog.text
    assert [it.message for it in caplog.records] == ["delivery_rpc_failed"]
    await wait_until(lambda: harness.rpcs == [("Send", "INTERNAL")])


async def test_a_delivery_is_found_by_its_id_and_by_its_key(
    harness: Harness, client: Client
) -> None:
    sent = await client.Send(make_send())
    record = harness.store.records[sent.delivery_id]
    record.state = DeliveryState.SENT
    record.sequence_number = 3
    record.sent_parts = [SentPart(1001, 55)]
    record.maybe_repeated = True
    record.updated_at += 1.5
    by_id = await client.Get(GetRequest(delivery_id=sent.delivery_id))
    by_key = await client.Get(GetRequest(idempotency_key="k-1", bot="shop"))
    assert by_id == by_key
    status = by_id.status
    assert (status.delivery_id, status.idempotency_key) == (sent.delivery_id, "k-1")
    assert (status.state, status.sequence_number) == (DELIVERY_STATE_SENT, 3)
    assert status.maybe_repeated
    took = status.update_time.ToNanoseconds() - status.accept_time.ToNanoseconds()
    assert took == 1_500_000_000
    (message,) = status.messages
    assert message.message_id == 55
    handles = MessageHandles(["a secret"])
    assert handles.decode(message.handle) == MessageHandle(7, 1001, 55)


async def test_an_unknown_delivery_is_not_found(client: Client) -> None:
    for call in (
        client.Get(GetRequest(delivery_id="unknown")),
        client.Get(GetRequest(idempotency_key="unknown")),
        client.Cancel(CancelRequest(delivery_id="unknown")),
    ):
        assert (await fail(call)).code() is grpc.StatusCode.NOT_FOUND


async def test_get_takes_either_an_id_or_a_key(client: Client) -> None:
    for request in (GetRequest(), GetRequest(delivery_id="x", idempotency_key="k")):
        error = await fail(client.Get(request))
        assert set(read_violations(error)) == {"delivery_id"}


async def test_cancelling_twice_is_no_error(harness: Harness, client: Client) -> None:
    sent = await client.Send(make_send())
    found = await client.Get(GetRequest(delivery_id=sent.delivery_id))
    assert found.status.state == DELIVERY_STATE_ACCEPTED
    for _ in range(2):
        cancelled = await client.Cancel(CancelRequest(delivery_id=sent.delivery_id))
        assert cancelled.status.state == DELIVERY_STATE_CANCELLED


async def test_a_delivery_that_is_being_sent_cannot_be_cancelled(
    harness: Harness, client: Client
) -> None:
    sent = await client.Send(make_send())
    harness.store.records[sent.delivery_id].state = DeliveryState.SENDING
    error = await fail(client.Cancel(CancelRequest(delivery_id=sent.delivery_id)))
    assert error.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert "sending" in str(error.details())


async def test_a_caller_of_several_bots_has_to_name_one() -> None:
    bots = [DeliveryBot(bot_id=7), DeliveryBot(bot_id=8, name="news")]
    async with serve(bots=bots) as harness, harness.client() as client:
        error = await fail(client.Send(make_send()))
        assert set(read_violations(error)) == {"recipient.bot"}
        error = await fail(client.Get(GetRequest(idempotency_key="k")))
        assert set(read_violations(error)) == {"bot"}
        same_key = [
            await client.Send(make_send(bot=bot, telegram_user_id=5))
            for bot in ("7", "news")
        ]
        keys = [
            harness.store.deliveries[it.delivery_id].ordering_key for it in same_key
        ]
        assert keys == ["7/5", "8/5"]


async def test_a_large_file_is_accepted_and_a_large_text_is_not(
    harness: Harness, client: Client
) -> None:
    request = make_send()
    request.messages[0].media.add(upload=Upload(content=bytes(50 * 10**6)))
    response = await client.Send(request)
    assert response.delivery_id in harness.store.deliveries
    request = make_send(key="k-2", text="x" * 5 * 2**20)
    error = await fail(client.Send(request))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_bytes_that_are_no_request_are_refused(harness: Harness) -> None:
    async with aio.insecure_channel(f"127.0.0.1:{harness.port}") as channel:
        call: aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(
            "/botgateway.delivery.v1.DeliveryService/Send"
        )
        error = await fail(call(b"\xff\xff"))
        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_rpcs_are_counted_by_method_and_status(
    harness: Harness, client: Client
) -> None:
    await client.Send(make_send())
    await fail(client.Get(GetRequest()))
    await wait_until(
        lambda: harness.rpcs == [("Send", "OK"), ("Get", "INVALID_ARGUMENT")]
    )
