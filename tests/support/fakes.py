"""Hand-written stand-ins, one per port."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from botgateway.chat.v1.reply_pb2 import CallbackTarget, OutgoingMessage, Reply
from botgateway.route.v1.event_pb2 import Event

from gateway.actors.leases import ActorLease
from gateway.actors.replies.service_call import ServiceCaller
from gateway.actors.replies.streaming import StreamRunner
from gateway.actors.replies.typing_indicator import TypingIndicator
from gateway.domain.bot_api_call import BotApiCall
from gateway.domain.delivery_store import RecipientIndex
from gateway.domain.mailbox_lease import MailboxLease
from gateway.domain.poison import MAX_UNSUSPECTED_LOSSES
from gateway.domain.ports import (
    BeforeRequest,
    CancellationBus,
    Clock,
    RetryPause,
    await_pause,
)
from gateway.domain.processing_record import ProcessingRecord
from gateway.domain.update import (
    BotEvent,
    ButtonPress,
    Command,
    Update,
    UserMessage,
)
from gateway.mailboxes.memory.recipients import MemoryRecipientIndex


class FakeClock:
    """A clock that stands still until a test moves it."""

    def __init__(self) -> None:
        self.epoch = 1_790_000_000.0
        self.up = 1000.0

    def now(self) -> float:
        """Return seconds since the epoch."""
        return self.epoch

    def uptime(self) -> float:
        """Return seconds since the machine's start."""
        return self.up

    def move(self, seconds: float) -> None:
        """Let time pass."""
        self.epoch += seconds
        self.up += seconds


def text_of(update: Update) -> str | None:
    """Return the text of a user's message; None if the update is no such message."""
    return update.message.text if isinstance(update, UserMessage) else None


class FakeMatch:
    """A route of `FakeServices` with the update it was found for."""

    def __init__(self, services: "FakeServices", update: Update, route: str) -> None:
        self.route_name = route
        self.is_streaming = services.script is not None
        self.shows_typing = True
        self._services = services
        self._update = update

    async def call(self, internal_user_id: str | None) -> Reply:
        """Note the call and do what the test said."""
        self._services.calls.append((self.route_name, self._update, internal_user_id))
        return await self._services.answer(self._update)

    async def stream(
        self, internal_user_id: str | None, write: Callable[[str], None]
    ) -> Reply | None:
        """Note the call and write what the test said."""
        self._services.calls.append((self.route_name, self._update, internal_user_id))
        assert self._services.script is not None
        return await self._services.script(write)


class FakeServices:
    """Services that answer what a test says and remember what they were asked."""

    def __init__(self) -> None:
        self.routes = {"text", "/start", "CONNECT:"}
        self.events: dict[int, str] = {}
        self.calls: list[tuple[str, Update, str | None]] = []
        self.resolved: list[int] = []
        self.answer: Callable[[Update], Awaitable[Reply]] = self.echo
        self.internal_user_id: str | Exception | None = "u-7"
        self.script: Callable[[Callable[[str], None]], Awaitable[Reply | None]] | None
        self.script = None
        """Set: all routes stream, and this writes the pieces."""

    async def echo(self, update: Update) -> Reply:
        """Answer with the user's own text."""
        text = text_of(update)
        text = "pressed" if text is None else text
        return Reply(messages=[OutgoingMessage(text=text)])

    def route(self, update: Update) -> FakeMatch | None:
        """Find a route by the same order as the real thing."""
        match update:
            case BotEvent():
                return self.route_event(update, update.event)
            case ButtonPress():
                route = (update.callback_data or "").partition(":")[0] + ":"
            case Command():
                route = f"/{update.name}"
            case UserMessage():
                route = "text"
            case _:
                route = update.trigger_name or ""
        return FakeMatch(self, update, route) if route in self.routes else None

    def route_event(self, update: Update, event: "Event.ValueType") -> FakeMatch | None:
        """Find the route of an event."""
        route = self.events.get(event)
        return FakeMatch(self, update, route) if route else None

    def encode_callback_data(self, call: CallbackTarget) -> str | None:
        """Put data together as the real thing; "NoSuch" is no rpc."""
        values = ":".join(call.parameters.values())
        return None if call.method == "NoSuch" else f"{call.method}:{values}"

    def sign_callback_data(
        self, data: str, scope: str, delivery_id: str | None = None
    ) -> str:
        """Sign data that begins with "PAY" with the place; no other is to be signed."""
        if delivery_id is not None:
            data = f"{data}#{delivery_id}"
        return f"{data}~{scope}" if data.startswith("PAY") else data

    async def resolve_user(self, update: Update) -> str | None:
        """Return the internal user id, or fail as told."""
        self.resolved.append(update.context.telegram_user_id)
        if isinstance(self.internal_user_id, Exception):
            raise self.internal_user_id
        return self.internal_user_id


class FakeMessenger:
    """Keeps what would be sent. One call per message, plus one per pressed button."""

    def __init__(self) -> None:
        self.sent: list[BotApiCall] = []
        self.failures: list[BaseException | None] = []
        """What the next calls raise; None succeeds."""
        self.shown: list[str] = []
        """What previews showed."""
        self.show: Callable[[str], Awaitable[None]] = _at_once
        """What a preview does before it shows a text."""
        self.typed: list[int] = []
        self.typing_failure: Exception | None = None
        self.pause: asyncio.Event | None = None
        self.patiences: list[float] = []
        """With what patience each call was made."""
        self.cooldown_seconds = 0.0
        """How long the cool-down of each chat lasts. No call is made meanwhile."""
        self.looked_up: list[int] = []
        """The chats whose cool-downs were looked up."""
        self.results: list[Any] = []
        """What the next calls return; then None."""
        self.outage: Callable[[], Awaitable[None]] | None = None
        """Set: each call fails at first, and waits for this to be made again."""

    @property
    def texts(self) -> list[str]:
        """What users saw, button answers included."""
        return [call.parameters["text"] for call in self.sent]

    def render(
        self, update: Update, reply: Reply, *, edited_message_id: int | None = None
    ) -> Sequence[BotApiCall]:
        """Turn a reply into calls."""
        calls = []
        if isinstance(update, ButtonPress):
            text = reply.callback_answer.text
            calls.append(
                BotApiCall(method="answerCallbackQuery", parameters={"text": text})
            )
        for message in reply.messages:
            parameters = {"chat_id": update.context.chat_id, "text": message.text}
            method = "sendMessage"
            if edited_message_id is not None and message.edit:
                method = "editMessageText"
                parameters["message_id"] = edited_message_id
            calls.append(BotApiCall(method=method, parameters=parameters))
        return calls

    def preview(self, update: Update) -> "FakePreview":
        """Prepare to show an answer while it is being written."""
        return FakePreview(self, update)

    async def show_typing(self, update: Update) -> None:
        """Note for whom, or fail as told."""
        if self.typing_failure is not None:
            raise self.typing_failure
        self.typed.append(update.update_id)

    async def learn_cooldown(self, chat_id: int) -> float:
        """Note the chat."""
        self.looked_up.append(chat_id)
        return self.cooldown_seconds

    async def send(
        self,
        call: BotApiCall,
        patience: float = 0,
        wait: RetryPause = await_pause,
        before_request: BeforeRequest | None = None,
    ) -> Any:  # noqa: ANN401 - as Telegram's results
        """Keep the call, or fail as told."""
        self.patiences.append(patience)
        if self.outage is not None:
            if before_request is not None and not self.cooldown_seconds:
                await before_request()
            await wait(self.outage())
        if before_request is not None:
            await before_request()
        if self.pause is not None:
            await self.pause.wait()
        if self.failures and (failure := self.failures.pop(0)) is not None:
            raise failure
        self.sent.append(call)
        return self.results.pop(0) if self.results else None


async def _at_once(_: str) -> None:
    pass


class FakePreview:
    """Shows texts in the list of its messenger."""

    min_interval = 0.001

    def __init__(self, messenger: FakeMessenger, update: Update) -> None:
        self._messenger = messenger
        self._update = update

    async def show(self, text: str) -> None:
        """Show a text, as the test says."""
        await self._messenger.show(text)
        self._messenger.shown.append(text)

    def finalize(self, reply: Reply) -> Sequence[BotApiCall]:
        """Turn the whole answer into calls."""
        return self._messenger.render(self._update, reply)


class FakeLease(ActorLease):
    """A lease that lasts, and notes how often it was asked."""

    def __init__(self, lease: MailboxLease) -> None:
        self.mailbox_lease = lease
        self.is_suspected = lease.owner_losses > MAX_UNSUSPECTED_LOSSES
        self.holds = 0
        self.give_back_after = 10**9

    async def ensure_valid(self) -> None:
        """Count."""
        self.holds += 1

    async def await_pause(self, pause: Awaitable[None]) -> None:
        """Await the pause."""
        await pause
        await self.ensure_valid()

    async def begin_step(self) -> None:
        """Note nothing."""

    async def end_step(self) -> None:
        """Note nothing."""

    def should_release(self, handled: int) -> bool:
        """Want it back as told."""
        return handled >= self.give_back_after


class Turns(list[ProcessingRecord]):
    """What became of updates."""

    @property
    def outcomes(self) -> list[str]:
        """The outcomes in their order."""
        return [record.outcome.value for record in self]


def an_answering(
    services: FakeServices,
    messenger: FakeMessenger,
    clock: Clock,
    stops: CancellationBus,
    recipients: RecipientIndex | None = None,
) -> ServiceCaller:
    """Put together what asks the services."""
    typing = TypingIndicator(messenger)
    streams = StreamRunner(messenger, typing)
    stops.subscribe(streams.stop)
    return ServiceCaller(
        services,
        typing,
        streams,
        clock,
        session_seconds=3600,
        recipients=recipients or MemoryRecipientIndex(100),
    )
