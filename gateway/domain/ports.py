"""The ports: the actors' interfaces to the store, services, Telegram and the clock.

Implementations do not inherit from the protocols: mypy checks that they match in
`bootstrap.py`, where they are passed to the actors.
"""

from collections.abc import Awaitable, Callable, Collection, Sequence
from enum import StrEnum
from typing import Any, Protocol

from botgateway.chat.v1.reply_pb2 import CallbackTarget, Reply
from botgateway.route.v1.event_pb2 import Event

from gateway.domain.bot_api_call import BotApiCall
from gateway.domain.mailbox_lease import MailboxLease
from gateway.domain.update import DeadLetter, Envelope, Update


class Clock(Protocol):
    """The time, as a dependency that tests can replace."""

    def now(self) -> float:
        """Return the seconds since the epoch, comparable between machines."""

    def uptime(self) -> float:
        """Return the seconds since the machine's start, including suspension.

        Never goes backwards. CLOCK_MONOTONIC does not count while the machine is
        suspended, so a lease would seem to be valid after it has expired.
        """


class PutResult(StrEnum):
    """The result of a put that did not acquire a lease."""

    STORED = "stored"
    """The update waits for the owner of the mailbox, or for a scan."""
    DUPLICATE = "duplicate"
    """The update was in the mailbox already."""
    FULL = "full"
    """The mailbox is full; nothing was stored."""


class MailboxStore(Protocol):
    """Stores accepted updates until they are done, in one mailbox per ordering key.

    A mailbox is free (it has no updates), leased (one worker has its current token and
    a valid lease) or claimable (it has updates, but no lease or an expired one). Every
    method may be repeated with the same arguments after a lost reply.
    """

    @property
    def in_memory(self) -> int:
        """The number of accepted updates that are only in this process's memory.

        They are lost if the process ends.
        """

    async def put(
        self, envelope: Envelope, *, acquire: bool = True, enforce_limit: bool = True
    ) -> MailboxLease | PutResult:
        """Append an update to its mailbox, unless its `update_id` is there already.

        Args:
            envelope: the update.
            acquire: whether to acquire the lease if the mailbox is free. A claimable
                mailbox is never acquired here.
            enforce_limit: whether to refuse the update if the mailbox is full.

        Returns:
            The lease if it was acquired, otherwise the result of the put.

        Raises:
            StoreUnavailable: the store does not answer or is full.
        """

    async def commit(
        self,
        lease: MailboxLease,
        update_id: int,
        state: bytes,
        *,
        dead_letter_reason: str | None = None,
        release: bool = False,
    ) -> Envelope | None:
        """Remove a finished update, save the state, and return the next update.

        The operation is atomic. It extends the lease.

        Args:
            lease: the lease under which the update was processed.
            update_id: the id of the finished update; the mailbox need not contain it
                any more.
            state: the new user state of the mailbox.
            dead_letter_reason: the reason to move the update to the dead letters, or
                None if it was handled.
            release: whether to release the lease with the remaining updates.

        Returns:
            The update with the lowest `update_id`, or None if the lease ended, because
            the mailbox is empty or was released.

        Raises:
            LeaseLost: the lease's token is not the current one; nothing was changed.
        """

    async def renew(self, leases: Collection[MailboxLease]) -> Collection[MailboxLease]:
        """Extend leases, and return those that were lost."""

    async def release(self, lease: MailboxLease) -> None:
        """Release a lease and keep the updates. Has no effect if the lease was lost."""

    async def claimable(
        self, limit: int, skipped_bots: Collection[str] = ()
    ) -> Sequence[str]:
        """Return the ordering keys of claimable mailboxes, longest waiting first.

        Args:
            limit: the maximum number of mailboxes.
            skipped_bots: the ids of bots whose mailboxes are left out, so that they do
                not hide those of others.

        If there are very many of them, the order is approximate.
        """

    async def acquire(self, ordering_key: str) -> MailboxLease | None:
        """Acquire the lease of a claimable mailbox.

        If the previous lease expired without a release, its owner was lost; that counts
        against the next update. If a step was running, the loss is also a crash. It
        does not count if the update was a suspect and the owner had begun no step. A
        commit resets the counts.

        If the update is a suspect after such a loss and no crash was counted, the lease
        is not granted: the mailbox pauses, see `SUSPECT_PAUSES`.

        Returns:
            The lease, or None if the mailbox is not claimable.
        """

    async def record_step(self, lease: MailboxLease, *, running: bool) -> None:
        """Record whether a step of a suspected update is running.

        Has no effect if the lease was lost or the update is not suspected. Does not
        raise if the store does not answer.

        Args:
            lease: the lease of the mailbox.
            running: whether a step begins; otherwise it has ended.
        """

    async def add_dead_letter(self, dead_letter: DeadLetter) -> None:
        """Add a dead letter that was never in a mailbox."""


INLINE_SCOPE = ""
"""The scope of buttons under inline messages, for which Telegram names no chat."""


def button_scope(chat_id: int, business_connection_id: str) -> str:
    """Return the scope of the buttons in a chat: their signatures are valid only there.

    The business connection is part of the scope because a chat of a business account
    has the same id as the customer's chat with the bot.
    """
    return f"{chat_id}:{business_connection_id}" if chat_id else INLINE_SCOPE


class BoundCall(Protocol):
    """An update together with the route that serves it."""

    @property
    def route_name(self) -> str:
        """The name of the route in the route table."""

    @property
    def is_streaming(self) -> bool:
        """Whether the service streams its reply: use `stream`, otherwise `call`."""

    @property
    def shows_typing(self) -> bool:
        """Whether to show a waiting user that the bot is typing."""

    async def call(self, internal_user_id: str | None) -> Reply:
        """Call the service and return its reply.

        Raises:
            ServiceError: the call failed.
        """

    async def stream(
        self, internal_user_id: str | None, write: Callable[[str], None]
    ) -> Reply | None:
        """Call the service and receive its reply in chunks.

        Args:
            internal_user_id: the internal id of the user, or None if there is none.
            write: called with each chunk of the text, never with an empty one.

        Returns:
            The final reply, or None if it is the text of the chunks.

        Raises:
            ServiceError: the call failed, or the reply is incomplete.
        """


class ServiceRouter(Protocol):
    """Routes updates to the internal services by the route table."""

    def route(self, update: Update) -> BoundCall | None:
        """Return the call of the route that serves an update, or None."""

    def route_event(self, update: Update, event: "Event.ValueType") -> BoundCall | None:
        """Return the call of the route that serves an event of the user, or None."""

    def encode_callback_data(self, call: CallbackTarget) -> str | None:
        """Return the callback data for a button that makes this call.

        Returns None if no callback route accepts the call.
        """

    def sign_callback_data(
        self, data: str, scope: str, delivery_id: str | None = None
    ) -> str:
        """Return the data of a button, signed if its route requires that.

        Args:
            data: the data of a button.
            scope: the scope of the button: see `button_scope`.
            delivery_id: the delivery whose message has the button; the services get
                its id when the button is pressed. None if it is a reply.
        """

    async def resolve_user(self, update: Update) -> str | None:
        """Return the internal id of the update's human user.

        Returns None if no id is known.

        Raises:
            ServiceError: the call of the session service failed.
        """


RetryPause = Callable[[Awaitable[None]], Awaitable[None]]
"""Awaits the pause before a retry, and lets the caller account for it."""


BeforeRequest = Callable[[], Awaitable[None]]
"""Awaited immediately before a request. If it raises, the request is not made."""


async def await_pause(pause: Awaitable[None]) -> None:
    """Only await a pause. This is the default `RetryPause`."""
    await pause


class StreamingPreview(Protocol):
    """The live preview of a streamed reply."""

    @property
    def min_interval(self) -> float:
        """The minimum seconds between calls of `show`, given Telegram's limits."""

    async def show(self, text: str) -> None:
        """Show the text that was received so far, in place of the previous text.

        Calls must not overlap.

        Raises:
            BotApiUnavailable: the text cannot be shown now; `retry_after` says when.
            BotApiError: no text can be shown. Sending the reply may still work.
        """

    def finalize(self, reply: Reply) -> Sequence[BotApiCall]:
        """Return the calls that replace the preview with the complete reply.

        Mutates the reply.
        """


class CancellationBus(Protocol):
    """Notifies all workers that a user stopped a streamed reply.

    Best effort: a worker that misses the message finishes the stream.
    """

    def subscribe(self, stop: Callable[[str, int], None]) -> None:
        """Register a callback for all cancellations, including this worker's own.

        Args:
            stop: called with the ordering key and the id of the draft.
        """

    def publish(self, ordering_key: str, draft_id: int) -> None:
        """Notify all workers without waiting for them."""


class SharedCooldowns(Protocol):
    """Shares the cool-downs of a bot's chats after a 429 with all workers.

    Best effort: a worker that does not learn of one gets a 429 of its own.
    """

    def record(self, chat_id: int, seconds: float) -> None:
        """Record a cool-down that starts now, without waiting for the store."""

    async def find(self, chat_id: int) -> float:
        """Return the seconds until a cool-down ends; 0 if none is known."""


class Messenger(Protocol):
    """Sends replies to the user."""

    def preview(self, update: Update) -> StreamingPreview:
        """Return a preview for a streamed reply to an update."""

    async def show_typing(self, update: Update) -> None:
        """Show for five seconds, or until the next message, that the bot is typing.

        Raises:
            BotApiError: Telegram did not accept the call.
        """

    def render(
        self, update: Update, reply: Reply, *, edited_message_id: int | None = None
    ) -> Sequence[BotApiCall]:
        """Return the Bot API calls for a reply, in the order to send them.

        A pressed button is always answered, even if the reply is empty.

        Args:
            update: the update that the reply answers.
            reply: the reply.
            edited_message_id: the message that an edit changes, if it is not the one
                with the pressed button.
        """

    async def learn_cooldown(self, chat_id: int) -> float:
        """Learn of a cool-down of a chat that another worker started.

        Returns:
            The seconds until the cool-down of the chat ends; 0 if there is none.
        """

    async def send(
        self,
        call: BotApiCall,
        patience: float = 0,
        wait: RetryPause = await_pause,
        before_request: BeforeRequest | None = None,
    ) -> Any:  # noqa: ANN401 - each method has a result of its own
        """Make a call, and retry it while it certainly did not take effect.

        Args:
            call: the call.
            patience: how many seconds to retry, counted from the first failure.
            wait: awaits the pauses between the attempts. Whenever it is called, no
                attempt since the last call of `before_request` took effect.
            before_request: awaited immediately before each attempt, after all pauses.

        Returns:
            The result of the method, such as the message that was sent. None if the
            call was of no use any more.

        Raises:
            RecipientBlocked: this user cannot be reached.
            BotApiError: the Bot API did not accept the call, or it is unknown whether
                it did.
        """
