"""The ports: the interfaces through which actors use the store, services and Telegram.

Implementations do not inherit from these protocols: mypy checks that they match in
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
    """The time of day and the time since the start, which tests can replace."""

    def now(self) -> float:
        """Return the seconds since the epoch, to compare times of different machines.

        The value may jump when a clock is set.
        """

    def uptime(self) -> float:
        """Return the seconds since this machine's start, including suspension.

        Never goes backwards. Measure leases and intervals with it: CLOCK_MONOTONIC does
        not count while the machine is suspended, so a lease would seem to be valid
        after it has expired.
        """


class PutResult(StrEnum):
    """The result of `MailboxStore.put` if it did not acquire a lease."""

    STORED = "stored"
    """The update is stored. The owner of the mailbox, or whoever acquires it after a
    scan, will process it."""
    DUPLICATE = "duplicate"
    """Nothing was stored: the update was in the mailbox already."""
    FULL = "full"
    """The mailbox is full; nothing was stored."""


class MailboxStore(Protocol):
    """Stores accepted updates until they are done, in one mailbox per ordering key.

    A mailbox is free (it has no updates), leased (one worker has its current token and
    a valid lease) or claimable (it has updates, but no lease or an expired one).
    Workers find claimable mailboxes by `claimable` and take one over by `acquire`.
    Every method may be repeated with the same arguments after a lost reply. Methods
    raise StoreUnavailable only where that is said; otherwise they repeat the request
    until it succeeds, or have no effect.
    """

    @property
    def in_memory(self) -> int:
        """The number of accepted updates that only the memory of this process contains.

        They are lost if the process ends. 0 if every update is in Redis or in a file.
        """

    async def put(
        self, envelope: Envelope, *, acquire: bool = True, enforce_limit: bool = True
    ) -> MailboxLease | PutResult:
        """Store an update in its mailbox, unless its `update_id` is there already.

        A mailbox is sorted by `update_id`.

        Args:
            envelope: the update.
            acquire: True to acquire the lease if the mailbox is free, so that the
                caller processes the update. False to leave it to the next scan. A
                claimable mailbox is never acquired here.
            enforce_limit: True to refuse the update if the mailbox is full; False to
                store it in any case.

        Returns:
            The lease if it was acquired, otherwise the result of the put.

        Raises:
            StoreUnavailable: the store does not answer or is full. The update may be
                stored or not: repeat the put, or let Telegram send the update again.
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
        """Remove a finished update, save the user state, and return the next update.

        The operation is atomic, and extends the lease. It also works after the lease
        has expired, if no other owner has acquired the mailbox. While the store does
        not answer, it is tried again.

        Args:
            lease: the lease under which the update was processed.
            update_id: the id of the finished update; the mailbox need not contain it
                any more.
            state: the new user state of the mailbox.
            dead_letter_reason: the reason to move the update to the dead letters; None
                if it was handled.
            release: True to release the lease with the remaining updates, for another
                worker.

        Returns:
            The first of the remaining updates or deliveries. None if the lease ended,
            because the mailbox is empty or was released.

        Raises:
            LeaseLost: the lease's token is not the current one; nothing was changed.
        """

    async def renew(self, leases: Collection[MailboxLease]) -> Collection[MailboxLease]:
        """Extend leases by setting their `expires_at`, and return those that were lost.

        A lease is lost if its token is not the current one any more. If the store does
        not answer, a lease is neither extended nor returned, and expires by itself.
        Never raises StoreUnavailable.
        """

    async def release(self, lease: MailboxLease) -> None:
        """End a lease and keep the updates, which any worker may acquire from now on.

        Has no effect if the lease was lost. Nothing is raised if the store does not
        answer: the lease then expires by itself.
        """

    async def claimable(
        self, limit: int, skipped_bots: Collection[str] = ()
    ) -> Sequence[str]:
        """Return the ordering keys of claimable mailboxes, longest waiting first.

        Nothing is changed; use `acquire`. If there are very many, the order is
        approximate.

        Args:
            limit: the maximum number of mailboxes.
            skipped_bots: the ids of bots whose mailboxes are left out, so that they do
                not hide those of others.
        """

    async def acquire(self, ordering_key: str) -> MailboxLease | None:
        """Acquire the lease of a mailbox, if it is still claimable.

        If the previous lease expired without a release, its owner was lost, and the
        store counts that against the first update in the mailbox: as a crash if a step
        of the update was running. It counts nothing if the update was a suspect whose
        first step had not begun. If the update is now a suspect without any crash, the
        mailbox pauses instead: nobody can acquire it for the time in `SUSPECT_PAUSES`.
        A commit resets the counts.

        Args:
            ordering_key: the key of the mailbox, from `claimable`.

        Returns:
            The lease. None if the mailbox is not claimable any more, if it pauses now,
            or if the store does not answer.
        """

    async def record_step(self, lease: MailboxLease, *, running: bool) -> None:
        """Record that a step of a suspected update begins or has ended.

        If the worker ends while a step is recorded as running, the next `acquire`
        counts a crash: see `poison.py`. Has no effect if the lease was lost or the
        update is not suspected. Does not raise if the store does not answer.

        Args:
            lease: the lease of the mailbox.
            running: True if a step begins now; False if it has ended.
        """

    async def add_dead_letter(self, dead_letter: DeadLetter) -> None:
        """Store a dead letter that was never in a mailbox, such as a malformed body.

        Raises:
            StoreUnavailable: the store does not answer or is full.
        """


INLINE_SCOPE = ""
"""The scope of buttons under inline messages, for which Telegram names no chat."""


def button_scope(chat_id: int, business_connection_id: str) -> str:
    """Return the scope to which the signature of a button's data is bound.

    A signed button is valid only in the chat in which it was sent. The business
    connection is part of the scope because a chat of a business account has the same id
    as the customer's chat with the bot.

    Args:
        chat_id: Telegram's id of the chat; 0 for an inline message, which has no chat.
        business_connection_id: the id of the business connection; empty if there is
            none.
    """
    return f"{chat_id}:{business_connection_id}" if chat_id else INLINE_SCOPE


class BoundCall(Protocol):
    """The call of a service that a route prescribes for one update, not yet made."""

    @property
    def route_name(self) -> str:
        """The name of the route in the route table."""

    @property
    def is_streaming(self) -> bool:
        """Whether the service streams its reply. If so use `stream`, else `call`."""

    @property
    def shows_typing(self) -> bool:
        """Whether to show the user that the bot is typing while the service works."""

    async def call(self, internal_user_id: str | None) -> Reply:
        """Call the service and return its reply.

        Args:
            internal_user_id: the internal id of the user, from
                `ServiceRouter.resolve_user`; None if there is none.

        Raises:
            ServiceError: the call failed; the subclass says how.
        """

    async def stream(
        self, internal_user_id: str | None, write: Callable[[str], None]
    ) -> Reply | None:
        """Call a streaming service and receive its reply in chunks.

        Args:
            internal_user_id: the internal id of the user; None if there is none.
            write: called with each chunk of the text as it arrives, never with an empty
                one.

        Returns:
            The final reply. None if the service sent none: the reply is then the text
            of all chunks.

        Raises:
            ServiceError: the call failed, or the stream ended before the reply was
                complete. The chunks so far have been written.
        """


class ServiceRouter(Protocol):
    """Decides by the route table which service serves an update, and can call it."""

    def route(self, update: Update) -> BoundCall | None:
        """Return the call that the route of an update prescribes, without making it.

        Returns None if no route serves the update.
        """

    def route_event(self, update: Update, event: "Event.ValueType") -> BoundCall | None:
        """Return the call of the route for an event, such as a user blocking the bot.

        Args:
            update: the update that shows the event.
            event: the event that routes may name as their trigger.

        Returns:
            The call, not yet made; None if no route serves the event.
        """

    def encode_callback_data(self, call: CallbackTarget) -> str | None:
        """Return the callback data for a button that is to call a service when pressed.

        Args:
            call: the rpc that the service named in its reply, with its arguments.

        Returns:
            The data, not yet signed, of any length; None if no callback route accepts
            the call.
        """

    def sign_callback_data(
        self, data: str, scope: str, delivery_id: str | None = None
    ) -> str:
        """Return the data of a button, signed if its route requires that.

        Args:
            data: the data of the button, from `encode_callback_data`.
            scope: where the button is valid: see `button_scope`.
            delivery_id: the id of the delivery whose message has the button; the
                service gets this id when the button is pressed. None if the button is
                in a reply.
        """

    async def resolve_user(self, update: Update) -> str | None:
        """Return the internal id of the update's human user, from the session service.

        Returns:
            The id. None if the session service knows none, or if there is no session
            service.

        Raises:
            ServiceError: the call of the session service failed.
        """


RetryPause = Callable[[Awaitable[None]], Awaitable[None]]
"""Awaits the pause before a retry, and lets the caller account for it."""


BeforeRequest = Callable[[], Awaitable[None]]
"""Awaited immediately before a request. If it raises, the request is not made."""


async def await_pause(pause: Awaitable[None]) -> None:
    """Await the pause before a retry and do nothing else: the default `RetryPause`."""
    await pause


class StreamingPreview(Protocol):
    """The message in which the user watches a streamed reply grow."""

    @property
    def min_interval(self) -> float:
        """The minimum seconds between two calls of `show`, given Telegram's limits."""

    async def show(self, text: str) -> None:
        """Show the text that was received so far, in place of the previous text.

        Sends or edits the preview, without a retry. Calls must not overlap.

        Args:
            text: the complete text so far.

        Raises:
            BotApiUnavailable: the text cannot be shown now; `retry_after` says when to
                try again.
            BotApiError: no text can be shown, now or later. Sending the reply may still
                work.
        """

    def finalize(self, reply: Reply) -> Sequence[BotApiCall]:
        """Return the calls that replace the preview with the complete reply, in order.

        Nothing is sent. The argument is changed: do not use it afterwards.

        Args:
            reply: the complete reply of the service.
        """


class CancellationBus(Protocol):
    """Tells all workers that a user stopped a streamed reply.

    Best effort: a worker that misses the message finishes the stream.
    """

    def subscribe(self, stop: Callable[[str, int], None]) -> None:
        """Register a callback for the cancellations of all workers.

        Those that this worker publishes are among them.

        Args:
            stop: called in the event loop with the ordering key of the user and the id
                of the draft that shows the stopped reply. It has to ignore unknown and
                repeated ones.
        """

    def publish(self, ordering_key: str, draft_id: int) -> None:
        """Tell all workers, without waiting, that a user stopped a streamed reply.

        Args:
            ordering_key: the ordering key of the user.
            draft_id: the id of the draft that shows the stopped reply.
        """


class SharedCooldowns(Protocol):
    """Tells all workers of a bot which chats must not be called after a 429.

    Best effort: a worker that does not learn of a cool-down gets a 429 of its own.
    """

    def record(self, chat_id: int, seconds: float) -> None:
        """Record that the bot must not call a chat for some seconds from now on.

        Does not wait for the store, and ignores its failures.

        Args:
            chat_id: Telegram's id of the chat.
            seconds: the duration of the cool-down.
        """

    async def find(self, chat_id: int) -> float:
        """Return the seconds until the cool-down of a chat ends.

        Returns 0 if none is known, or if the store does not answer.
        """


class Messenger(Protocol):
    """Renders replies as Bot API calls, and makes these calls."""

    def preview(self, update: Update) -> StreamingPreview:
        """Return a preview for a streamed reply to an update. Nothing is sent yet."""

    async def show_typing(self, update: Update) -> None:
        """Show the user that the bot is typing.

        Telegram shows it for five seconds, or until the next message. Nothing is sent
        for an ephemeral message, because the whole group would see it. The call is not
        retried.

        Raises:
            BotApiError: Telegram did not accept the call.
        """

    def render(
        self, update: Update, reply: Reply, *, edited_message_id: int | None = None
    ) -> Sequence[BotApiCall]:
        """Return the Bot API calls for a reply, in the order in which to send them.

        Nothing is sent. The calls always answer a pressed button, even if the reply is
        empty.

        Args:
            update: the update that the reply answers.
            reply: the reply of the service.
            edited_message_id: the id of the message that an edit in the reply changes;
                None for the message with the pressed button.
        """

    async def learn_cooldown(self, chat_id: int) -> float:
        """Look up whether another worker has a cool-down for a chat, and keep to it.

        Returns:
            The seconds until the cool-down of the chat ends; 0 if none is known.
        """

    async def send(
        self,
        call: BotApiCall,
        patience: float = 0,
        wait: RetryPause = await_pause,
        before_request: BeforeRequest | None = None,
    ) -> Any:  # noqa: ANN401 - each method has a result of its own
        """Make a call, and retry it while it certainly did not take effect.

        After a rejection, the rejected part of the call is changed or removed and the
        call made again, unless `BotApiCall.is_verbatim`.

        Args:
            call: the call.
            patience: for how many seconds to retry, counted from the first failure; at
                least `BotApiCall.min_patience`.
            wait: awaits the pauses between the attempts. Whenever it is called, no
                attempt since the last call of `before_request` took effect.
            before_request: awaited immediately before each attempt, after all pauses;
                None if there is nothing to do.

        Returns:
            The result of the Bot API method, such as the message that was sent. None if
            the call answers a query that has expired or was answered before.

        Raises:
            RecipientBlocked: this user cannot be reached.
            BotApiError: the Bot API did not accept the call, or it is unknown whether
                it did.
        """
