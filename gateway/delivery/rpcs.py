"""The rpcs of the Delivery service, without gRPC: `handlers.py` calls them.

Every rpc raises RpcFailure with the status for the caller, StoreUnavailable if the
store does not answer, and ServiceError if the service that knows the recipient fails.
In the last two cases the caller may repeat the same request.

Concurrency: each rpc is a task of gRPC, which cancels it if its client gives up. A
delivery is therefore stored in a task of its own: a put that was cancelled could leave
a lease without an actor. `drain` waits for these tasks.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Protocol

import grpc
from botgateway.delivery.v1.delivery_service_pb2 import (
    AmendRequest,
    AmendResponse,
    CallRequest,
    CallResponse,
    CancelRequest,
    CancelResponse,
    GetRequest,
    GetResponse,
    Recipient,
    SendRequest,
    SendResponse,
)

from gateway.config.delivery_callers import Caller
from gateway.delivery.amendment_checks import check_amendment
from gateway.delivery.bots import DeliveryBot, check_bot, find_bot
from gateway.delivery.call_methods import check_call
from gateway.delivery.failures import (
    RpcFailure,
    Violation,
    build_invalid_argument,
    build_resource_exhausted,
)
from gateway.delivery.message_checks import check_messages
from gateway.delivery.quotas import CallerQuotas
from gateway.delivery.records import build_status
from gateway.delivery.repeats import RepeatedRequests
from gateway.delivery.request_checks import (
    AnyRequest,
    check_common,
    check_recipient,
)
from gateway.delivery.requests import build_delivery
from gateway.domain.delivery import (
    Delivery,
    DeliveryKind,
    DeliveryRecord,
    DeliveryState,
    compute_delivery_id,
)
from gateway.domain.delivery_store import DeliveryPutResult
from gateway.domain.errors import IdempotencyKeyReused
from gateway.domain.message_handles import MessageHandle, MessageHandles

FULL_MAILBOX_RETRY_SECONDS = 5.0
"""How many seconds a caller has to wait if the recipient's mailbox is full."""

Enqueue = Callable[[Delivery], Awaitable[DeliveryPutResult]]
"""Stores a delivery, and starts an actor for its mailbox if possible."""


FindRecipient = Callable[[int, str], Awaitable[int | None]]
"""Returns Telegram's id of a user, or None if nobody knows it, for the id of a bot and
an internal user id."""


class DeliveryRecords(Protocol):
    """The part of `DeliveryStore` that the rpcs use."""

    async def get_delivery(self, delivery_id: str) -> DeliveryRecord | None:
        """Return the record of a delivery, or None if there is none."""

    async def cancel_delivery(self, delivery_id: str) -> DeliveryRecord | None:
        """Cancel a delivery if nobody has begun to send it, and return its record.

        See `DeliveryStore.cancel_delivery`.
        """


class DeliveryRpcs:
    """Carries out the rpcs of the Delivery service for callers that were identified.

    Args:
        enqueue: stores a delivery, and starts an actor for its mailbox if possible.
        records: returns and cancels stored deliveries.
        find_recipient: finds users by their internal ids.
        list_bots: returns the bots of this gateway, which may change.
        quotas: limits how many deliveries a caller may ask for.
        handles: makes and reads the signed handles of sent messages.
        call_methods: the methods of the Bot API that services may call.
        now: returns the seconds since the epoch.
    """

    def __init__(
        self,
        *,
        enqueue: Enqueue,
        records: DeliveryRecords,
        find_recipient: FindRecipient,
        list_bots: Callable[[], Sequence[DeliveryBot]],
        quotas: CallerQuotas,
        handles: MessageHandles,
        call_methods: Collection[str],
        now: Callable[[], float],
    ) -> None:
        self._enqueue = enqueue
        self._records = records
        self._repeats = RepeatedRequests(records.get_delivery)
        self._find_recipient = find_recipient
        self._list_bots = list_bots
        self._quotas = quotas
        self._handles = handles
        self._call_methods = call_methods
        self._now = now
        self._puts: set[asyncio.Task[DeliveryPutResult]] = set()

    async def send(self, caller: Caller, request: SendRequest) -> SendResponse:
        """Store a delivery that sends messages to a user or to a chat.

        It is sent later, by an actor. If the same request was stored before, nothing is
        stored, and the response says so.

        Raises:
            RpcFailure: the request is invalid or not permitted, its recipient is
                unknown, its idempotency key was used with another request, the quota is
                used up, or the mailbox is full.
        """
        delivery_id, is_repeated = await self._accept(
            DeliveryKind.SEND,
            caller,
            request,
            request.recipient.bot,
            self._prepare_send(caller, request),
        )
        return SendResponse(delivery_id=delivery_id, is_repeated=is_repeated)

    async def amend(self, caller: Caller, request: AmendRequest) -> AmendResponse:
        """Store a delivery that changes a message which was sent before.

        Raises:
            RpcFailure: as for `send`.
        """
        handle = self._handles.decode(request.handle)
        delivery_id, is_repeated = await self._accept(
            DeliveryKind.AMEND,
            caller,
            request,
            "" if handle is None else str(handle.bot_id),
            self._prepare_amendment(caller, request, handle),
        )
        return AmendResponse(delivery_id=delivery_id, is_repeated=is_repeated)

    async def call(self, caller: Caller, request: CallRequest) -> CallResponse:
        """Store a delivery that calls a method of the Bot API for a chat.

        Raises:
            RpcFailure: as for `send`; or the method is not in DELIVERY_CALL_METHODS.
        """
        delivery_id, is_repeated = await self._accept(
            DeliveryKind.CALL,
            caller,
            request,
            request.recipient.bot,
            self._prepare_call(caller, request),
        )
        return CallResponse(delivery_id=delivery_id, is_repeated=is_repeated)

    async def get(self, caller: Caller, request: GetRequest) -> GetResponse:
        """Return the state of a delivery of the same caller.

        The request has either its id, or its bot and its idempotency key.

        Raises:
            RpcFailure: the request is invalid, or there is no such delivery.
        """
        if bool(request.delivery_id) == bool(request.idempotency_key):
            raise build_invalid_argument(
                [Violation("delivery_id", "set either it or idempotency_key")]
            )
        delivery_id = request.delivery_id
        if not delivery_id:
            bot = find_bot(self._list_bots(), caller, request.bot)
            if bot is None:
                raise build_invalid_argument(check_bot(bot, request.bot, "bot"))
            delivery_id = compute_delivery_id(
                bot.bot_id, caller.name, request.idempotency_key
            )
        record = await self._get_record(caller, delivery_id)
        return GetResponse(status=build_status(record, self._handles))

    async def cancel(self, caller: Caller, request: CancelRequest) -> CancelResponse:
        """Cancel a delivery of the same caller of which nothing was sent yet.

        Raises:
            RpcFailure: there is no such delivery, or it has begun or ended.
        """
        if not request.delivery_id:
            raise build_invalid_argument([Violation("delivery_id", "is empty")])
        await self._get_record(caller, request.delivery_id)
        record = await self._records.cancel_delivery(request.delivery_id)
        if record is None:
            raise _build_not_found()
        if record.state is not DeliveryState.CANCELLED:
            raise RpcFailure(
                grpc.StatusCode.FAILED_PRECONDITION,
                f"the delivery is {record.state.value}",
            )
        return CancelResponse(status=build_status(record, self._handles))

    async def drain(self) -> None:
        """Wait until all deliveries that are being stored are stored.

        This includes deliveries whose rpc was cancelled meanwhile.
        """
        if self._puts:
            await asyncio.wait(self._puts)

    async def _accept(
        self,
        kind: DeliveryKind,
        caller: Caller,
        request: AnyRequest,
        bot_name: str,
        preparing: Awaitable[Delivery],
    ) -> tuple[str, bool]:
        """Store the delivery of a request.

        Returns:
            The id of the delivery, and whether it was stored before.
        """
        try:
            delivery = await preparing
            return delivery.delivery_id, await self._put(delivery)
        except RpcFailure:
            delivery_id = await self._repeats.find(kind, caller.name, bot_name, request)
            if delivery_id is None:
                raise
            return delivery_id, True

    async def _prepare_send(self, caller: Caller, request: SendRequest) -> Delivery:
        now = self._now()
        bot = self._find_bot(caller, request.recipient.bot)
        violations = [
            *check_bot(bot, request.recipient.bot, "recipient.bot"),
            *check_recipient(request.recipient),
            *check_messages(list(request.messages)),
            *check_common(request, now),
        ]
        if bot is None or violations:
            raise build_invalid_argument(violations)
        self._take_quota(caller)
        chat_id = await self._find_chat(bot, request.recipient)
        return build_delivery(
            DeliveryKind.SEND, request, caller.name, bot.bot_id, chat_id, now
        )

    async def _prepare_amendment(
        self, caller: Caller, request: AmendRequest, handle: MessageHandle | None
    ) -> Delivery:
        now = self._now()
        violations = [*check_amendment(request), *check_common(request, now)]
        if handle is None:
            violations.insert(0, Violation("handle", "is not a handle of this gateway"))
            raise build_invalid_argument(violations)
        bot = self._find_bot(caller, str(handle.bot_id))
        if bot is None:
            raise build_invalid_argument(
                [Violation("handle", "is of a bot that this gateway does not have")]
            )
        if violations:
            raise build_invalid_argument(violations)
        self._take_quota(caller)
        return build_delivery(
            DeliveryKind.AMEND, request, caller.name, bot.bot_id, handle.chat_id, now
        )

    async def _prepare_call(self, caller: Caller, request: CallRequest) -> Delivery:
        now = self._now()
        bot = self._find_bot(caller, request.recipient.bot)
        violations = [
            *check_bot(bot, request.recipient.bot, "recipient.bot"),
            *check_recipient(request.recipient),
            *check_call(request),
            *check_common(request, now),
        ]
        if bot is None or violations:
            raise build_invalid_argument(violations)
        if request.method not in self._call_methods:
            raise RpcFailure(
                grpc.StatusCode.PERMISSION_DENIED,
                "the method is not in DELIVERY_CALL_METHODS",
            )
        self._take_quota(caller)
        chat_id = await self._find_chat(bot, request.recipient)
        return build_delivery(
            DeliveryKind.CALL, request, caller.name, bot.bot_id, chat_id, now
        )

    def _find_bot(self, caller: Caller, name: str) -> DeliveryBot | None:
        """Find the bot of a request. See `find_bot`."""
        bot = find_bot(self._list_bots(), caller, name)
        if bot is not None:
            self._repeats.remember_bot(caller.name, name, bot.bot_id)
        return bot

    def _take_quota(self, caller: Caller) -> None:
        if caller.quota is None:
            return
        seconds = self._quotas.take(caller.name, caller.quota)
        if seconds:
            raise build_resource_exhausted("the caller's quota is used up", seconds)

    async def _find_chat(self, bot: DeliveryBot, recipient: Recipient) -> int:
        """Return the chat of a valid recipient: a private chat has the user's id."""
        match recipient.WhichOneof("target"):
            case "telegram_user_id":
                return recipient.telegram_user_id
            case "chat_id":
                return recipient.chat_id
        user_id = await self._find_recipient(bot.bot_id, recipient.internal_user_id)
        if user_id is None:
            raise RpcFailure(
                grpc.StatusCode.NOT_FOUND,
                "no user with this internal id has written to the bot",
            )
        return user_id

    async def _put(self, delivery: Delivery) -> bool:
        """Store a delivery, and return whether it was stored before."""
        put = asyncio.ensure_future(self._enqueue(delivery))
        self._puts.add(put)
        put.add_done_callback(self._puts.discard)
        try:
            result = await asyncio.shield(put)
        except IdempotencyKeyReused:
            raise RpcFailure(
                grpc.StatusCode.ALREADY_EXISTS,
                "the idempotency key was used with another request",
            ) from None
        if result is DeliveryPutResult.FULL:
            raise build_resource_exhausted(
                "the recipient's mailbox is full", FULL_MAILBOX_RETRY_SECONDS
            )
        return result is DeliveryPutResult.REPEATED

    async def _get_record(self, caller: Caller, delivery_id: str) -> DeliveryRecord:
        record = await self._records.get_delivery(delivery_id)
        if record is None or record.caller != caller.name:
            raise _build_not_found()
        return record


def _build_not_found() -> RpcFailure:
    return RpcFailure(grpc.StatusCode.NOT_FOUND, "there is no such delivery")
