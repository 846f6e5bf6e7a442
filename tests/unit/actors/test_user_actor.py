"""One user's turn."""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import pytest
from botgateway.chat.v1.context_pb2 import CHAT_TYPE_SUPERGROUP
from botgateway.chat.v1.reply_pb2 import OutgoingMessage, Reply
from botgateway.route.v1.event_pb2 import (
    EVENT_DELIVERY_FAILED,
    EVENT_USER_BLOCKED_BOT,
    EVENT_USER_UNBLOCKED_BOT,
)
from msgspec import structs

from gateway.actors.rate_limit import RateLimiter
from gateway.actors.replies.reply_sender import ReplySender
from gateway.actors.replies.user_notices import (
    RATE_LIMITED_TEXT,
    UNKNOWN_COMMAND_TEXT,
)
from gateway.actors.user_actor import UserActor
from gateway.domain.errors import (
    APOLOGY_TEXT,
    BotApiUnavailable,
    CallRejected,
    LeaseLost,
    RecipientBlocked,
    RejectedPart,
    ServiceFailed,
    ServiceTimeout,
    ServiceUnavailable,
)
from gateway.domain.ports import POISON_LOSSES, MailboxLease
from gateway.domain.update import REPLAYED, BotEvent, Envelope, OtherUpdate, Update
from gateway.domain.user_state import decode_user_state
from gateway.mailboxes.memory.mailboxes import MemoryMailboxStore
from gateway.mailboxes.stream_cancellation import LocalCancellationBus
from tests.support.fakes import (
    FakeClock,
    FakeLease,
    FakeMessenger,
    FakeServices,
    Turns,
    a_message,
    an_answering,
    text_of,
)

PATIENCE = 120
"""REPLY_PATIENCE in these tests."""

REPLAY = Envelope(update_id=3, ordering_key="7", arrived_at=REPLAYED, body=b"3")


class Stage:
    """An actor with everything around it."""

    def __init__(self, requests: int = 100) -> None:
        self.clock = FakeClock()
        self.mailboxes = MemoryMailboxStore(self.clock, limit=64, max_sessions=100)
        self.services = FakeServices()
        self.messenger = FakeMessenger()
        self.turns = Turns()
        self.stops = LocalCancellationBus()
        self.read_at: list[float] = []
        self.useful_seconds = 0.0
        self.claims: list[MailboxLease] = []
        """Under which updates were served."""
        self.actor = UserActor(
            self.mailboxes,
            self.services,
            an_answering(self.services, self.messenger, self.clock, self.stops),
            ReplySender(self.messenger, self.services, self.clock, patience=PATIENCE),
            RateLimiter(requests, 1),
            clock=self.clock,
            parse_update=self.read,
            observe_update=self.turns.append,
        )

    def read(self, body: bytes, arrived: float) -> Update:
        """Read an envelope that has lost its update."""
        self.read_at.append(arrived)
        useful = self.useful_seconds
        update = a_message(int(body), "read again", useful_seconds=useful).update
        assert update is not None
        return update

    async def serve(self, *envelopes: Envelope) -> FakeLease:
        """Put updates of one lane and serve them."""
        lease = await self.mailboxes.put(envelopes[0])
        assert isinstance(lease, MailboxLease)
        for envelope in envelopes[1:]:
            await self.mailboxes.put(envelope)
        self.claims.append(lease)
        held = FakeLease(lease)
        await self.actor.serve_mailbox(held, held.should_release)
        return held


@pytest.fixture
def stage() -> Stage:
    """Give an actor without a rate limit to speak of."""
    return Stage()


async def test_a_message_gets_the_services_answer(stage: Stage) -> None:
    """The text goes to its route, the reply to the user, the lane is free again."""
    await stage.serve(a_message(1, "hi"))
    assert stage.messenger.texts == ["hi"]
    assert stage.turns.outcomes == ["done"]
    assert stage.mailboxes.in_memory == 0
    record = stage.turns[0]
    assert (record.route, record.request_id, record.telegram_user_id) == (
        "text",
        "1-1",
        7,
    )


async def test_updates_are_taken_in_the_order_of_their_ids(stage: Stage) -> None:
    """However they arrived, the lowest id among those present comes first."""
    await stage.serve(*(a_message(n, str(n)) for n in (5, 9, 7, 8, 6)))
    assert stage.messenger.texts == ["5", "6", "7", "8", "9"]


async def test_an_update_is_answered_once(stage: Stage) -> None:
    """A repetition after the first one was done is dropped."""
    await stage.serve(a_message(1, "hi"))
    await stage.serve(a_message(1, "hi"))
    assert stage.messenger.texts == ["hi"]
    assert stage.turns.outcomes == ["done", "duplicate"]


async def test_an_envelope_without_its_update_is_read_again(stage: Stage) -> None:
    """After a restart only the bytes are there."""
    envelope = Envelope(update_id=3, ordering_key="7", arrived_at=0, body=b"3")
    await stage.serve(envelope)
    assert stage.messenger.texts == ["read again"]


async def test_the_user_is_resolved_once_per_session(stage: Stage) -> None:
    """The internal id is asked for once and handed to every call until it ends."""
    await stage.serve(a_message(1), a_message(2))
    stage.clock.move(3599)
    await stage.serve(a_message(3))
    assert stage.services.resolved == [7]
    stage.clock.move(1)
    await stage.serve(a_message(4))
    assert stage.services.resolved == [7, 7]
    assert {internal for _, _, internal in stage.services.calls} == {"u-7"}


async def test_without_a_session_the_update_goes_on(stage: Stage) -> None:
    """A failing session service costs the id, not the answer; and is left alone."""
    stage.services.internal_user_id = ServiceTimeout("session")
    await stage.serve(a_message(1), a_message(2))
    assert stage.turns.outcomes == ["done", "done"]
    assert stage.services.resolved == [7]
    stage.services.internal_user_id = "u-8"
    stage.clock.move(10)
    await stage.serve(a_message(3))
    assert [internal for _, _, internal in stage.services.calls] == ["", "", "u-8"]


async def test_a_user_without_an_id_is_asked_for_again(stage: Stage) -> None:
    """An empty id is no session: the user may register any moment."""
    stage.services.internal_user_id = ""
    await stage.serve(a_message(1), a_message(2))
    assert stage.services.resolved == [7, 7]


@pytest.mark.parametrize(
    "fields",
    [
        {"telegram_user_id": 0},
        {"business_connection_id": "b"},
    ],
    ids=["nobody", "over a business connection"],
)
async def test_nobody_else_is_taken_for_the_user_of_a_mailbox(
    stage: Stage, fields: dict[str, Any]
) -> None:
    """What no human did towards the bot has no user, whosever mailbox it is in."""
    await stage.serve(a_message(1))
    envelope = a_message(2)
    assert envelope.update is not None
    for name, value in fields.items():
        setattr(envelope.update.context, name, value)
    stage.clock.move(3600)
    await stage.serve(envelope)
    await stage.serve(a_message(3))
    assert [internal for _, _, internal in stage.services.calls] == ["u-7", "", "u-7"]
    assert stage.services.resolved == [7, 7]


async def test_what_an_unwanted_bot_says_is_dropped(stage: Stage) -> None:
    """Two bots that answered each other would never stop."""
    for envelope in a_message(1), a_message(2, callback="CONNECT:7"):
        assert envelope.update is not None
        update = structs.replace(envelope.update, is_unwanted=True)
        await stage.serve(structs.replace(envelope, update=update))
    assert stage.turns.outcomes == ["from_bot", "from_bot"]
    assert (stage.services.calls, stage.messenger.sent) == ([], [])
    assert stage.services.resolved == []


async def test_a_bot_that_is_allowed_has_no_session(stage: Stage) -> None:
    """It is none of the company's users."""
    envelope = a_message(1, "hi")
    assert envelope.update is not None
    envelope.update.context.is_bot = True
    await stage.serve(envelope)
    assert stage.messenger.texts == ["hi"]
    assert stage.services.resolved == []
    assert [internal for _, _, internal in stage.services.calls] == [""]


async def test_a_service_ends_a_session(stage: Stage) -> None:
    """Whoever was unlinked or banned is resolved anew with the next update."""

    async def unlink(update: Update) -> Reply:
        ends = text_of(update) == "unlink"
        text = "Bye" if ends else "hi"
        return Reply(messages=[OutgoingMessage(text=text)], end_session=ends)

    stage.services.answer = unlink
    await stage.serve(a_message(1), a_message(2, "unlink"))
    stage.services.internal_user_id = "u-8"
    await stage.serve(a_message(3), a_message(4))
    assert stage.messenger.texts == ["hi", "Bye", "hi", "hi"]
    internal_ids = [internal for _, _, internal in stage.services.calls]
    assert internal_ids == ["u-7", "u-7", "u-8", "u-8"]
    assert stage.services.resolved == [7, 7]


async def test_a_streamed_answer_ends_a_session(stage: Stage) -> None:
    """Its last response carries a reply like any other."""

    async def unlink(write: Callable[[str], None]) -> Reply:
        write("Bye")
        return Reply(end_session=True)

    stage.services.script = unlink
    await stage.serve(a_message(1), a_message(2))
    assert stage.services.resolved == [7, 7]


async def test_a_session_ends_when_its_user_blocks_the_bot(stage: Stage) -> None:
    """The reply is not sent, but what it says of the session counts."""
    stage.services.events = {EVENT_USER_BLOCKED_BOT: "blocked"}

    async def unlink(update: Update) -> Reply:
        return Reply(end_session=isinstance(update, BotEvent))

    stage.services.answer = unlink
    await stage.serve(
        a_message(1), a_message(2, event=EVENT_USER_BLOCKED_BOT, exempt=True)
    )
    await stage.serve(a_message(3))
    assert stage.services.resolved == [7, 7]


async def test_a_session_of_somebody_else_is_not_ended(stage: Stage) -> None:
    """What happens in a private chat without a human says nothing of its user."""

    async def unlink(update: Update) -> Reply:
        return Reply(end_session=not update.context.telegram_user_id)

    stage.services.answer = unlink
    nobody = a_message(2)
    assert nobody.update is not None
    nobody.update.context.telegram_user_id = 0
    await stage.serve(a_message(1), nobody, a_message(3))
    assert stage.services.resolved == [7]


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (ServiceTimeout("text"), "service_timeout"),
        (ServiceUnavailable("text"), "service_unavailable"),
        (ServiceFailed("text"), "service_failed"),
    ],
)
async def test_a_failing_service_earns_an_apology(
    stage: Stage, error: Exception, outcome: str
) -> None:
    """The user reads the apology; the update is done."""

    async def fail(update: Update) -> Reply:
        raise error

    stage.services.answer = fail
    await stage.serve(a_message(1), a_message(2, callback="CONNECT:5"))
    assert stage.messenger.texts == [APOLOGY_TEXT, APOLOGY_TEXT]
    assert [call.method for call in stage.messenger.sent] == [
        "sendMessage",
        "answerCallbackQuery",
    ]
    assert stage.turns.outcomes == [outcome, outcome]


async def test_a_flood_earns_one_notice_per_window() -> None:
    """The first passes, the second is told, the rest is silent until the next one."""
    stage = Stage(requests=1)
    await stage.serve(*(a_message(n) for n in range(1, 6)))
    assert stage.messenger.texts == ["hello", RATE_LIMITED_TEXT]
    assert stage.turns.outcomes == ["done"] + ["limited"] * 4


async def test_a_limited_button_is_answered_every_time() -> None:
    """The notice is the answer to the press; later presses end their spinner."""
    stage = Stage(requests=1)
    await stage.serve(*(a_message(n, callback="CONNECT:5") for n in (1, 2, 3)))
    assert stage.messenger.texts == ["", "pressed", RATE_LIMITED_TEXT, ""]


async def test_payments_and_membership_are_never_limited() -> None:
    """An exempt update passes an empty bucket, and takes nothing out of a full one."""
    stage = Stage(requests=1)
    await stage.serve(
        a_message(1, exempt=True), a_message(2), a_message(3, exempt=True), a_message(4)
    )
    assert stage.turns.outcomes == ["done", "done", "done", "limited"]


async def test_what_no_route_serves_is_counted_and_costs_no_token() -> None:
    """An unrouted update is acknowledged in silence."""
    stage = Stage(requests=1)
    await stage.serve(a_message(1, routed=False), a_message(2))
    assert stage.turns.outcomes == ["unrouted", "done"]
    assert stage.messenger.texts == ["hello"]


async def test_an_unknown_command_or_button_gets_a_hint(stage: Stage) -> None:
    """In a private chat always; in a group only if the command names the bot."""
    await stage.serve(
        a_message(1, command="nope"),
        a_message(2, callback="NOPE:1"),
        a_message(3, command="nope", chat_type=CHAT_TYPE_SUPERGROUP),
        a_message(4, command="nope", chat_type=CHAT_TYPE_SUPERGROUP, addressed=True),
    )
    assert stage.turns.outcomes == ["unknown", "unknown", "unrouted", "unknown"]
    assert stage.messenger.texts == [
        UNKNOWN_COMMAND_TEXT,
        UNKNOWN_COMMAND_TEXT,
        UNKNOWN_COMMAND_TEXT,
    ]


async def test_a_button_that_waited_too_long_is_dropped(stage: Stage) -> None:
    """Telegram takes no answer to it any more."""
    old = stage.clock.now() - 151
    late = a_message(1, callback="CONNECT:5", useful_seconds=150, arrived=old)
    await stage.serve(late)
    assert stage.turns.outcomes == ["expired"]
    assert stage.services.calls == []


async def test_a_fault_of_our_own_stops_nobody(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    """Logged with its request id, apologised for, buried; the next update goes on."""

    async def crash_once(update: Update) -> Reply:
        if update.update_id == 1:
            raise ZeroDivisionError(text_of(update))
        return await stage.services.echo(update)

    stage.services.answer = crash_once
    with caplog.at_level(logging.ERROR):
        await stage.serve(a_message(1, "secret"), a_message(2, "next"))
    assert stage.messenger.texts == [APOLOGY_TEXT, "next"]
    assert stage.turns.outcomes == ["crashed", "done"]
    (dead_letter,) = stage.mailboxes.dead_letters.entries
    assert (dead_letter.update_id, dead_letter.reason) == (1, "crashed")
    (record,) = caplog.records
    assert vars(record)["request_id"] == "1-1"
    assert vars(record)["error"].startswith("ZeroDivisionError < test_user_actor.py:")
    assert "secret" not in str(vars(record))


async def test_an_unreadable_envelope_is_buried(stage: Stage) -> None:
    """Without an update there is nobody to apologise to."""
    await stage.serve(Envelope(update_id=3, ordering_key="7", arrived_at=0, body=b"x"))
    assert stage.turns.outcomes == ["crashed"]
    assert [
        dead_letter.body for dead_letter in stage.mailboxes.dead_letters.entries
    ] == [b"x"]


async def test_an_update_that_was_given_up_can_be_replayed_once() -> None:
    """It is no repetition, until it is done; and the user's rate is not touched."""
    stage = Stage(requests=1)

    async def crash(update: Update) -> Reply:
        raise ZeroDivisionError

    stage.services.answer = crash
    await stage.serve(a_message(3, "crashes"))
    stage.services.answer = stage.services.echo
    await stage.serve(REPLAY)
    await stage.serve(a_message(4), a_message(5, arrived=stage.clock.now() + 1))
    await stage.serve(REPLAY)
    assert stage.turns.outcomes == ["crashed", "done", "limited", "done", "duplicate"]
    assert stage.messenger.texts == [
        APOLOGY_TEXT,
        "read again",
        RATE_LIMITED_TEXT,
        "hello",
    ]


async def test_a_replayed_update_never_waited() -> None:
    """It is not expired, and its age is not in the figures of the mailboxes."""
    stage = Stage()
    stage.useful_seconds = 150
    await stage.serve(REPLAY)
    (record,) = stage.turns
    assert (record.outcome, record.queue_seconds) == ("done", 0)
    assert stage.read_at == [stage.clock.now()]


@pytest.mark.parametrize("deaths", [0, POISON_LOSSES])
async def test_the_commit_of_an_update_that_was_given_up_changes_the_state(
    stage: Stage, deaths: int
) -> None:
    """By that, a repeated commit is told from one that took no effect."""
    seen = []
    for update_id in (1, 2, 3):
        lease = await stage.mailboxes.put(
            Envelope(
                update_id=update_id, ordering_key="7", arrived_at=1, body=b"unreadable"
            )
        )
        assert isinstance(lease, MailboxLease)
        lease.owner_losses, lease.is_suspected = deaths, deaths > 0
        seen.append(lease.state)
        await stage.actor.serve_mailbox(FakeLease(lease), lambda _: False)
    last = await stage.mailboxes.put(a_message(4))
    assert isinstance(last, MailboxLease)
    assert len({*seen, last.state}) == 4
    assert not decode_user_state(last.state).recent_ids


async def test_a_blocked_user_is_reported(stage: Stage) -> None:
    """A send that failed for good goes to the service that keeps track of it."""
    stage.services.events[EVENT_DELIVERY_FAILED] = "event:delivery_failed"
    stage.messenger.failures = [RecipientBlocked("sendMessage")]
    await stage.serve(a_message(1))
    assert stage.turns.outcomes == ["blocked"]
    calls = [
        (route, update.context.request_id, internal)
        for route, update, internal in stage.services.calls
    ]
    # Another key: the same rpc may have been called for this update before.
    assert calls == [
        ("text", "1-1", "u-7"),
        ("event:delivery_failed", "1-1-undelivered", "u-7"),
    ]


async def test_being_thrown_out_of_a_group_is_nobodys_unreachability(
    stage: Stage,
) -> None:
    """Only a private chat says something of a user."""
    stage.services.events[EVENT_DELIVERY_FAILED] = "event:delivery_failed"
    stage.messenger.failures = [RecipientBlocked("sendMessage")]
    await stage.serve(a_message(1, chat_type=CHAT_TYPE_SUPERGROUP))
    assert [route for route, _, _ in stage.services.calls] == ["text"]


async def test_a_failure_in_the_chat_of_a_business_is_nobodys_unreachability(
    stage: Stage,
) -> None:
    """Its owner may have forbidden the bot to write; the customer blocked nobody."""
    stage.services.events[EVENT_DELIVERY_FAILED] = "event:delivery_failed"
    stage.messenger.failures = [RecipientBlocked("sendMessage")]
    envelope = a_message(1)
    assert envelope.update is not None
    envelope.update.context.business_connection_id = "b"
    await stage.serve(envelope)
    assert [route for route, _, _ in stage.services.calls] == ["text"]


async def test_events_reach_their_service_and_are_not_apologised_for(
    stage: Stage,
) -> None:
    """Who blocked the bot gets nothing, not even the reply; who came back does."""
    stage.services.events = {
        EVENT_USER_BLOCKED_BOT: "blocked",
        EVENT_USER_UNBLOCKED_BOT: "unblocked",
    }
    await stage.serve(
        a_message(1, event=EVENT_USER_BLOCKED_BOT, exempt=True),
        a_message(2, event=EVENT_USER_UNBLOCKED_BOT, exempt=True),
    )
    assert stage.messenger.texts == ["pressed"]

    async def fail(update: Update) -> Reply:
        raise ServiceFailed("blocked")

    stage.services.answer = fail
    await stage.serve(a_message(3, event=EVENT_USER_UNBLOCKED_BOT, exempt=True))
    assert stage.messenger.texts == ["pressed"]
    assert stage.turns.outcomes == ["done", "done", "service_failed"]


async def test_a_failing_bot_api_leaves_the_update_done(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    """The reply is lost with an error in the log; the update is not done twice."""
    stage.messenger.failures = [BotApiUnavailable("sendMessage")]
    await stage.serve(a_message(1), a_message(2))
    assert stage.turns.outcomes == ["send_failed", "done"]
    assert len(stage.services.calls) == 2
    assert [record.msg for record in caplog.records] == ["reply_not_sent"]


async def test_a_rejected_message_does_not_take_the_next_one_along(
    stage: Stage,
) -> None:
    """A bad part is skipped; without a connection the rest is not tried."""

    async def two(update: Update) -> Reply:
        return Reply(messages=[{"text": "one"}, {"text": "two"}])  # type: ignore[list-item]  # protobuf takes dictionaries

    stage.services.answer = two
    stage.messenger.failures = [CallRejected("sendMessage", 400, RejectedPart.OTHER)]
    await stage.serve(a_message(1))
    assert stage.messenger.texts == ["two"]
    stage.messenger.failures = [BotApiUnavailable("sendMessage")]
    await stage.serve(a_message(2))
    assert stage.messenger.texts == ["two"]
    assert stage.turns.outcomes == ["send_failed", "send_failed"]


async def test_a_part_that_may_have_arrived_does_not_take_the_next_one_along(
    stage: Stage,
) -> None:
    """Only twice in a row says that there is no connection."""

    async def four(update: Update) -> Reply:
        messages = [OutgoingMessage(text=text) for text in ("1", "2", "3", "4")]
        return Reply(messages=messages)

    stage.services.answer = four
    lost = BotApiUnavailable("sendMessage", maybe_applied=True)
    stage.messenger.failures = [lost]
    await stage.serve(a_message(1))
    assert stage.messenger.texts == ["2", "3", "4"]
    stage.messenger.failures = [lost, lost]
    await stage.serve(a_message(2))
    assert stage.messenger.texts == ["2", "3", "4"]
    assert stage.turns.outcomes == ["send_failed", "send_failed"]


async def test_an_answer_to_a_query_is_tried_again_as_long_as_telegram_takes_it(
    stage: Stage,
) -> None:
    """Its message is tried as long as any other."""
    until = stage.clock.now() + 10
    await stage.serve(a_message(1, callback="CONNECT:1", useful_until=until))
    assert stage.messenger.patiences == [10, PATIENCE]
    stage.clock.move(11)
    await stage.serve(a_message(2, callback="CONNECT:1", useful_until=until))
    assert stage.messenger.patiences[2:] == [0, PATIENCE]


async def test_an_unanswered_press_does_not_take_its_message_along(
    stage: Stage,
) -> None:
    """The spinner matters less than the reply."""
    stage.messenger.failures = [BotApiUnavailable("answerCallbackQuery")]
    await stage.serve(a_message(1, callback="CONNECT:1"))
    assert stage.messenger.texts == ["pressed"]


async def test_the_lease_is_held_before_every_effect(stage: Stage) -> None:
    """Session, service call and each send ask first."""
    held = await stage.serve(a_message(1))
    assert held.holds == 3


async def test_a_lost_claim_ends_the_actor_without_a_trace(stage: Stage) -> None:
    """The new owner repeats the update; this one neither counts nor commits it."""
    lease = await stage.mailboxes.put(a_message(1))
    assert isinstance(lease, MailboxLease)
    stage.clock.move(60)
    taken = await stage.mailboxes.acquire("7")
    assert taken is not None
    with pytest.raises(LeaseLost):
        await stage.actor.serve_mailbox(FakeLease(lease), lambda _: False)
    assert stage.turns == []
    assert stage.mailboxes.in_memory == 1


async def test_a_lane_is_given_back_when_it_is_wanted(stage: Stage) -> None:
    """The rest of the mail waits for whoever claims it next."""
    lease = await stage.mailboxes.put(a_message(1))
    assert isinstance(lease, MailboxLease)
    for n in (2, 3):
        await stage.mailboxes.put(a_message(n))
    held = FakeLease(lease)
    held.give_back_after = 2
    await stage.actor.serve_mailbox(held, held.should_release)
    assert stage.turns.outcomes == ["done", "done"]
    assert list(await stage.mailboxes.claimable(5)) == ["7"]


async def test_cancelling_an_actor_cancels_its_call(stage: Stage) -> None:
    """Nothing runs on behind a lane that was taken away."""
    cancelled = asyncio.Event()
    started = asyncio.Event()

    async def hang(update: Update) -> Reply:
        started.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise
        return Reply()

    stage.services.answer = hang
    task = asyncio.create_task(stage.serve(a_message(1)))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert cancelled.is_set()
    assert stage.turns == []


@pytest.mark.parametrize(
    ("name", "outcomes"),
    [
        ("inline_query", ["done", "done"]),
        ("channel_post", ["done", "done"]),
        ("business_message", ["done", "done"]),
        ("edited_message", ["done", "done"]),
        ("guest_message", ["done", "limited"]),
        ("", ["done", "limited"]),
    ],
)
async def test_only_what_a_user_says_is_limited(name: str, outcomes: list[str]) -> None:
    """Inline queries come with each letter, and posts have nobody to slow down."""
    stage = Stage(requests=1)
    stage.services.routes.add(name)
    await stage.serve(_named(a_message(1), name), _named(a_message(2), name))
    assert stage.turns.outcomes == outcomes


def _named(envelope: Envelope, name: str) -> Envelope:
    assert envelope.update is not None
    if not name:
        return envelope
    update = OtherUpdate(
        update_id=envelope.update_id,
        update_type=name,
        ordering_key=envelope.ordering_key,
        context=envelope.update.context,
        trigger_name=name,
    )
    return structs.replace(envelope, update=update)
