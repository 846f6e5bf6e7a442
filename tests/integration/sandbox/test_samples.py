"""The sample services over a real channel, and as a process."""

import asyncio
import signal
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from botgateway.chat.v1 import message_pb2 as message
from botgateway.chat.v1.context_pb2 import RequestContext
from botgateway.chat.v1.reply_pb2 import TEXT_FORMAT_HTML, Reply
from botgateway.conversation.v1.conversation_service_pb2 import (
    SendMessageRequest,
    StreamMessageRequest,
)
from botgateway.conversation.v1.conversation_service_pb2_grpc import (
    ConversationServiceStub,
)
from botgateway.delivery.v1.delivery_service_pb2 import SendRequest, SendResponse
from botgateway.matching.v1 import matching_service_pb2 as matching
from botgateway.matching.v1.matching_service_pb2_grpc import MatchingServiceStub
from botgateway.notification.v1.notification_service_pb2 import (
    ReportReachabilityRequest,
    SetPreferenceRequest,
)
from botgateway.notification.v1.notification_service_pb2_grpc import (
    NotificationServiceStub,
)
from botgateway.profile.v1.profile_service_pb2 import (
    GetProfileRequest,
    ResolveUserRequest,
    ResolveUserResponse,
    StartRequest,
)
from botgateway.profile.v1.profile_service_pb2_grpc import (
    ProfileServiceServicer,
    ProfileServiceStub,
    add_ProfileServiceServicer_to_server,
)
from botgateway.route.v1.event_pb2 import (
    EVENT_DELIVERY_FAILED,
    EVENT_USER_BLOCKED_BOT,
    EVENT_USER_UNBLOCKED_BOT,
)

from gateway.sandbox.samples import conversation as conversation_sample
from gateway.sandbox.samples import idempotency
from gateway.sandbox.samples.__main__ import build_server
from gateway.sandbox.samples.delivery_client import DeliveryClient
from gateway.sandbox.samples.idempotency import IdempotencyInterceptor
from gateway.sandbox.samples.replies import WORDS
from gateway.sandbox.server import Simulator
from tests.support.waiting import wait_until


@pytest.fixture
async def channel() -> AsyncIterator[grpc.aio.Channel]:
    """A channel to the four services."""
    server = build_server()
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield channel
    await server.stop(None)


def who(
    request_id: str = "r-1", user: int = 1001, name: str = "", user_id: str = ""
) -> RequestContext:
    """Make the context of a request."""
    return RequestContext(
        request_id=request_id,
        telegram_user_id=user,
        first_name=name,
        internal_user_id=user_id,
    )


def texts(reply: Reply) -> list[str]:
    """Take the texts of a reply."""
    return [sent.text for sent in reply.messages]


async def test_conversation_says_back_what_it_hears(channel: grpc.aio.Channel) -> None:
    stub = ConversationServiceStub(channel)
    said = message.IncomingMessage(text="Grüße 😀")
    answer = await stub.SendMessage(SendMessageRequest(context=who(), message=said))
    assert texts(answer.reply) == ["You said: Grüße 😀"]


async def test_conversation_shows_what_a_reply_can_have(
    channel: grpc.aio.Channel,
) -> None:
    """Each word shows something that no other reply has; the start names them all."""
    stub = ConversationServiceStub(channel)
    shown = {}
    for number, word in enumerate(WORDS):
        said = message.IncomingMessage(text=f" {word.upper()}", message_id=77)
        request = SendMessageRequest(context=who(f"r-{number}"), message=said)
        answer = await stub.SendMessage(request)
        (shown[word],) = answer.reply.messages
    markups = [each.WhichOneof("markup") for each in shown.values()]
    assert markups == [
        "reply_keyboard",
        "remove_keyboard",
        "inline_keyboard",
        None,
        "force_reply",
    ]
    assert shown["reply"].reply_to_message_id == 77
    start = await ProfileServiceStub(channel).Start(StartRequest(context=who()))
    assert texts(start.reply)[0].endswith("keyboard, no keyboard, buttons, reply, ask.")


ATTACHMENTS = [
    field.name
    for field in message.IncomingMessage.DESCRIPTOR.oneofs_by_name["attachment"].fields
]


@pytest.mark.parametrize("kind", ATTACHMENTS)
async def test_conversation_names_what_was_attached(
    channel: grpc.aio.Channel, kind: str
) -> None:
    """Every kind of attachment that the contract knows."""
    stub = ConversationServiceStub(channel)
    said = message.IncomingMessage()
    getattr(said, kind).SetInParent()
    if kind == "other":
        said.other.type = "poll"
    answer = await stub.SendMessage(SendMessageRequest(context=who(), message=said))
    name = "poll" if kind == "other" else kind.replace("_", " ")
    assert texts(answer.reply) == [f"Thank you for the {name}!"]
    said.text = "Look"
    again = SendMessageRequest(context=who("r-2"), message=said)
    answer = await stub.SendMessage(again)
    assert texts(answer.reply) == [f"Thank you for the {name}! You wrote: Look"]


@pytest.mark.parametrize(
    ("word", "count", "start"),
    [("photo", 1, b"\x89PNG"), (" Album", 3, b"\x89PNG"), ("document", 1, b"day,")],
)
async def test_conversation_sends_files_that_it_makes(
    channel: grpc.aio.Channel, word: str, count: int, start: bytes
) -> None:
    """For those who ask; a photo that is called so is thanked for."""
    stub = ConversationServiceStub(channel)
    said = message.IncomingMessage(text=word)
    answer = await stub.SendMessage(SendMessageRequest(context=who(), message=said))
    (sent,) = answer.reply.messages
    contents = [media.upload.content for media in sent.media]
    assert len(contents) == count
    assert all(content.startswith(start) for content in contents)
    assert sent.text
    said.photo.file.file_id = "a"
    again = SendMessageRequest(context=who("r-2"), message=said)
    answer = await stub.SendMessage(again)
    assert texts(answer.reply)[0].startswith("Thank you")


async def test_conversation_reads_the_file_that_was_attached(
    channel: grpc.aio.Channel,
) -> None:
    """At the address that the gateway gave."""
    simulator = Simulator("1:a")
    file_id = simulator.files.store(b"x" * 123_456)
    async with simulator.serve() as url:
        said = message.IncomingMessage()
        said.document.file.url = f"{url}/files/{file_id}"
        request = SendMessageRequest(context=who(), message=said)
        answer = await ConversationServiceStub(channel).SendMessage(request)
    thanks = "Thank you for the document! It has 123456 bytes."
    assert texts(answer.reply) == [thanks]


async def test_conversation_writes_word_by_word(
    channel: grpc.aio.Channel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each piece is appended to those before it; the reply comes last."""
    monkeypatch.setattr(conversation_sample, "WORD_SECONDS", 0)
    said = message.IncomingMessage(text="one two")
    request = StreamMessageRequest(context=who(), message=said)
    stream = ConversationServiceStub(channel).StreamMessage(request)
    *pieces, last = [piece async for piece in stream]
    assert [piece.text_piece for piece in pieces] == ["You ", "said: ", "one ", "two"]
    assert texts(last.reply) == ["You said: one two"]


async def test_the_buttons_of_a_proposal_reach_the_matching_service(
    channel: grpc.aio.Channel,
) -> None:
    """Every proposed button names an rpc that takes its person."""
    said = message.IncomingMessage(text=" Match ")
    answer = await ConversationServiceStub(channel).SendMessage(
        SendMessageRequest(context=who(), message=said)
    )
    stub = MatchingServiceStub(channel)
    rpcs: dict[str, tuple[Any, Any]] = {
        "CONNECT": (stub.Connect, matching.ConnectRequest),
        "ACCEPT": (stub.Accept, matching.AcceptRequest),
        "REJECT": (stub.Reject, matching.RejectRequest),
        "SKIP": (stub.Skip, matching.SkipRequest),
    }
    data = [
        button.callback_data
        for sent in answer.reply.messages
        for row in sent.inline_keyboard.rows
        for button in row.buttons
    ]
    assert sorted(each.partition(":")[0] for each in data) == sorted(rpcs)
    for each in data:
        verb, _, person = each.partition(":")
        rpc, request = rpcs[verb]
        decided = (await rpc(request(context=who(), target_user_id=person))).reply
        (sent,) = decided.messages
        assert sent.edit
        assert sent.text
        assert not sent.HasField("inline_keyboard")
        assert decided.callback_answer.text == "Done"


async def test_a_forged_button_finds_nobody(channel: grpc.aio.Channel) -> None:
    """The data of a button is checked, and the proposal stays as it is."""
    request = matching.ConnectRequest(context=who(), target_user_id="u-{0}")
    reply = (await MatchingServiceStub(channel).Connect(request)).reply
    assert texts(reply) == []
    assert reply.callback_answer.show_alert


async def test_a_user_is_always_resolved_to_the_same_id(
    channel: grpc.aio.Channel,
) -> None:
    """By the Telegram id alone; without one there is no user."""
    stub = ProfileServiceStub(channel)
    ids = [
        (
            await stub.ResolveUser(
                ResolveUserRequest(context=who(f"r-{user}-{n}", user))
            )
        ).internal_user_id
        for user in (1001, 1002, 0)
        for n in range(2)
    ]
    assert ids == ["u-1001", "u-1001", "u-1002", "u-1002", "", ""]


async def test_start_welcomes_and_names_the_link(channel: grpc.aio.Channel) -> None:
    """What the user typed cannot become markup."""
    stub = ProfileServiceStub(channel)
    request = StartRequest(context=who(name="<Ada>"), payload="a&b")
    (sent,) = (await stub.Start(request)).reply.messages
    assert sent.format == TEXT_FORMAT_HTML
    assert "<b>Welcome, &lt;Ada&gt;!</b>" in sent.text
    assert "<i>a&amp;b</i>" in sent.text
    (sent,) = (await stub.Start(StartRequest(context=who("r-2")))).reply.messages
    assert "stranger" in sent.text
    assert "link" not in sent.text


async def test_the_profile_shows_what_is_known(channel: grpc.aio.Channel) -> None:
    """The name and the company's own id."""
    context = who(name="Ada", user_id="u-1001")
    request = GetProfileRequest(context=context)
    (sent,) = (await ProfileServiceStub(channel).GetProfile(request)).reply.messages
    assert sent.text == "<b>Ada</b>\nYour user id: <code>u-1001</code>"


async def test_preferences_are_kept_for_each_user(channel: grpc.aio.Channel) -> None:
    """On at first; off for the one who said so."""
    stub = NotificationServiceStub(channel)
    said = []
    steps = [(1, ""), (1, "OFF"), (1, "maybe"), (2, ""), (1, " on "), (1, "")]
    for number, (user, setting) in enumerate(steps):
        request = SetPreferenceRequest(
            context=who(f"r-{number}", user), setting=setting
        )
        (text,) = texts((await stub.SetPreference(request)).reply)
        said.append(text.split(". ")[0].removesuffix("."))
    on, off = "Notifications are on", "Notifications are off"
    assert said == [on, off, off, on, on, on]


async def test_only_those_who_come_back_are_greeted(channel: grpc.aio.Channel) -> None:
    """The others would not hear it."""
    stub = NotificationServiceStub(channel)
    events = (EVENT_USER_BLOCKED_BOT, EVENT_DELIVERY_FAILED, EVENT_USER_UNBLOCKED_BOT)
    greetings = []
    for event in events:
        context = who(f"r-{event}")
        request = ReportReachabilityRequest(context=context, event=event)
        greetings.append(texts((await stub.ReportReachability(request)).reply))
    assert greetings == [[], [], ["Good to have you back!"]]


async def test_a_repeated_request_gets_the_same_answer_and_acts_once(
    channel: grpc.aio.Channel,
) -> None:
    """A repetition that comes late does not undo what came after it."""
    stub = NotificationServiceStub(channel)
    off = SetPreferenceRequest(context=who("r-1"), setting="off")
    on = SetPreferenceRequest(context=who("r-2"), setting="on")
    first = await stub.SetPreference(off)
    await stub.SetPreference(on)
    assert await stub.SetPreference(off) == first
    now = await stub.SetPreference(SetPreferenceRequest(context=who("r-3")))
    assert texts(now.reply)[0].startswith("Notifications are on")


async def test_other_rpcs_may_have_the_same_request_id(
    channel: grpc.aio.Channel,
) -> None:
    """One update may call several rpcs."""
    stub = ProfileServiceStub(channel)
    user = await stub.ResolveUser(ResolveUserRequest(context=who()))
    start = await stub.Start(StartRequest(context=who()))
    assert user.internal_user_id == "u-1001"
    assert start.reply.messages


class SlowProfile(ProfileServiceServicer):
    """Resolves a user when it is told to; counts how often it acts."""

    def __init__(self) -> None:
        self.acts = 0
        self.done = 0
        self.go = asyncio.Event()
        self.broken = False

    async def ResolveUser(  # noqa: N802 - the contract's name
        self,
        request: ResolveUserRequest,
        context: grpc.aio.ServicerContext[Any, Any],
    ) -> ResolveUserResponse:
        """Wait, then give another answer each time."""
        self.acts += 1
        act = self.acts
        await self.go.wait()
        if self.broken:
            await context.abort(grpc.StatusCode.UNAVAILABLE)
        self.done += 1
        return ResolveUserResponse(internal_user_id=f"act {act}")

    Start = ProfileServiceServicer.Start
    GetProfile = ProfileServiceServicer.GetProfile


@pytest.fixture
async def slow() -> AsyncIterator[tuple[SlowProfile, Any]]:
    """A service that takes its time, and its rpc."""
    server = grpc.aio.server(interceptors=[IdempotencyInterceptor()])
    profile = SlowProfile()
    add_ProfileServiceServicer_to_server(profile, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield profile, ProfileServiceStub(channel).ResolveUser
    await server.stop(None)


async def test_a_repetition_waits_for_the_first_attempt(
    slow: tuple[SlowProfile, Any],
) -> None:
    """Also when the first caller has given up: what was begun is finished."""
    profile, resolve = slow
    request = ResolveUserRequest(context=who())
    with pytest.raises(grpc.aio.AioRpcError) as given_up:
        await resolve(request, timeout=0.1)
    assert given_up.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    second = asyncio.ensure_future(resolve(request))
    profile.go.set()
    assert (await second).internal_user_id == "act 1"
    assert (profile.acts, profile.done) == (1, 1)


async def test_a_failed_attempt_is_forgotten(slow: tuple[SlowProfile, Any]) -> None:
    """The next one acts again and may do better."""
    profile, resolve = slow
    request = ResolveUserRequest(context=who())
    profile.go.set()
    profile.broken = True
    with pytest.raises(grpc.aio.AioRpcError):
        await resolve(request)
    profile.broken = False
    assert (await resolve(request)).internal_user_id == "act 2"


async def test_only_the_newest_answers_are_remembered(
    monkeypatch: pytest.MonkeyPatch, slow: tuple[SlowProfile, Any]
) -> None:
    """Memory is bounded; the oldest answers go first."""
    monkeypatch.setattr(idempotency, "MAX_REMEMBERED", 2)
    profile, resolve = slow
    profile.go.set()
    for request_id in ("a", "b", "c", "b", "c", "a"):
        await resolve(ResolveUserRequest(context=who(request_id)))
    assert profile.acts == 4


async def test_the_process_serves_and_ends_politely() -> None:
    """It says where it listens, answers, and exits with 0 on SIGTERM."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway.sandbox.samples", "--port", "0"), stdout=PIPE
    )
    try:
        assert process.stdout
        line = (await process.stdout.readline()).decode()
        address = line.removeprefix("sample services on ").strip()
        async with grpc.aio.insecure_channel(address) as channel:
            request = ResolveUserRequest(context=who())
            answer = await ProfileServiceStub(channel).ResolveUser(request)
        assert answer.internal_user_id == "u-1001"
        process.send_signal(signal.SIGTERM)
        await wait_until(lambda: process.returncode == 0)
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


class Deliveries:
    """The Delivery service of a gateway, which answers what a test says."""

    def __init__(self) -> None:
        self.requests: list[SendRequest] = []
        self.failures: list[grpc.StatusCode] = []
        """The statuses of the next calls; after them all succeed."""

    async def send(
        self, request: SendRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> SendResponse:
        """Take a delivery."""
        self.requests.append(request)
        if self.failures:
            await context.abort(self.failures.pop(0))
        return SendResponse(delivery_id="d")


@pytest.fixture
async def deliveries() -> AsyncIterator[tuple[Deliveries, grpc.aio.Channel]]:
    """Yield a Delivery service, and a channel to the samples that use it."""
    service, server = Deliveries(), grpc.aio.server()
    handler = grpc.unary_unary_rpc_method_handler(
        service.send, SendRequest.FromString, SendResponse.SerializeToString
    )
    name = "botgateway.delivery.v1.DeliveryService"
    server.add_generic_rpc_handlers(
        [grpc.method_handlers_generic_handler(name, {"Send": handler})]
    )
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    client = DeliveryClient(f"127.0.0.1:{port}")
    samples = build_server(client)
    samples_port = samples.add_insecure_port("127.0.0.1:0")
    await samples.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{samples_port}") as channel:
        profile = ProfileServiceStub(channel)
        for number, name in ((1001, "Ada"), (1002, "Grace")):
            context = who(f"r-{number}", number, name)
            await profile.ResolveUser(ResolveUserRequest(context=context))
        yield service, channel
    await samples.stop(None)
    await client.close()
    await server.stop(None)


async def test_the_user_of_a_proposal_is_asked_in_their_own_chat(
    deliveries: tuple[Deliveries, grpc.aio.Channel],
) -> None:
    """A user called Grace is proposed instead of the made-up one."""
    service, channel = deliveries
    ada = who("r-1", 1001, "Ada", "u-1001")
    answer = await ConversationServiceStub(channel).SendMessage(
        SendMessageRequest(context=ada, message=message.IncomingMessage(text="match"))
    )
    (row,) = answer.reply.messages[0].inline_keyboard.rows
    assert row.buttons[0].callback_data == "CONNECT:u-1002"
    stub = MatchingServiceStub(channel)
    request = matching.ConnectRequest(context=ada, target_user_id="u-1002")
    assert texts((await stub.Connect(request)).reply) == ["You asked Grace."]
    (asked,) = service.requests
    assert asked.recipient.internal_user_id == "u-1002"
    (sent,) = asked.messages
    assert sent.text == "Ada asks for your contact."
    (row,) = sent.inline_keyboard.rows
    assert [it.callback_data for it in row.buttons] == [
        "ACCEPT:u-1001",
        "REJECT:u-1001",
    ]
    grace = who("r-2", 1002, "Grace", "u-1002")
    accept = matching.AcceptRequest(context=grace, target_user_id="u-1001")
    await stub.Accept(accept)
    assert service.requests[1].recipient.internal_user_id == "u-1001"
    assert service.requests[1].messages[0].text.startswith("Grace accepted")


async def test_a_delivery_whose_outcome_is_unknown_is_repeated_with_its_key(
    deliveries: tuple[Deliveries, grpc.aio.Channel],
) -> None:
    service, channel = deliveries
    service.failures = [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.UNAVAILABLE]
    request = matching.RejectRequest(
        context=who("r-1", 1001, "Ada", "u-1001"), target_user_id="u-1002"
    )
    reply = (await MatchingServiceStub(channel).Reject(request)).reply
    assert texts(reply) == ["You said no to Grace."]
    assert len(service.requests) == 3
    assert {it.idempotency_key for it in service.requests} == {"r-1"}


async def test_a_refused_delivery_is_told_and_nothing_is_decided(
    deliveries: tuple[Deliveries, grpc.aio.Channel],
) -> None:
    service, channel = deliveries
    service.failures = [grpc.StatusCode.NOT_FOUND]
    request = matching.ConnectRequest(
        context=who("r-1", 1001, "Ada", "u-1001"), target_user_id="u-1002"
    )
    reply = (await MatchingServiceStub(channel).Connect(request)).reply
    assert texts(reply) == []
    assert reply.callback_answer.show_alert
    assert len(service.requests) == 1
