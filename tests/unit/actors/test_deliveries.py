"""Deliveries: what is sent, and how each of them ends."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from botgateway.chat.v1.context_pb2 import CHAT_TYPE_PRIVATE
from botgateway.chat.v1.reply_pb2 import (
    InlineKeyboard,
    InlineKeyboardButton,
    InlineKeyboardRow,
    OutgoingMessage,
    Reply,
)
from botgateway.delivery.v1.delivery_service_pb2 import Recipient
from msgspec import structs

from gateway.domain.bot_api_call import BotApiCall
from gateway.domain.broadcast import BroadcastState
from gateway.domain.delivery import (
    Delivery,
    DeliveryRecord,
    DeliveryResult,
    DeliveryState,
    SentPart,
)
from gateway.domain.errors import (
    BotApiUnavailable,
    CallRejected,
    InvalidBotToken,
    LeaseLost,
    RecipientBlocked,
    RejectedPart,
)
from gateway.domain.mailbox_lease import MailboxLease
from gateway.domain.poison import MAX_UNSUSPECTED_LOSSES, POISON_LOSSES
from gateway.domain.ports import BeforeRequest, RetryPause, await_pause
from gateway.domain.update import Update
from gateway.domain.user_state import decode_user_state, encode_user_state
from tests.factories import TIME, USER
from tests.support.deliveries import (
    PATIENCE,
    FakeOpenBroadcasts,
    build_amendment_delivery,
    build_call_delivery,
    build_delivery_processor,
    build_message_delivery,
)
from tests.support.fake_deliveries import FakeDeliveryStore
from tests.support.fakes import FakeClock, FakeLease, FakeMessenger, FakeServices
from tests.support.virtual_time import virtual_time


class Crash(BaseException):
    """The end of the process."""


async def _crash() -> None:
    raise Crash


class Harness:
    """A mailbox with deliveries, and what processes them."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.clock.epoch = float(TIME)
        self.store = FakeDeliveryStore()
        self.messenger = FakeMessenger()
        self.services = FakeServices()
        self.ended: list[tuple[str, str, float]] = []
        self.lease: FakeLease | None = None
        self.rendered: list[Reply] = []
        render = self.messenger.render

        def watch(
            update: Update, reply: Reply, *, edited_message_id: int | None = None
        ) -> Sequence[BotApiCall]:
            self.rendered.append(reply)
            return render(update, reply, edited_message_id=edited_message_id)

        self.messenger.render = watch  # type: ignore[method-assign]
        self.broadcasts = FakeOpenBroadcasts()
        self.processor = build_delivery_processor(
            self.messenger,
            self.services,
            self.store,
            self.clock,
            self._observe,
            self.broadcasts,
        )

    def _observe(
        self, delivery: Delivery, result: DeliveryResult, seconds: float
    ) -> None:
        self.ended.append((delivery.caller, result.state, seconds))

    async def put(self, *deliveries: Delivery) -> None:
        """Store deliveries without an owner of the mailbox."""
        for delivery in deliveries:
            await self.store.put_delivery(delivery, acquire=False)

    async def serve(self, **losses: int) -> None:
        """Process the mailbox as a new owner."""
        lease = self.store.acquire(**losses)
        self.lease = FakeLease(lease)
        mail: Any = lease.next_update
        state = decode_user_state(lease.state)
        while mail is not None:
            mail = await self.processor.process(
                mail.delivery, state, self.lease, lambda: False
            )

    async def crash(self, call: int = 1) -> None:
        """Let an owner process the mailbox, and end it in the middle of a call."""
        self.messenger.failures = [None] * (call - 1) + [Crash()]
        with pytest.raises(Crash):
            await self.serve()

    def record(self, number: int = 1) -> DeliveryRecord:
        """Return the record of a delivery."""
        return self.store.records[f"{number:016}"]

    @property
    def chats(self) -> list[Any]:
        """The chats of the calls."""
        return [call.parameters["chat_id"] for call in self.messenger.sent]


def message(message_id: int, chat_id: int = USER) -> dict[str, Any]:
    """Build the result of a call, as Telegram returns it."""
    return {"message_id": message_id, "chat": {"id": chat_id}, "text": "hello"}


def lost_response() -> BotApiUnavailable:
    """Return the error of a call that may have had its effect."""
    return BotApiUnavailable("no response", maybe_applied=True)


@pytest.fixture
def harness() -> Harness:
    """Return an empty mailbox."""
    return Harness()


class TestSending:
    """A delivery that nothing disturbs."""

    async def test_the_messages_are_sent_in_order(self, harness: Harness) -> None:
        harness.messenger.results = [message(31), message(32)]
        await harness.put(build_message_delivery("one", "two"))
        await harness.serve()
        assert harness.messenger.texts == ["one", "two"]
        assert harness.chats == [USER, USER]
        record = harness.record()
        assert record.state is DeliveryState.SENT
        assert record.sent_parts == (SentPart(USER, 31), SentPart(USER, 32))
        assert not record.maybe_repeated

    async def test_each_call_is_recorded_before_it_is_made(
        self, harness: Harness
    ) -> None:
        seen: list[tuple[int, bool]] = []
        send = harness.messenger.send

        async def watch(
            call: BotApiCall,
            patience: float = 0,
            wait: RetryPause = await_pause,
            before_request: BeforeRequest | None = None,
        ) -> Any:  # noqa: ANN401 - as `send`
            assert before_request is not None
            await before_request()
            record = harness.record()
            seen.append((record.next_part, record.is_part_begun))
            assert record.state is DeliveryState.SENDING
            return await send(call, patience, wait, before_request)

        harness.messenger.send = watch  # type: ignore[method-assign]
        await harness.put(build_message_delivery("one", "two", "three"))
        await harness.serve()
        assert seen == [(0, True), (1, True), (2, True)]
        assert harness.store.begun == [0, 1, 2]

    async def test_a_cooldown_that_another_worker_knows_is_looked_up(
        self, harness: Harness
    ) -> None:
        """Once per delivery, before its first call."""
        await harness.put(build_message_delivery("one", "two"))
        await harness.serve()
        assert harness.messenger.looked_up == [USER]

    async def test_the_next_delivery_follows(self, harness: Harness) -> None:
        await harness.put(
            build_message_delivery("one", number=1),
            build_message_delivery("two", number=2),
        )
        await harness.serve()
        assert harness.messenger.texts == ["one", "two"]
        assert [state for _, state, _ in harness.ended] == ["sent", "sent"]

    async def test_the_end_is_observed_with_its_time(self, harness: Harness) -> None:
        """From the acceptance, or from the earliest time if that is later."""
        await harness.put(
            build_message_delivery("one", number=1),
            build_message_delivery("two", number=2, not_before=TIME + 4.0),
        )
        harness.clock.move(5)
        await harness.serve()
        assert harness.ended == [("matching", "sent", 5.0), ("matching", "sent", 1.0)]

    async def test_an_album_has_several_messages(self, harness: Harness) -> None:
        harness.messenger.results = [[message(5), message(6)]]
        await harness.put(build_message_delivery("one"))
        await harness.serve()
        assert harness.record().sent_parts == (SentPart(USER, 5), SentPart(USER, 6))

    async def test_the_target_is_the_chat_with_its_topic(
        self, harness: Harness
    ) -> None:
        targets: list[Update] = []
        render = harness.messenger.render

        def watch(
            update: Update, reply: Reply, *, edited_message_id: int | None = None
        ) -> Any:  # noqa: ANN401 - as `render`
            targets.append(update)
            return render(update, reply, edited_message_id=edited_message_id)

        harness.messenger.render = watch  # type: ignore[method-assign]
        recipient = Recipient(chat_id=-100, message_thread_id=8)
        await harness.put(
            build_message_delivery("one", chat_id=-100, recipient=recipient, number=1),
            build_message_delivery("two", number=2),
        )
        await harness.serve()
        group, private = (each.context for each in targets)
        assert (group.chat_id, group.message_thread_id) == (-100, 8)
        assert group.chat_type != CHAT_TYPE_PRIVATE
        assert (private.chat_id, private.chat_type) == (USER, CHAT_TYPE_PRIVATE)
        assert not private.HasField("message_thread_id")
        assert private.request_id == "0000000000000002"

    async def test_a_retry_is_as_patient_as_that_of_a_reply(
        self, harness: Harness
    ) -> None:
        """But no call is made after the delivery expired."""
        await harness.put(
            build_message_delivery("one", number=1),
            build_message_delivery("two", number=2, expires_at=TIME + 7.0),
        )
        await harness.serve()
        assert harness.messenger.patiences == [PATIENCE, 7.0]


class TestEnds:
    """Every delivery has exactly one end, and the next one goes on."""

    @pytest.mark.parametrize(
        ("error", "state", "reason"),
        [
            (RecipientBlocked("blocked"), DeliveryState.BLOCKED, "the reason"),
            (
                CallRejected("sendMessage", 400, RejectedPart.OTHER),
                DeliveryState.FAILED,
                "the reason",
            ),
            (InvalidBotToken("token"), DeliveryState.FAILED, "the reason"),
            (BotApiUnavailable("429", 9999.0), DeliveryState.FAILED, "the reason"),
            (RuntimeError("a bug"), DeliveryState.FAILED, "crashed"),
        ],
    )
    async def test_a_failed_call_ends_the_delivery(
        self, harness: Harness, error: Exception, state: DeliveryState, reason: str
    ) -> None:
        """The caller learns what was sent before, and nothing is sent after it."""
        error.reason, error.description = "the reason", "said by Telegram"  # type: ignore[attr-defined]
        harness.messenger.results = [message(31)]
        harness.messenger.failures = [None, error]
        await harness.put(
            build_message_delivery("one", "two", "three"),
            build_message_delivery("four", number=2, chat_id=-100),
        )
        await harness.serve()
        record = harness.record()
        assert (record.state, record.reason) == (state, reason)
        assert record.sent_parts == (SentPart(USER, 31),)
        said = "" if reason == "crashed" else "said by Telegram"
        assert record.description == said
        assert harness.messenger.texts == ["one", "four"]
        assert harness.record(2).state is DeliveryState.SENT
        letters = ["crashed"] if reason == "crashed" else []
        assert harness.store.dead_letters == letters

    async def test_an_expired_delivery_is_not_sent(self, harness: Harness) -> None:
        await harness.put(build_message_delivery("one", expires_at=TIME + 10.0))
        harness.clock.move(10)
        await harness.serve()
        assert harness.messenger.sent == []
        assert harness.record().state is DeliveryState.EXPIRED

    async def test_the_rest_of_an_expired_delivery_is_not_sent(
        self, harness: Harness
    ) -> None:
        async def outlast() -> None:
            if harness.messenger.sent:
                harness.clock.move(11)

        harness.messenger.results = [message(31)]
        harness.messenger.outage = outlast
        await harness.put(build_message_delivery("one", "two", expires_at=TIME + 10.0))
        await harness.serve()
        assert harness.messenger.texts == ["one"]
        assert harness.record().state is DeliveryState.EXPIRED
        assert harness.record().sent_parts == (SentPart(USER, 31),)

    async def test_an_outage_until_its_end_lets_a_delivery_expire(
        self, harness: Harness
    ) -> None:
        harness.messenger.failures = [BotApiUnavailable("502")]
        await harness.put(
            build_message_delivery("one", expires_at=TIME + PATIENCE - 1.0)
        )
        await harness.serve()
        assert harness.record().state is DeliveryState.EXPIRED

    async def test_a_cancelled_delivery_is_not_sent(self, harness: Harness) -> None:
        await harness.put(
            build_message_delivery("one"), build_message_delivery("two", number=2)
        )
        await harness.store.cancel_delivery("0000000000000001")
        await harness.serve()
        assert harness.messenger.texts == ["two"]
        assert harness.record().state is DeliveryState.CANCELLED
        assert harness.ended[0][1] == "cancelled"

    async def test_messages_of_which_nothing_is_left_fail(
        self, harness: Harness
    ) -> None:
        """The renderer drops empty ones."""
        await harness.put(build_message_delivery())
        await harness.serve()
        record = harness.record()
        assert (record.state, record.reason) == (
            DeliveryState.FAILED,
            "nothing_to_send",
        )


class TestLostResponses:
    """Telegram may have carried out a call although its response was lost."""

    async def test_a_repeated_call_is_reported(self, harness: Harness) -> None:
        harness.messenger.failures = [lost_response()]
        await harness.put(build_message_delivery("one"))
        with virtual_time():
            await harness.serve()
        assert harness.messenger.texts == ["one"]
        assert harness.record().state is DeliveryState.SENT
        assert harness.record().maybe_repeated

    async def test_a_call_is_repeated_only_once(self, harness: Harness) -> None:
        """The user might get the message any number of times."""
        harness.messenger.failures = [lost_response(), lost_response()]
        await harness.put(build_message_delivery("one", "two"))
        with virtual_time():
            await harness.serve()
        assert harness.messenger.texts == ["two"]
        assert harness.record().state is DeliveryState.DOUBTFUL
        assert harness.record().maybe_repeated

    async def test_a_call_that_must_not_be_repeated_is_skipped(
        self, harness: Harness
    ) -> None:
        harness.messenger.failures = [lost_response()]
        harness.messenger.results = [message(32)]
        await harness.put(
            build_message_delivery("one", "two", repeat_if_doubtful=False)
        )
        await harness.serve()
        assert harness.messenger.texts == ["two"]
        record = harness.record()
        assert (record.state, record.reason) == (
            DeliveryState.DOUBTFUL,
            "response_lost",
        )
        assert record.sent_parts == (SentPart(USER, 32),)
        assert not record.maybe_repeated

    async def test_two_lost_responses_end_the_delivery(self, harness: Harness) -> None:
        harness.messenger.failures = [lost_response(), lost_response()]
        await harness.put(
            build_message_delivery("one", "two", "three", repeat_if_doubtful=False)
        )
        await harness.serve()
        assert harness.messenger.sent == []
        assert harness.record().state is DeliveryState.DOUBTFUL


class TestWaiting:
    """A call that waits, because it took no effect or must not be made, is not begun.

    Each test runs with a chat that has a cool-down, so that the first request waits,
    and with a request that has failed.
    """

    @pytest.fixture(params=[0.0, 37.0])
    def waiting(self, harness: Harness, request: pytest.FixtureRequest) -> Harness:
        """Return an empty mailbox whose calls wait."""
        harness.messenger.cooldown_seconds = request.param
        return harness

    async def test_it_is_begun_after_the_wait(self, waiting: Harness) -> None:
        seen: list[tuple[DeliveryState, int, bool]] = []

        async def outlast() -> None:
            record = waiting.record()
            seen.append((record.state, record.next_part, record.is_part_begun))

        waiting.messenger.outage = outlast
        await waiting.put(build_message_delivery("one", "two"))
        await waiting.serve()
        assert waiting.messenger.texts == ["one", "two"]
        assert waiting.record().state is DeliveryState.SENT
        assert seen[0] == (DeliveryState.ACCEPTED, 0, False)
        state, _, is_begun = seen[1]
        assert state is DeliveryState.SENDING
        assert is_begun == bool(waiting.messenger.cooldown_seconds)

    async def test_it_can_be_cancelled(self, waiting: Harness) -> None:
        async def cancel() -> None:
            await waiting.store.cancel_delivery("0000000000000001")

        waiting.messenger.outage = cancel
        await waiting.put(build_message_delivery("one"))
        await waiting.serve()
        assert waiting.messenger.sent == []
        assert waiting.record().state is DeliveryState.CANCELLED
        assert waiting.ended[0][1] == "cancelled"

    async def test_it_can_expire(self, waiting: Harness) -> None:
        async def outlast() -> None:
            waiting.clock.move(10)

        waiting.messenger.outage = outlast
        await waiting.put(build_message_delivery("one", expires_at=TIME + 10.0))
        await waiting.serve()
        assert waiting.messenger.sent == []
        record = waiting.record()
        assert (record.state, record.reason) == (DeliveryState.EXPIRED, "expired")

    @pytest.mark.parametrize("repeats", [True, False])
    async def test_a_new_owner_does_not_doubt_it(
        self, waiting: Harness, repeats: bool
    ) -> None:
        waiting.messenger.outage = _crash
        await waiting.put(build_message_delivery("one", repeat_if_doubtful=repeats))
        with pytest.raises(Crash):
            await waiting.serve()
        waiting.messenger.outage = None
        await waiting.serve()
        assert waiting.messenger.texts == ["one"]
        assert waiting.record().state is DeliveryState.SENT
        assert not waiting.record().maybe_repeated

    async def test_a_new_owner_continues_with_it(self, harness: Harness) -> None:
        """What was sent before the wait is not sent again."""

        async def crash() -> None:
            if harness.messenger.sent:
                raise Crash

        harness.messenger.outage = crash
        harness.messenger.results = [message(31), message(32)]
        await harness.put(
            build_message_delivery("one", "two", repeat_if_doubtful=False)
        )
        with pytest.raises(Crash):
            await harness.serve()
        harness.messenger.outage = None
        await harness.serve()
        assert harness.messenger.texts == ["one", "two"]
        record = harness.record()
        assert record.state is DeliveryState.SENT
        assert [part.message_id for part in record.sent_parts] == [31, 32]

    async def test_an_earlier_doubt_is_not_forgotten(self, harness: Harness) -> None:
        """A later owner must not report a delivery as sent whose first part may not."""

        async def crash() -> None:
            if not harness.messenger.failures:
                raise Crash

        harness.messenger.failures = [lost_response()]
        harness.messenger.outage = crash
        await harness.put(
            build_message_delivery("one", "two", repeat_if_doubtful=False)
        )
        with pytest.raises(Crash):
            await harness.serve()
        harness.messenger.outage = None
        await harness.serve()
        assert harness.record().state is DeliveryState.DOUBTFUL

    async def test_a_doubt_outlives_the_time(self, harness: Harness) -> None:
        """A call that was to be repeated may have had its effect: it did not expire."""

        async def outlast() -> None:
            if not harness.messenger.failures:
                harness.clock.move(10)

        harness.messenger.failures = [lost_response()]
        harness.messenger.outage = outlast
        await harness.put(build_message_delivery("one", expires_at=TIME + 10.0))
        with virtual_time():
            await harness.serve()
        assert harness.messenger.sent == []
        assert harness.record().state is DeliveryState.DOUBTFUL


class TestLostOwners:
    """A new owner continues where the lost one stopped."""

    async def test_the_call_of_the_lost_owner_is_repeated(
        self, harness: Harness
    ) -> None:
        harness.messenger.results = [message(31), message(32), message(33)]
        await harness.put(build_message_delivery("one", "two", "three"))
        await harness.crash(call=2)
        await harness.serve()
        assert harness.messenger.texts == ["one", "two", "three"]
        record = harness.record()
        assert record.state is DeliveryState.SENT
        assert record.maybe_repeated
        assert [part.message_id for part in record.sent_parts] == [31, 32, 33]

    async def test_it_is_skipped_if_the_caller_wants_that(
        self, harness: Harness
    ) -> None:
        await harness.put(
            build_message_delivery("one", "two", "three", repeat_if_doubtful=False)
        )
        await harness.crash(call=2)
        await harness.serve()
        assert harness.messenger.texts == ["one", "three"]
        assert harness.record().state is DeliveryState.DOUBTFUL
        assert not harness.record().maybe_repeated

    async def test_the_last_call_is_skipped_as_well(self, harness: Harness) -> None:
        await harness.put(build_message_delivery("one", repeat_if_doubtful=False))
        await harness.crash()
        await harness.serve()
        assert harness.messenger.sent == []
        assert harness.record().state is DeliveryState.DOUBTFUL

    async def test_a_call_in_doubt_is_not_repeated_after_its_end(
        self, harness: Harness
    ) -> None:
        """The delivery has not expired: it may have been sent."""
        await harness.put(build_message_delivery("one", expires_at=TIME + 10.0))
        await harness.crash()
        harness.clock.move(10)
        await harness.serve()
        assert harness.messenger.sent == []
        assert harness.record().state is DeliveryState.DOUBTFUL

    async def test_a_lost_owner_sends_nothing_more(self, harness: Harness) -> None:
        """Its next call is refused by the store, and it commits nothing."""
        await harness.put(build_message_delivery("one", "two"))
        paused = harness.messenger.pause = asyncio.Event()
        serving = asyncio.create_task(harness.serve())
        while not harness.messenger.patiences:
            await asyncio.sleep(0)
        harness.store.acquire()
        paused.set()
        with pytest.raises(LeaseLost):
            await serving
        assert harness.messenger.texts == ["one"]
        assert harness.record().state is DeliveryState.SENDING

    async def test_a_suspect_takes_its_steps_alone(self, harness: Harness) -> None:
        await harness.put(build_message_delivery("one"))
        await harness.serve(owner_losses=MAX_UNSUSPECTED_LOSSES + 1)
        assert harness.messenger.texts == ["one"]
        assert harness.lease is not None
        assert not harness.lease.is_suspected  # the next mail is another one

    async def test_a_poison_delivery_is_not_sent(self, harness: Harness) -> None:
        harness.messenger.results = [message(31)]
        await harness.put(
            build_message_delivery("one", "two"), build_message_delivery("3", number=2)
        )
        await harness.crash(call=2)
        await harness.serve(owner_losses=POISON_LOSSES)
        record = harness.record()
        assert (record.state, record.reason) == (DeliveryState.FAILED, "poison")
        assert record.sent_parts == (SentPart(USER, 31),)
        assert record.is_part_begun  # so that a replay knows the doubt
        assert harness.store.dead_letters == ["poison"]
        assert harness.messenger.texts == ["one", "3"]


class TestBlockedUsers:
    """A user who blocked the bot costs one call, and not one for each delivery."""

    @pytest.fixture
    async def blocked(self, harness: Harness) -> Harness:
        """Return a mailbox whose user was found to have blocked the bot."""
        harness.messenger.failures = [RecipientBlocked("blocked")]
        await harness.put(build_message_delivery("one"))
        await harness.serve()
        return harness

    async def test_later_deliveries_make_no_call(self, blocked: Harness) -> None:
        await blocked.put(build_message_delivery("two", number=2))
        await blocked.serve()
        assert len(blocked.messenger.patiences) == 1
        record = blocked.record(2)
        assert (record.state, record.reason) == (
            DeliveryState.BLOCKED,
            "known_as_blocked",
        )

    async def test_an_update_of_the_user_ends_it(self, blocked: Harness) -> None:
        """The user can write to the bot only after unblocking it."""
        state = decode_user_state(blocked.store.committed[-1])
        assert state.is_blocked
        state.mark_handled(5, TIME)
        blocked.store.committed.append(encode_user_state(state))
        await blocked.put(build_message_delivery("two", number=2))
        await blocked.serve()
        assert blocked.messenger.texts == ["two"]
        assert not decode_user_state(blocked.store.committed[-1]).is_blocked

    async def test_a_refusal_of_another_chat_says_nothing_about_the_user(
        self, harness: Harness
    ) -> None:
        """A copy may come from a channel that the bot is not in."""
        harness.messenger.failures = [RecipientBlocked("not a member")]
        await harness.put(
            build_call_delivery("copyMessage", '{"from_chat_id": -100}'),
            build_message_delivery("two", number=2),
        )
        await harness.serve()
        assert harness.record(1).state is DeliveryState.BLOCKED
        assert harness.messenger.texts[-1] == "two"
        assert harness.record(2).state is DeliveryState.SENT

    @pytest.mark.parametrize("chat_id", ["[]", '"somebody"', "{}", "1.5"])
    async def test_a_call_to_no_chat_fails(
        self, harness: Harness, chat_id: str
    ) -> None:
        await harness.put(
            build_call_delivery("sendPoll", f'{{"chat_id": {chat_id}}}'),
        )
        await harness.serve()
        record = harness.record(1)
        assert (record.state, record.reason) == (
            DeliveryState.FAILED,
            "chat_id_invalid",
        )
        assert not harness.store.dead_letters

    async def test_a_group_without_the_bot_is_tried_again(
        self, harness: Harness
    ) -> None:
        """No update of the group comes to its mailbox."""
        harness.messenger.failures = [RecipientBlocked("kicked")]
        await harness.put(
            build_message_delivery("one", chat_id=-100, number=1),
            build_message_delivery("two", chat_id=-100, number=2),
        )
        await harness.serve()
        assert harness.messenger.texts == ["two"]


class TestButtons:
    """The press of a button says which delivery it belongs to."""

    def shown(self, harness: Harness) -> list[str]:
        """Return the data of the buttons that were rendered."""
        return [
            button.callback_data
            for reply in harness.rendered
            for message in reply.messages
            for row in message.inline_keyboard.rows
            for button in row.buttons
        ]

    async def send(self, harness: Harness, data: str, **fields: Any) -> list[str]:  # noqa: ANN401 - as `Delivery`
        """Deliver a message with a button, and return the data of the button."""
        button = InlineKeyboardButton(text="Yes", callback_data=data)
        keyboard = InlineKeyboard(rows=[InlineKeyboardRow(buttons=[button])])
        message = OutgoingMessage(text="Well?", inline_keyboard=keyboard)
        await harness.put(build_message_delivery(messages=[message], **fields))
        await harness.serve()
        return self.shown(harness)

    async def test_the_data_has_the_id(self, harness: Harness) -> None:
        assert await self.send(harness, "A:1") == ["A:1#0000000000000001"]

    async def test_data_that_fits_without_it_lives_without_limit(
        self, harness: Harness
    ) -> None:
        """What is stored is forgotten after a day."""
        data = "A:" + "x" * 60
        assert await self.send(harness, data) == [data]
        assert not decode_user_state(harness.store.committed[-1]).callback_payloads

    async def test_data_that_is_too_long_without_it_is_stored(
        self, harness: Harness
    ) -> None:
        data = "A:" + "x" * 70
        [key] = await self.send(harness, data)
        assert len(key.encode()) <= 64
        state = decode_user_state(harness.store.committed[-1])
        assert state.callback_payloads == {key: f"{data}#0000000000000001"}

    async def test_in_a_group_the_data_is_more_important(
        self, harness: Harness
    ) -> None:
        """The members who press it have states of their own."""
        data = "A:" + "x" * 60
        assert await self.send(harness, data, chat_id=-100) == [data]
        assert not decode_user_state(harness.store.committed[-1]).callback_payloads

    async def test_in_a_group_longer_data_stays_too_long(
        self, harness: Harness
    ) -> None:
        """The renderer drops such a button and reports it."""
        [data] = await self.send(harness, "PAY" + "x" * 60, chat_id=-100)
        assert len(data) > 64


class TestAmendments:
    """A message that was sent is changed by its handle."""

    @pytest.mark.parametrize(
        ("amendment", "method", "parameters"),
        [
            ({"delete": True}, "deleteMessage", {}),
            ({"pin": True}, "pinChatMessage", {"disable_notification": True}),
            ({"unpin": True}, "unpinChatMessage", {}),
            (
                {"reaction": "👍"},
                "setMessageReaction",
                {"reaction": [{"type": "emoji", "emoji": "👍"}]},
            ),
            ({"reaction": ""}, "setMessageReaction", {"reaction": []}),
            (
                {"edit": OutgoingMessage(text="new")},
                "editMessageText",
                {"text": "new"},
            ),
        ],
    )
    async def test_each_is_a_call_for_the_message(
        self,
        harness: Harness,
        amendment: dict[str, Any],
        method: str,
        parameters: dict[str, Any],
    ) -> None:
        await harness.put(build_amendment_delivery(31, chat_id=-100, **amendment))
        await harness.serve()
        [call] = harness.messenger.sent
        assert call.method == method
        assert call.parameters == {"chat_id": -100, "message_id": 31, **parameters}
        assert harness.record().state is DeliveryState.SENT

    @pytest.mark.parametrize(
        ("amendment", "reason", "state"),
        [
            ({"delete": True}, "message_not_found", DeliveryState.SENT),
            ({"unpin": True}, "message_not_found", DeliveryState.SENT),
            ({"pin": True}, "not_modified", DeliveryState.SENT),
            ({"pin": True}, "message_not_found", DeliveryState.FAILED),
            ({"delete": True}, "message_not_deletable", DeliveryState.FAILED),
            (
                {"edit": OutgoingMessage(text="new")},
                "message_not_found",
                DeliveryState.FAILED,
            ),
        ],
    )
    async def test_a_message_that_is_like_that_is_no_failure(
        self,
        harness: Harness,
        amendment: dict[str, Any],
        reason: str,
        state: DeliveryState,
    ) -> None:
        error = CallRejected("method", 400, RejectedPart.OTHER)
        error.reason = reason
        harness.messenger.failures = [error]
        await harness.put(build_amendment_delivery(31, **amendment))
        await harness.serve()
        assert harness.record().state is state

    async def test_it_is_repeated_after_a_lost_owner(self, harness: Harness) -> None:
        """Even if the caller wants no repetition: it has no second effect."""
        delivery = build_amendment_delivery(31, pin=True)
        await harness.put(structs.replace(delivery, repeat_if_doubtful=False))
        await harness.crash()
        await harness.serve()
        assert [call.method for call in harness.messenger.sent] == ["pinChatMessage"]
        record = harness.record()
        assert record.state is DeliveryState.SENT
        assert not record.maybe_repeated

    @pytest.mark.parametrize(
        ("delivery", "reason"),
        [
            (
                build_amendment_delivery(31, pin=True, handle="forged"),
                "handle_invalid",
            ),
            (
                structs.replace(build_amendment_delivery(31, pin=True), chat_id=9),
                "handle_invalid",
            ),
        ],
    )
    async def test_a_wrong_handle_fails(
        self, harness: Harness, delivery: Delivery, reason: str
    ) -> None:
        await harness.put(delivery)
        await harness.serve()
        record = harness.record()
        assert (record.state, record.reason) == (DeliveryState.FAILED, reason)
        assert harness.messenger.sent == []
        assert harness.store.dead_letters == []


class TestCalls:
    """Any method of the Bot API, in the order of a chat."""

    async def test_the_parameters_are_passed_on(self, harness: Harness) -> None:
        """The chat and the topic are those of the recipient."""
        recipient = Recipient(chat_id=-100, message_thread_id=8)
        parameters = '{"question": "Tea?", "options": [{"text": "Yes"}]}'
        harness.messenger.results = [message(31, -100)]
        await harness.put(
            build_call_delivery(
                "sendPoll", parameters, recipient=recipient, chat_id=-100
            )
        )
        await harness.serve()
        [call] = harness.messenger.sent
        assert call.method == "sendPoll"
        assert call.parameters == {
            "chat_id": -100,
            "message_thread_id": 8,
            "question": "Tea?",
            "options": [{"text": "Yes"}],
        }
        assert call.is_verbatim
        assert harness.record().sent_parts == (SentPart(-100, 31),)

    async def test_its_own_chat_has_priority(self, harness: Harness) -> None:
        await harness.put(build_call_delivery("sendDice", '{"chat_id": "@channel"}'))
        await harness.serve()
        assert harness.chats == ["@channel"]

    async def test_a_copy_has_the_id_of_the_new_message(self, harness: Harness) -> None:
        """Telegram does not name its chat."""
        harness.messenger.results = [[{"message_id": 5}, {"message_id": 6}]]
        await harness.put(build_call_delivery("copyMessages"))
        await harness.serve()
        assert harness.record().sent_parts == (SentPart(USER, 5), SentPart(USER, 6))

    async def test_another_result_is_no_message(self, harness: Harness) -> None:
        harness.messenger.results = [True]
        await harness.put(build_call_delivery("setChatTitle"))
        await harness.serve()
        assert harness.record().sent_parts == ()
        assert harness.record().state is DeliveryState.SENT


async def test_a_lease_is_released_after_a_delivery_if_wanted(
    harness: Harness,
) -> None:
    await harness.put(
        build_message_delivery("one"), build_message_delivery("two", number=2)
    )
    lease = harness.store.acquire()
    assert isinstance(lease, MailboxLease)
    delivery = lease.next_update.delivery
    assert delivery is not None
    state = decode_user_state(None)
    mail = await harness.processor.process(
        delivery, state, FakeLease(lease), lambda: True
    )
    assert mail is None
    assert harness.messenger.texts == ["one"]


class TestBroadcasts:
    """Deliveries of broadcasts, which can be stopped."""

    async def test_a_running_broadcast_is_sent(self) -> None:
        harness = Harness()
        harness.broadcasts.states = {"news": BroadcastState.RUNNING}
        await harness.put(build_message_delivery("hello", broadcast_id="news"))
        await harness.serve()
        assert harness.record().state is DeliveryState.SENT
        (recipient,) = harness.store.recipients
        assert recipient is not None
        assert (recipient.broadcast_id, recipient.chat_id) == ("news", USER)

    @pytest.mark.parametrize(
        ("state", "end", "observed"),
        [
            (BroadcastState.PAUSED, DeliveryState.SCHEDULED, []),
            (
                BroadcastState.CANCELLED,
                DeliveryState.CANCELLED,
                [DeliveryState.CANCELLED],
            ),
        ],
    )
    async def test_a_stopped_broadcast_is_not(
        self, state: BroadcastState, end: DeliveryState, observed: list[DeliveryState]
    ) -> None:
        """With the first end, its recipient waits again."""
        harness = Harness()
        harness.broadcasts.states = {"news": state}
        await harness.put(build_message_delivery("hello", broadcast_id="news"))
        await harness.serve()
        assert harness.messenger.sent == []
        assert harness.record().state is end
        assert [it for _, it, _ in harness.ended] == observed

    async def test_a_failure_is_no_dead_letter(self) -> None:
        """The broadcast lists it, and a replay would count it twice."""
        harness = Harness()
        await harness.put(
            build_message_delivery("hello", broadcast_id="news"),
            build_message_delivery("hello", number=2),
        )
        harness.messenger.failures = [ValueError(), ValueError()]
        await harness.serve()
        assert harness.record().state is DeliveryState.FAILED
        assert harness.store.dead_letters == ["crashed"]
