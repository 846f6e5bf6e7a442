"""What users see of deliveries, through a Bot API that refuses what it can."""

from collections.abc import AsyncIterator

import pytest
from botgateway.chat.v1.reply_pb2 import (
    MEDIA_TYPE_PHOTO,
    InlineKeyboard,
    InlineKeyboardButton,
    InlineKeyboardRow,
    Media,
    OutgoingMessage,
)

from gateway.domain.delivery import Delivery, DeliveryRecord
from gateway.domain.mailbox_lease import MailboxLease
from gateway.domain.user_state import decode_user_state
from gateway.mailboxes.memory.deliveries import MemoryDeliveryStore
from gateway.mailboxes.memory.mailboxes import MemoryMailboxStore
from gateway.sandbox.server import Simulator
from gateway.telegram.bot_api.client import BotApiClient, open_bot_api
from gateway.telegram.messenger import TelegramMessenger
from tests.factories import USER
from tests.support.deliveries import (
    build_amendment_delivery,
    build_call_delivery,
    build_delivery_processor,
    build_message_delivery,
)
from tests.support.fakes import FakeClock, FakeLease, FakeServices

TOKEN = "4711:AA-token"


class Harness:
    """Deliveries over real HTTP."""

    def __init__(self, simulator: Simulator, api: BotApiClient) -> None:
        self.simulator = simulator
        clock = FakeClock()
        mailboxes = MemoryMailboxStore(clock, limit=64, max_sessions=100)
        self.store = MemoryDeliveryStore(mailboxes, clock, limit=64)
        self.messenger = TelegramMessenger(
            api, observe_call=lambda *_: None, count_dropped_part=lambda _: None
        )
        self.processor = build_delivery_processor(
            self.messenger, FakeServices(), self.store, clock
        )

    async def deliver(self, delivery: Delivery) -> DeliveryRecord:
        """Carry out a delivery, and return its record."""
        lease = await self.store.put_delivery(delivery)
        assert isinstance(lease, MailboxLease)
        await self.processor.process(
            delivery, decode_user_state(lease.state), FakeLease(lease), lambda: False
        )
        record = await self.store.get_delivery(delivery.delivery_id)
        assert record is not None
        return record

    def texts(self) -> list[str]:
        """Return what the chat shows."""
        return [
            message.get("text") or message["caption"]
            for message in self.simulator.messages(USER)
        ]


@pytest.fixture
async def harness() -> AsyncIterator[Harness]:
    """Yield deliveries over real HTTP."""
    simulator = Simulator(TOKEN)
    async with simulator.serve() as url, open_bot_api(TOKEN, url) as api:
        yield Harness(simulator, api)


async def test_all_parts_of_a_long_text_have_handles(harness: Harness) -> None:
    record = await harness.deliver(build_message_delivery("word " * 2000))
    shown = harness.simulator.messages(USER)
    assert len(shown) == 3
    assert record.state == "sent"
    assert [part.message_id for part in record.sent_parts] == [
        message["message_id"] for message in shown
    ]
    assert {part.chat_id for part in record.sent_parts} == {USER}


async def test_a_sent_message_is_edited_and_deleted(harness: Harness) -> None:
    """By the handle of the record."""
    button = InlineKeyboardButton(text="Yes", callback_data="A:1")
    keyboard = InlineKeyboard(rows=[InlineKeyboardRow(buttons=[button])])
    message = OutgoingMessage(text="old", inline_keyboard=keyboard)
    record = await harness.deliver(build_message_delivery(messages=[message]))
    [part] = record.sent_parts
    new = OutgoingMessage(text="new")
    for number in (2, 3):  # the second time there is nothing to change
        edit = build_amendment_delivery(part.message_id, number=number, edit=new)
        assert (await harness.deliver(edit)).state == "sent"
        assert harness.texts() == ["new"]
        assert "reply_markup" not in harness.simulator.messages(USER)[0]
    for number in (4, 5):  # as above
        delete = build_amendment_delivery(part.message_id, number=number, delete=True)
        assert (await harness.deliver(delete)).state == "sent"
        assert harness.texts() == []
    late = build_amendment_delivery(part.message_id, number=6, edit=new)
    record = await harness.deliver(late)
    assert (record.state, record.reason) == ("failed", "message_not_found")
    assert harness.texts() == []  # it is not sent again


async def test_the_caption_of_a_file_is_edited(harness: Harness) -> None:
    """The service need not know whether the message has a file."""
    photo = Media(type=MEDIA_TYPE_PHOTO, url="https://example.com/a.png")
    message = OutgoingMessage(text="old", media=[photo])
    record = await harness.deliver(build_message_delivery(messages=[message]))
    [part] = record.sent_parts
    new = OutgoingMessage(text="new")
    edit = build_amendment_delivery(part.message_id, number=2, edit=new)
    assert (await harness.deliver(edit)).state == "sent"
    assert harness.texts() == ["new"]


async def test_a_call_is_made_as_it_is(harness: Harness) -> None:
    """Nothing of it is changed to make Telegram accept it."""
    good = build_call_delivery("sendMessage", '{"text": "hello"}', number=1)
    assert (await harness.deliver(good)).state == "sent"
    bad = build_call_delivery(
        "sendMessage", '{"text": "<b>1 < 2</i>", "parse_mode": "HTML"}', number=2
    )
    record = await harness.deliver(bad)
    assert (record.state, record.reason) == ("failed", "format_rejected")
    assert harness.texts() == ["hello"]
    unknown = build_call_delivery("sendTelepathy", number=3)
    record = await harness.deliver(unknown)
    assert (record.state, record.reason) == ("failed", "unknown_method")


async def test_the_reason_of_a_failure_is_a_word(harness: Harness) -> None:
    harness.simulator.fail(
        status=403, description="Forbidden: bot was blocked by the user"
    )
    record = await harness.deliver(build_message_delivery("hello"))
    assert (record.state, record.reason) == ("blocked", "blocked_by_user")
    assert record.description == "Forbidden: bot was blocked by the user"
