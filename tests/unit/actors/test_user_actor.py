"""One user's turn."""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import pytest
from botgateway.chat.v1.context_pb2 import CHAT_TYPE_SUPERGROUP, Bot
from botgateway.chat.v1.reply_pb2 import OutgoingMessage, Reply
from botgateway.route.v1.event_pb2 import (
    EVENT_DELIVERY_FAILED,
    EVENT_USER_BLOCKED_BOT,
    EVENT_USER_UNBLOCKED_BOT,
)
from msgspec import structs

from gateway.actors.replies.user_notices import (
    RATE_LIMITED_TEXT,
    UNKNOWN_COMMAND_TEXT,
)
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
from gateway.domain.mailbox_lease import MailboxLease
from gateway.domain.poison import POISON_LOSSES
from gateway.domain.update import (
    BotEvent,
    Envelope,
    OtherUpdate,
    ServiceMessage,
    Update,
)
from gateway.domain.user_state import decode_user_state
from tests.factories import build_accepted, build_envelope
from tests.support.fakes import (
    FakeLease,
    text_of,
)
from tests.unit.actors.harness import PATIENCE, Harness

REPLAY = build_envelope(3, body=b"3", arrived_at=None)


@pytest.fixture
def harness() -> Harness:
    """Return an actor without a rate limit to speak of."""
    return Harness()


async def test_a_message_gets_the_services_answer(harness: Harness) -> None:
    """The text goes to its route, the reply to the user, the mailbox is free again."""
    await harness.serve(build_accepted(1, "hi"))
    assert harness.messenger.texts == ["hi"]
    assert harness.turns.outcomes == ["done"]
    assert harness.mailboxes.in_memory == 0
    record = harness.turns[0]
    assert (record.route, record.request_id, record.telegram_user_id) == (
        "text",
        "1-1",
        7,
    )


async def test_updates_are_taken_in_the_order_of_their_ids(harness: Harness) -> None:
    """However they arrived, the lowest id among those present comes first."""
    await harness.serve(*(build_accepted(n, str(n)) for n in (5, 9, 7, 8, 6)))
    assert harness.messenger.texts == ["5", "6", "7", "8", "9"]


async def test_an_update_is_answered_once(harness: Harness) -> None:
    """A repetition after the first one was done is dropped."""
    await harness.serve(build_accepted(1, "hi"))
    await harness.serve(build_accepted(1, "hi"))
    assert harness.messenger.texts == ["hi"]
    assert harness.turns.outcomes == ["done", "duplicate"]


async def test_an_envelope_without_its_update_is_read_again(harness: Harness) -> None:
    """After a restart only the bytes are there."""
    arrived = harness.clock.now() - 1
    await harness.serve(build_envelope(3, body=b"3", arrived_at=arrived))
    assert harness.messenger.texts == ["read again"]
    assert harness.read_at == [arrived]


async def test_the_user_is_resolved_once_per_session(harness: Harness) -> None:
    """The internal id is asked for once and handed to every call until it ends."""
    await harness.serve(build_accepted(1), build_accepted(2))
    harness.clock.move(3599)
    await harness.serve(build_accepted(3))
    assert harness.services.resolved == [7]
    harness.clock.move(1)
    await harness.serve(build_accepted(4))
    assert harness.services.resolved == [7, 7]
    assert {internal for _, _, internal in harness.services.calls} == {"u-7"}


async def test_without_a_session_the_update_goes_on(harness: Harness) -> None:
    """A failing session service costs the id, not the answer; and is left alone."""
    harness.services.internal_user_id = ServiceTimeout("session")
    await harness.serve(build_accepted(1), build_accepted(2))
    assert harness.turns.outcomes == ["done", "done"]
    assert harness.services.resolved == [7]
    harness.services.internal_user_id = "u-8"
    harness.clock.move(10)
    await harness.serve(build_accepted(3))
    assert [internal for _, _, internal in harness.services.calls] == [
        None,
        None,
        "u-8",
    ]


async def test_a_user_without_an_id_is_asked_for_again(harness: Harness) -> None:
    """No id is no session: the user may register any moment."""
    harness.services.internal_user_id = None
    await harness.serve(build_accepted(1), build_accepted(2))
    assert harness.services.resolved == [7, 7]


@pytest.mark.parametrize(
    "fields",
    [
        {"telegram_user_id": 0},
        {"business_connection_id": "b"},
    ],
    ids=["nobody", "over a business connection"],
)
async def test_nobody_else_is_taken_for_the_user_of_a_mailbox(
    harness: Harness, fields: dict[str, Any]
) -> None:
    """What no human did towards the bot has no user, whosever mailbox it is in."""
    await harness.serve(build_accepted(1))
    envelope = build_accepted(2)
    assert envelope.update is not None
    for name, value in fields.items():
        setattr(envelope.update.context, name, value)
    harness.clock.move(3600)
    await harness.serve(envelope)
    await harness.serve(build_accepted(3))
    assert [internal for _, _, internal in harness.services.calls] == [
        "u-7",
        None,
        "u-7",
    ]
    assert harness.services.resolved == [7, 7]


async def test_what_an_unwanted_bot_says_is_dropped(harness: Harness) -> None:
    """Two bots that answered each other would never stop."""
    for envelope in build_accepted(1), build_accepted(2, callback_data="CONNECT:7"):
        assert envelope.update is not None
        update = structs.replace(envelope.update, is_unwanted=True)
        await harness.serve(structs.replace(envelope, update=update))
    assert harness.turns.outcomes == ["from_bot", "from_bot"]
    assert (harness.services.calls, harness.messenger.sent) == ([], [])
    assert harness.services.resolved == []


async def test_a_bot_that_is_allowed_has_no_session(harness: Harness) -> None:
    """It is none of the company's users."""
    envelope = build_accepted(1, "hi")
    assert envelope.update is not None
    envelope.update.context.is_bot = True
    await harness.serve(envelope)
    assert harness.messenger.texts == ["hi"]
    assert harness.services.resolved == []
    assert [internal for _, _, internal in harness.services.calls] == [None]


async def test_a_service_ends_a_session(harness: Harness) -> None:
    """Whoever was unlinked or banned is resolved again with the next update."""

    async def unlink(update: Update) -> Reply:
        ends = text_of(update) == "unlink"
        text = "Bye" if ends else "hi"
        return Reply(messages=[OutgoingMessage(text=text)], end_session=ends)

    harness.services.answer = unlink
    await harness.serve(build_accepted(1), build_accepted(2, "unlink"))
    harness.services.internal_user_id = "u-8"
    await harness.serve(build_accepted(3), build_accepted(4))
    assert harness.messenger.texts == ["hi", "Bye", "hi", "hi"]
    internal_ids = [internal for _, _, internal in harness.services.calls]
    assert internal_ids == ["u-7", "u-7", "u-8", "u-8"]
    assert harness.services.resolved == [7, 7]


async def test_a_streamed_answer_ends_a_session(harness: Harness) -> None:
    """Its last response carries a reply like any other."""

    async def unlink(write: Callable[[str], None]) -> Reply:
        write("Bye")
        return Reply(end_session=True)

    harness.services.script = unlink
    await harness.serve(build_accepted(1), build_accepted(2))
    assert harness.services.resolved == [7, 7]


async def test_a_session_ends_when_its_user_blocks_the_bot(harness: Harness) -> None:
    """The reply is not sent, but what it says of the session counts."""
    harness.services.events = {EVENT_USER_BLOCKED_BOT: "blocked"}

    async def unlink(update: Update) -> Reply:
        return Reply(end_session=isinstance(update, BotEvent))

    harness.services.answer = unlink
    await harness.serve(
        build_accepted(1),
        build_accepted(2, event=EVENT_USER_BLOCKED_BOT, bypasses_limits=True),
    )
    await harness.serve(build_accepted(3))
    assert harness.services.resolved == [7, 7]


async def test_a_session_of_somebody_else_is_not_ended(harness: Harness) -> None:
    """What happens in a private chat without a human says nothing of its user."""

    async def unlink(update: Update) -> Reply:
        return Reply(end_session=not update.context.telegram_user_id)

    harness.services.answer = unlink
    nobody = build_accepted(2)
    assert nobody.update is not None
    nobody.update.context.telegram_user_id = 0
    await harness.serve(build_accepted(1), nobody, build_accepted(3))
    assert harness.services.resolved == [7]


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (ServiceTimeout("text"), "service_timeout"),
        (ServiceUnavailable("text"), "service_unavailable"),
        (ServiceFailed("text"), "service_failed"),
    ],
)
async def test_a_failing_service_earns_an_apology(
    harness: Harness, error: Exception, outcome: str
) -> None:
    """The user reads the apology; the update is done."""

    async def fail(update: Update) -> Reply:
        raise error

    harness.services.answer = fail
    await harness.serve(build_accepted(1), build_accepted(2, callback_data="CONNECT:5"))
    assert harness.messenger.texts == [APOLOGY_TEXT, APOLOGY_TEXT]
    assert [call.method for call in harness.messenger.sent] == [
        "sendMessage",
        "answerCallbackQuery",
    ]
    assert harness.turns.outcomes == [outcome, outcome]


async def test_a_flood_earns_one_notice_per_window() -> None:
    """The first passes, the second is told, the rest is silent until the next one."""
    harness = Harness(requests=1)
    await harness.serve(*(build_accepted(n) for n in range(1, 6)))
    assert harness.messenger.texts == ["hello", RATE_LIMITED_TEXT]
    assert harness.turns.outcomes == ["done"] + ["limited"] * 4


async def test_a_limited_button_is_answered_every_time() -> None:
    """The notice is the answer to the press; later presses end their spinner."""
    harness = Harness(requests=1)
    await harness.serve(
        *(build_accepted(n, callback_data="CONNECT:5") for n in (1, 2, 3))
    )
    assert harness.messenger.texts == ["", "pressed", RATE_LIMITED_TEXT, ""]


async def test_payments_and_membership_are_never_limited() -> None:
    """An exempt update passes an empty bucket, and takes nothing out of a full one."""
    harness = Harness(requests=1)
    await harness.serve(
        build_accepted(1, bypasses_limits=True),
        build_accepted(2),
        build_accepted(3, bypasses_limits=True),
        build_accepted(4),
    )
    assert harness.turns.outcomes == ["done", "done", "done", "limited"]


async def test_what_no_route_serves_is_counted_and_costs_no_token() -> None:
    """An unrouted update is acknowledged in silence."""
    harness = Harness(requests=1)
    await harness.serve(
        build_accepted(1, update_class=ServiceMessage), build_accepted(2)
    )
    assert harness.turns.outcomes == ["unrouted", "done"]
    assert harness.messenger.texts == ["hello"]


async def test_an_unknown_command_or_button_gets_a_hint(harness: Harness) -> None:
    """In a private chat always; in a group only if the command names the bot."""
    await harness.serve(
        build_accepted(1, name="nope"),
        build_accepted(2, callback_data="NOPE:1"),
        build_accepted(3, name="nope", chat_type=CHAT_TYPE_SUPERGROUP),
        build_accepted(
            4, name="nope", chat_type=CHAT_TYPE_SUPERGROUP, mentions_bot=True
        ),
    )
    assert harness.turns.outcomes == ["unknown", "unknown", "unrouted", "unknown"]
    assert harness.messenger.texts == [
        UNKNOWN_COMMAND_TEXT,
        UNKNOWN_COMMAND_TEXT,
        UNKNOWN_COMMAND_TEXT,
    ]


async def test_a_button_that_waited_too_long_is_dropped(harness: Harness) -> None:
    """Telegram takes no answer to it any more."""
    old = harness.clock.now() - 151
    late = build_accepted(1, callback_data="CONNECT:5", ttl_seconds=150, arrived_at=old)
    await harness.serve(late)
    assert harness.turns.outcomes == ["expired"]
    assert harness.services.calls == []


async def test_a_fault_of_our_own_stops_nobody(
    harness: Harness, caplog: pytest.LogCaptureFixture
) -> None:
    """Logged with its request id, apologised for and dead-lettered; then it goes on."""

    async def crash_once(update: Update) -> Reply:
        if update.update_id == 1:
            raise ZeroDivisionError(text_of(update))
        return await harness.services.echo(update)

    harness.services.answer = crash_once
    with caplog.at_level(logging.ERROR):
        await harness.serve(build_accepted(1, "secret"), build_accepted(2, "next"))
    assert harness.messenger.texts == [APOLOGY_TEXT, "next"]
    assert harness.turns.outcomes == ["crashed", "done"]
    (dead_letter,) = harness.mailboxes.dead_letters.entries
    assert (dead_letter.update_id, dead_letter.reason) == (1, "crashed")
    (record,) = caplog.records
    assert vars(record)["request_id"] == "1-1"
    assert vars(record)["error"].startswith("ZeroDivisionError < test_user_actor.py:")
    assert "secret" not in str(vars(record))


async def test_an_unreadable_envelope_becomes_a_dead_letter(harness: Harness) -> None:
    """Without an update there is nobody to apologise to."""
    await harness.serve(build_envelope(3, body=b"x"))
    assert harness.turns.outcomes == ["crashed"]
    assert [
        dead_letter.body for dead_letter in harness.mailboxes.dead_letters.entries
    ] == [b"x"]


async def test_an_update_that_was_given_up_can_be_replayed_once() -> None:
    """It is no repetition, until it is done; and the user's rate is not touched."""
    harness = Harness(requests=1)

    async def crash(update: Update) -> Reply:
        raise ZeroDivisionError

    harness.services.answer = crash
    await harness.serve(build_accepted(3, "crashes"))
    harness.services.answer = harness.services.echo
    await harness.serve(REPLAY)
    await harness.serve(
        build_accepted(4), build_accepted(5, arrived_at=harness.clock.now() + 1)
    )
    await harness.serve(REPLAY)
    assert harness.turns.outcomes == ["crashed", "done", "limited", "done", "duplicate"]
    assert harness.messenger.texts == [
        APOLOGY_TEXT,
        "read again",
        RATE_LIMITED_TEXT,
        "hello",
    ]


async def test_a_replayed_update_never_waited() -> None:
    """It is not expired, and its age is not in the figures of the mailboxes."""
    harness = Harness()
    harness.useful_seconds = 150
    await harness.serve(REPLAY)
    (record,) = harness.turns
    assert (record.outcome, record.queue_seconds) == ("done", 0)
    assert harness.read_at == [harness.clock.now()]


@pytest.mark.parametrize("deaths", [0, POISON_LOSSES])
async def test_the_commit_of_an_update_that_was_given_up_changes_the_state(
    harness: Harness, deaths: int
) -> None:
    """By that, a repeated commit is told from one that took no effect."""
    seen = []
    for update_id in (1, 2, 3):
        lease = await harness.mailboxes.put(
            build_envelope(update_id, arrived_at=1, body=b"unreadable")
        )
        assert isinstance(lease, MailboxLease)
        lease.owner_losses = deaths
        seen.append(lease.state)
        await harness.actor.serve_mailbox(FakeLease(lease), lambda _: False)
    last = await harness.mailboxes.put(build_accepted(4))
    assert isinstance(last, MailboxLease)
    assert len({*seen, last.state}) == 4
    assert not decode_user_state(last.state).recent_ids


async def test_a_blocked_user_is_reported(harness: Harness) -> None:
    """A send that failed for good goes to the service that keeps track of it."""
    harness.services.events[EVENT_DELIVERY_FAILED] = "event:delivery_failed"
    harness.messenger.failures = [RecipientBlocked("sendMessage")]
    await harness.serve(build_accepted(1))
    assert harness.turns.outcomes == ["blocked"]
    calls = [
        (route, update.context.request_id, internal)
        for route, update, internal in harness.services.calls
    ]
    # Another key: the same rpc may have been called for this update before.
    assert calls == [
        ("text", "1-1", "u-7"),
        ("event:delivery_failed", "1-1-undelivered", "u-7"),
    ]


async def test_being_thrown_out_of_a_group_is_nobodys_unreachability(
    harness: Harness,
) -> None:
    """Only a private chat says something of a user."""
    harness.services.events[EVENT_DELIVERY_FAILED] = "event:delivery_failed"
    harness.messenger.failures = [RecipientBlocked("sendMessage")]
    await harness.serve(build_accepted(1, chat_type=CHAT_TYPE_SUPERGROUP))
    assert [route for route, _, _ in harness.services.calls] == ["text"]


async def test_a_failure_in_the_chat_of_a_business_is_nobodys_unreachability(
    harness: Harness,
) -> None:
    """Its owner may have forbidden the bot to write; the customer blocked nobody."""
    harness.services.events[EVENT_DELIVERY_FAILED] = "event:delivery_failed"
    harness.messenger.failures = [RecipientBlocked("sendMessage")]
    envelope = build_accepted(1)
    assert envelope.update is not None
    envelope.update.context.business_connection_id = "b"
    await harness.serve(envelope)
    assert [route for route, _, _ in harness.services.calls] == ["text"]


async def test_events_reach_their_service_and_are_not_apologised_for(
    harness: Harness,
) -> None:
    """Who blocked the bot gets nothing, not even the reply; who came back does."""
    harness.services.events = {
        EVENT_USER_BLOCKED_BOT: "blocked",
        EVENT_USER_UNBLOCKED_BOT: "unblocked",
    }
    await harness.serve(
        build_accepted(1, event=EVENT_USER_BLOCKED_BOT, bypasses_limits=True),
        build_accepted(2, event=EVENT_USER_UNBLOCKED_BOT, bypasses_limits=True),
    )
    assert harness.messenger.texts == ["pressed"]

    async def fail(update: Update) -> Reply:
        raise ServiceFailed("blocked")

    harness.services.answer = fail
    await harness.serve(
        build_accepted(3, event=EVENT_USER_UNBLOCKED_BOT, bypasses_limits=True)
    )
    assert harness.messenger.texts == ["pressed"]
    assert harness.turns.outcomes == ["done", "done", "service_failed"]


async def test_a_failing_bot_api_leaves_the_update_done(
    harness: Harness, caplog: pytest.LogCaptureFixture
) -> None:
    """The reply is lost with an error in the log; the update is not done twice."""
    harness.messenger.failures = [BotApiUnavailable("sendMessage")]
    await harness.serve(build_accepted(1), build_accepted(2))
    assert harness.turns.outcomes == ["send_failed", "done"]
    assert len(harness.services.calls) == 2
    assert [record.msg for record in caplog.records] == ["reply_not_sent"]


async def test_a_rejected_message_does_not_take_the_next_one_along(
    harness: Harness,
) -> None:
    """A bad part is skipped; without a connection the rest is not tried."""

    async def two(update: Update) -> Reply:
        return Reply(messages=[{"text": "one"}, {"text": "two"}])  # type: ignore[list-item]  # protobuf takes dictionaries

    harness.services.answer = two
    harness.messenger.failures = [CallRejected("sendMessage", 400, RejectedPart.OTHER)]
    await harness.serve(build_accepted(1))
    assert harness.messenger.texts == ["two"]
    harness.messenger.failures = [BotApiUnavailable("sendMessage")]
    await harness.serve(build_accepted(2))
    assert harness.messenger.texts == ["two"]
    assert harness.turns.outcomes == ["send_failed", "send_failed"]


async def test_a_part_that_may_have_arrived_does_not_take_the_next_one_along(
    harness: Harness,
) -> None:
    """Only twice in a row says that there is no connection."""

    async def four(update: Update) -> Reply:
        messages = [OutgoingMessage(text=text) for text in ("1", "2", "3", "4")]
        return Reply(messages=messages)

    harness.services.answer = four
    lost = BotApiUnavailable("sendMessage", maybe_applied=True)
    harness.messenger.failures = [lost]
    await harness.serve(build_accepted(1))
    assert harness.messenger.texts == ["2", "3", "4"]
    harness.messenger.failures = [lost, lost]
    await harness.serve(build_accepted(2))
    assert harness.messenger.texts == ["2", "3", "4"]
    assert harness.turns.outcomes == ["send_failed", "send_failed"]


async def test_an_answer_to_a_query_is_tried_again_as_long_as_telegram_takes_it(
    harness: Harness,
) -> None:
    """Its message is tried as long as any other."""
    until = harness.clock.now() + 10
    await harness.serve(
        build_accepted(1, callback_data="CONNECT:1", answer_deadline=until)
    )
    assert harness.messenger.patiences == [10, PATIENCE]
    harness.clock.move(11)
    await harness.serve(
        build_accepted(2, callback_data="CONNECT:1", answer_deadline=until)
    )
    assert harness.messenger.patiences[2:] == [0, PATIENCE]


async def test_an_unanswered_press_does_not_take_its_message_along(
    harness: Harness,
) -> None:
    """The spinner matters less than the reply."""
    harness.messenger.failures = [BotApiUnavailable("answerCallbackQuery")]
    await harness.serve(build_accepted(1, callback_data="CONNECT:1"))
    assert harness.messenger.texts == ["pressed"]


async def test_the_lease_is_held_before_every_effect(harness: Harness) -> None:
    """Session, service call and each send ask first."""
    held = await harness.serve(build_accepted(1))
    assert held.holds == 3


async def test_a_lost_lease_ends_the_actor_without_a_trace(harness: Harness) -> None:
    """The new owner repeats the update; this one neither counts nor commits it."""
    lease = await harness.mailboxes.put(build_accepted(1))
    assert isinstance(lease, MailboxLease)
    harness.clock.move(60)
    taken = await harness.mailboxes.acquire("7")
    assert taken is not None
    with pytest.raises(LeaseLost):
        await harness.actor.serve_mailbox(FakeLease(lease), lambda _: False)
    assert harness.turns == []
    assert harness.mailboxes.in_memory == 1


async def test_a_mailbox_is_given_back_when_it_is_wanted(harness: Harness) -> None:
    """The other updates wait for the next owner."""
    lease = await harness.mailboxes.put(build_accepted(1))
    assert isinstance(lease, MailboxLease)
    for n in (2, 3):
        await harness.mailboxes.put(build_accepted(n))
    held = FakeLease(lease)
    held.give_back_after = 2
    await harness.actor.serve_mailbox(held, held.should_release)
    assert harness.turns.outcomes == ["done", "done"]
    assert list(await harness.mailboxes.claimable(5)) == ["7"]


async def test_cancelling_an_actor_cancels_its_call(harness: Harness) -> None:
    """Nothing runs on behind a mailbox that was taken away."""
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

    harness.services.answer = hang
    task = asyncio.create_task(harness.serve(build_accepted(1)))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert cancelled.is_set()
    assert harness.turns == []


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
    harness = Harness(requests=1)
    harness.services.routes.add(name)
    await harness.serve(
        _named(build_accepted(1), name), _named(build_accepted(2), name)
    )
    assert harness.turns.outcomes == outcomes


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


async def test_a_new_session_makes_the_user_reachable(harness: Harness) -> None:
    """Once per session, not per update."""
    recorded: list[tuple[int, str, int]] = []
    record = harness.recipients.record_recipient

    async def watch(bot_id: int, internal_user_id: str, telegram_user_id: int) -> None:
        recorded.append((bot_id, internal_user_id, telegram_user_id))
        await record(bot_id, internal_user_id, telegram_user_id)

    harness.recipients.record_recipient = watch  # type: ignore[method-assign]
    bot = Bot(id=4711)
    await harness.serve(build_accepted(1, bot=bot), build_accepted(2, bot=bot))
    assert recorded == [(4711, "u-7", 7)]
    assert await harness.recipients.find_recipient(4711, "u-7") == 7
    harness.clock.move(3601)
    await harness.serve(build_accepted(3, bot=bot))
    assert recorded == [(4711, "u-7", 7)] * 2


async def test_a_user_without_an_internal_id_is_not_recorded(harness: Harness) -> None:
    harness.services.internal_user_id = None
    await harness.serve(build_accepted(1, bot=Bot(id=4711)))
    assert await harness.recipients.find_recipient(4711, "u-7") is None


@pytest.mark.parametrize("routed", [False, True])
async def test_a_user_who_blocks_the_bot_is_marked(
    harness: Harness, *, routed: bool
) -> None:
    """Until the next update."""
    if routed:
        harness.services.events[EVENT_USER_BLOCKED_BOT] = "blocked"
    await harness.serve(build_accepted(1, event=EVENT_USER_BLOCKED_BOT))
    lease = await harness.mailboxes.put(build_accepted(2))
    assert isinstance(lease, MailboxLease)
    assert decode_user_state(lease.state).is_blocked
    held = FakeLease(lease)
    await harness.actor.serve_mailbox(held, held.should_release)
    lease = await harness.mailboxes.put(build_accepted(3))
    assert isinstance(lease, MailboxLease)
    assert not decode_user_state(lease.state).is_blocked


async def test_a_user_whom_a_reply_does_not_reach_is_marked(harness: Harness) -> None:
    harness.messenger.failures = [RecipientBlocked("blocked")]
    await harness.serve(build_accepted(1))
    lease = await harness.mailboxes.put(build_accepted(2))
    assert isinstance(lease, MailboxLease)
    assert decode_user_state(lease.state).is_blocked
