"""Deliveries to a webhook: complete, in order, and as patient as Telegram's."""

import asyncio
import gc
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.sandbox.simulator.delivery.deliveries import UpdateDelivery, open_session
from gateway.sandbox.simulator.delivery.webhook_sender import DeliveryTiming
from gateway.sandbox.simulator.state.event_stream import EventStream
from gateway.sandbox.simulator.state.update_log import UpdateLog, UpdateRow
from gateway.sandbox.simulator.state.webhook import Webhook
from tests.integration.sandbox.receiver import Answer, Receiver
from tests.support.waiting import wait_until

QUICK = DeliveryTiming(scale=0.0005)


class Harness:
    """Deliveries with a receiver behind them."""

    def __init__(self, receiver: Receiver, pace: DeliveryTiming = QUICK) -> None:
        self.receiver = receiver
        self.webhook = Webhook()
        self.events = EventStream()
        self.update_log = UpdateLog(self.events)
        self.deliveries = UpdateDelivery(
            self.webhook, self.update_log, self.events, pace
        )

    def connect(self, **more: object) -> None:
        """Set the webhook."""
        self.deliveries.set_webhook({"url": self.receiver.url, **more})

    def say(self, chat: int, text: str = "hello") -> int:
        """Create a message in a chat."""
        content = {"chat": {"id": chat}, "from": {"id": chat}, "text": text}
        update_id = self.deliveries.add("message", content)
        assert update_id
        return update_id

    def row(self, update_id: int) -> UpdateRow:
        """Return an update's row."""
        entry = self.update_log.find(update_id)
        assert entry
        return entry.row

    @property
    def pending(self) -> int:
        """How many updates were not confirmed yet."""
        return int(self.webhook.info["pending_update_count"])

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Deliver inside of the block."""
        async with open_session() as session:
            self.deliveries.start(session)
            yield
            await self.deliveries.stop()

    async def delivered(self) -> None:
        """Wait until nothing is pending."""
        await wait_until(lambda: not self.pending)


@asynccontextmanager
async def harness(pace: DeliveryTiming = QUICK) -> AsyncIterator[Harness]:
    """Run deliveries, with a webhook set."""
    async with Receiver().serving() as receiver:
        made = Harness(receiver, pace)
        async with made.running():
            made.connect()
            yield made


async def warm(made: Harness) -> None:
    """Deliver one update, so that more than one connection is allowed."""
    made.say(1)
    await made.delivered()
    made.receiver.arrived.clear()
    made.receiver.most_open = 0


def noted_pauses() -> tuple[list[float], DeliveryTiming]:
    """Return a pace that notes its pauses instead of waiting."""
    pauses = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        await asyncio.sleep(0)

    return pauses, DeliveryTiming(sleep=sleep)


class Script:
    """A webhook that fails as drawn, and looks what comes when.

    Attributes:
        chats: the chat of each update, in the order of their creation.
        failures: what the first answers to each update are.
        seen: how often each update came.
        accepted: the updates in the order in which they were taken.
        early: updates that came beside or before an older one of their chat.
    """

    def __init__(self, receiver: Receiver) -> None:
        self.receiver = receiver
        self.chats: dict[int, int] = {}
        self.failures: dict[int, list[str]] = {}
        self.seen: Counter[int] = Counter()
        self.accepted: list[int] = []
        self.early: list[int] = []

    def of(self, chat: int, updates: Iterable[int]) -> list[int]:
        """Pick the updates of a chat."""
        return [update_id for update_id in updates if self.chats[update_id] == chat]

    def answer(self, update: dict[str, Any]) -> web.Response | None:
        """Answer an update."""
        update_id = update["update_id"]
        chat = self.chats[update_id]
        created = self.of(chat, self.chats)
        before = created[: created.index(update_id)]
        alone = self.of(chat, self.receiver.open) == [update_id]
        if not alone or self.of(chat, self.accepted) != before:
            self.early.append(update_id)
        failures = self.failures[update_id][self.seen[update_id] :]
        self.seen[update_id] += 1
        if not failures:
            self.accepted.append(update_id)
            return web.Response(status=204 if update_id % 2 else 200)
        if failures[0] == "close":
            return None
        return web.Response(status=int(failures[0]), headers={"Location": "/else"})


FAILURES = st.lists(st.sampled_from(["500", "302", "429", "404", "close"]), max_size=3)
MESSAGES = st.lists(st.tuples(st.integers(1, 4), FAILURES), min_size=1, max_size=12)


@settings(max_examples=25)
@given(MESSAGES, st.integers(1, 3), st.booleans())
def test_each_chat_gets_all_its_updates_in_order_one_at_a_time(
    messages: list[tuple[int, list[str]]], connections: int, warmed: bool
) -> None:
    """However the webhook answers: nothing is lost, overtaken, or sent too early."""

    async def play() -> None:
        async with harness() as made:
            made.connect(max_connections=connections)
            if warmed:
                await warm(made)
            script = Script(made.receiver)
            made.receiver.answer = script.answer
            for chat, failures in messages:
                update_id = made.say(chat)
                script.chats[update_id] = chat
                script.failures[update_id] = failures
            await made.delivered()
            assert script.early == []
            for chat in set(script.chats.values()):
                assert script.of(chat, script.accepted) == script.of(chat, script.chats)
            for update_id, failures in script.failures.items():
                assert script.seen[update_id] == len(failures) + 1
                assert made.row(update_id).attempts == len(failures) + 1
                assert made.row(update_id).state == "accepted"
            assert made.receiver.most_open <= connections

    asyncio.run(play())


async def test_the_request_is_telegrams() -> None:
    """Headers, secret, and a body of pure ASCII."""
    async with harness() as made:
        made.connect(secret_token="s3cret")
        update_id = made.say(7, "Grüße 🙂")
        await made.delivered()
        headers, body = made.receiver.headers, made.receiver.body
    assert headers["X-Telegram-Bot-Api-Secret-Token"] == "s3cret"
    assert headers["Content-Type"] == "application/json"
    assert headers["Accept-Encoding"] == "gzip, deflate"
    assert "User-Agent" not in headers
    assert b"Gr\\u00fc\\u00dfe \\ud83d\\ude42" in body
    assert body.startswith(b'{"update_id": %d, "message": {' % update_id)


async def test_without_a_secret_there_is_no_header() -> None:
    async with harness() as made:
        made.say(7)
        await made.delivered()
    assert "X-Telegram-Bot-Api-Secret-Token" not in made.receiver.headers


async def test_a_stuck_update_holds_back_its_own_queue_only() -> None:
    """Another chat, and a button press of the same user, go on."""
    async with harness() as made:
        await warm(made)
        stuck = made.say(7)
        made.receiver.answer = lambda update: web.Response(
            status=500 if update["update_id"] == stuck else 200
        )
        behind, other = made.say(7), made.say(8)
        press = made.deliveries.add("callback_query", {"from": {"id": 7}, "data": "x"})
        assert press
        await wait_until(lambda: made.pending == 2)
        assert made.row(other).state == made.row(press).state == "accepted"
        assert made.row(behind).attempts == 0
        assert made.row(stuck).status == 500
        made.receiver.answer = lambda _: web.Response()
        await made.delivered()
        assert made.receiver.arrived[-1] == behind


async def test_pauses_grow_as_telegrams_do() -> None:
    """At once, then 2, 4, 8, 16, 32 s, then about a minute, then one to two."""
    pauses, pace = noted_pauses()
    async with harness(pace) as made:
        made.receiver.answer = lambda _: web.Response(
            status=500 if len(made.receiver.arrived) < 12 else 200
        )
        made.say(7)
        await made.delivered()
    assert pauses[:7] == [0, 0, 2, 4, 8, 16, 32]
    assert 60 <= pauses[7] <= 64
    assert all(60 <= pause <= 120 for pause in pauses[8:])
    assert len(pauses) == 12


@pytest.mark.parametrize(
    ("given", "pause"), [("7", 7), ("99999", 3600), ("Wed, 21 Oct 2026", 0), ("-3", 0)]
)
async def test_the_webhook_may_say_how_long_to_wait(given: str, pause: int) -> None:
    """In whole seconds, an hour at most; and it does not make later pauses longer."""
    pauses, pace = noted_pauses()
    async with harness(pace) as made:

        def answer(_: dict[str, Any]) -> web.Response:
            match len(made.receiver.arrived):
                case 1:
                    return web.Response(status=503, headers={"Retry-After": given})
                case 2:
                    return web.Response(status=503)
            return web.Response(headers={"Retry-After": "9"})

        made.receiver.answer = answer
        made.say(7)
        made.say(7)
        await made.delivered()
    assert pauses == [0, pause, 2, 0]


async def test_an_update_is_dropped_when_it_is_too_old() -> None:
    """An inline query lives 30 s: the pause of 32 s is too long for it."""
    async with harness() as made:
        made.receiver.answer = lambda _: web.Response(status=500)
        update_id = made.deliveries.add("inline_query", {"from": {"id": 7}})
        assert update_id
        await made.delivered()
        row = made.row(update_id)
        assert (row.state, row.attempts) == ("dropped", 6)


async def test_a_late_answer_is_none() -> None:
    """The connection is closed, and the update comes again."""
    async with harness(DeliveryTiming(scale=0.0005, answer_seconds=0.1)) as made:
        made.receiver.hold.clear()
        made.say(7)
        await wait_until(lambda: len(made.receiver.arrived) > 1)
        info = made.webhook.info
        assert info["last_error_message"] == "Read timeout expired"
        made.receiver.hold.set()
        await made.delivered()


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (
            lambda _: web.Response(status=502),
            "Wrong response from the webhook: 502 Bad Gateway",
        ),
        (lambda _: None, "Connection closed"),
    ],
)
async def test_errors_are_reported_as_telegram_tells_them(
    answer: Answer, words: str
) -> None:
    """They stay after the recovery; another webhook clears them."""
    async with harness() as made:
        made.receiver.answer = answer
        made.say(7)
        await wait_until(lambda: "last_error_date" in made.webhook.info)
        made.receiver.answer = lambda _: web.Response()
        await made.delivered()
        assert made.webhook.info["last_error_message"] == words
        assert time.time() - made.webhook.info["last_error_date"] < 60
        made.deliveries.set_webhook({"url": "http://127.0.0.1:9/"})
        assert "last_error_message" not in made.webhook.info
        made.say(7)
        await wait_until(lambda: "last_error_message" in made.webhook.info)
        assert made.webhook.info["last_error_message"] == "Connection refused"


async def test_a_quiet_bot_has_one_connection_until_something_succeeds() -> None:
    """The first update after a pause is waited for by everybody."""
    async with harness() as made:
        made.receiver.hold.clear()
        for chat in range(2, 8):
            made.say(chat)
        await wait_until(lambda: made.receiver.open)
        await asyncio.sleep(0)
        assert len(made.receiver.arrived) == 1
        made.receiver.hold.set()
        await made.delivered()
        made.receiver.hold.clear()
        for chat in range(2, 8):
            made.say(chat)
        await wait_until(lambda: len(made.receiver.open) == 6)
        made.receiver.hold.set()


async def test_no_more_updates_are_on_their_way_than_was_asked_for() -> None:
    """However many chats have some; and there is no wait between them."""
    async with harness() as made:
        made.connect(max_connections=3)
        await warm(made)
        made.receiver.hold.clear()
        sent = [made.say(chat) for chat in range(1, 7)]
        await wait_until(lambda: len(made.receiver.open) == 3)
        # The fourth one would be on its way by now: all were sent in one go.
        states = [made.row(each).state for each in sent]
        assert states == ["in_flight"] * 3 + ["waiting"] * 3
        made.receiver.hold.set()
        await made.delivered()
        assert made.receiver.most_open == 3


async def test_chats_take_turns_at_the_connections() -> None:
    """One that has much to tell does not keep the others waiting."""
    async with harness() as made:
        made.connect(max_connections=2)
        with made.events.listen(lambda: None) as listener:
            first, second, *others = (made.say(chat) for chat in (1, 1, 2, 3, 4))
            await made.delivered()
            heard = (await listener.take(1)).split(b"\n\n")
        sent = [
            event["row"]["update_id"]
            for event in (
                json.loads(each.removeprefix(b"data: ")) for each in heard[:-1]
            )
            if event["type"] == "update" and event["row"]["state"] == "in_flight"
        ]
        assert sent == [first, *others, second]


async def test_too_many_stuck_chats_stop_the_bot() -> None:
    """Only twice as many queues as connections are loaded."""
    async with harness() as made:
        made.connect(max_connections=2)
        made.receiver.answer = lambda update: web.Response(
            status=500 if update["message"]["chat"]["id"] < 5 else 200
        )
        stuck = [made.say(chat) for chat in (1, 2, 3, 4)]
        innocent = made.say(5)
        await wait_until(lambda: all(made.row(each).attempts > 2 for each in stuck))
        assert made.row(innocent).attempts == 0
        made.receiver.answer = lambda _: web.Response()
        await made.delivered()
        assert made.row(innocent).state == "accepted"


async def test_another_webhook_gets_what_was_not_confirmed() -> None:
    """Also what was on its way; the old one is cut off."""
    async with harness() as made, Receiver().serving() as other:
        made.receiver.hold.clear()
        sent = [made.say(7), made.say(7)]
        await wait_until(lambda: made.receiver.open)
        made.deliveries.set_webhook({"url": other.url})
        await made.delivered()
        assert made.receiver.arrived == sent[:1]
        assert other.arrived == sent


async def test_the_same_webhook_again_changes_nothing() -> None:
    """No update is cut off or sent again."""
    async with harness() as made:
        made.receiver.hold.clear()
        sent = made.say(7)
        await wait_until(lambda: made.receiver.open)
        made.connect()
        made.receiver.hold.set()
        await made.delivered()
        assert made.receiver.arrived == [sent]


async def test_without_a_webhook_updates_wait() -> None:
    async with harness() as made:
        made.deliveries.delete_webhook({})
        kept = made.say(7)
        assert made.pending == 1
        made.connect()
        await made.delivered()
        assert made.receiver.arrived == [kept]
        made.deliveries.delete_webhook({})
        lost = made.say(7)
        made.deliveries.delete_webhook({"drop_pending_updates": True})
        assert made.pending == 0
        assert made.row(lost).state == "dropped"


async def test_what_is_thrown_away_on_its_way_ends_as_dropped() -> None:
    """Its request is cut off, and that is no failure."""
    async with harness() as made:
        made.receiver.hold.clear()
        lost = made.say(7)
        await wait_until(lambda: made.receiver.open)
        made.deliveries.delete_webhook({"drop_pending_updates": True})
    assert made.row(lost).state == "dropped"


async def test_senders_that_have_ended_are_forgotten() -> None:

    def ends() -> list[str]:
        tasks = [each for each in gc.get_objects() if isinstance(each, asyncio.Task)]
        return [
            name for task in tasks if (name := task.get_name()) == "end of a sender"
        ]

    async with harness() as made:
        for connections in range(1, 9):
            made.connect(max_connections=connections)
        assert ends()
        await wait_until(lambda: not ends())


async def test_what_the_bot_does_not_want_is_not_created() -> None:
    async with harness() as made:
        reaction = {"chat": {"id": 7}, "user": {"id": 7}}
        assert made.deliveries.add("message_reaction", reaction) is None
        made.connect(allowed_updates=["message_reaction"])
        assert made.deliveries.add("message_reaction", reaction)
        assert made.deliveries.add("message", {"chat": {"id": 7}}) is None
        await made.delivered()


async def test_what_is_pending_outlives_an_outage_of_the_simulator() -> None:
    """The queue is kept; what was in flight is sent again."""
    async with Receiver().serving() as receiver:
        made = Harness(receiver)
        receiver.hold.clear()
        async with made.running():
            made.connect()
            sent = made.say(7)
            await wait_until(lambda: receiver.open)
        assert made.pending == 1
        receiver.hold.set()
        async with made.running():
            await made.delivered()
        assert receiver.arrived == [sent, sent]


async def test_pages_hear_how_the_webhook_does() -> None:
    async with harness() as made:
        with made.events.listen(lambda: None) as listener:
            for _ in range(50):
                made.say(7)
            await made.delivered()
            heard = b""
            while b'"pending_update_count":0' not in heard:
                heard += await listener.take(5)
        assert heard.count(b'"type":"webhook"') <= 5


async def test_numbers_grow_by_one_and_begin_anywhere() -> None:
    """Two simulators do not use the same ones."""
    first, second = Harness(Receiver()), Harness(Receiver())
    one = first.say(7)
    assert first.say(8) == one + 1
    assert second.say(7) != one
    assert 10**8 <= one < 2 * 10**9
