"""The rpcs of the Broadcast service, without gRPC: `handlers.py` calls them.

Every rpc raises RpcFailure with the status for the caller, and StoreUnavailable if the
store does not answer. A broadcast is found by the service that created it only.
"""

from collections.abc import AsyncIterator, Callable, Collection, Sequence

import grpc
from botgateway.delivery.v1.broadcast_pb2 import BroadcastStatus
from botgateway.delivery.v1.broadcast_service_pb2 import (
    AddRecipientsRequest,
    AddRecipientsResponse,
    CancelBroadcastRequest,
    CancelBroadcastResponse,
    CreateBroadcastRequest,
    CreateBroadcastResponse,
    GetBroadcastRequest,
    GetBroadcastResponse,
    ListBroadcastFailuresRequest,
    ListBroadcastFailuresResponse,
    PauseBroadcastRequest,
    PauseBroadcastResponse,
    ResumeBroadcastRequest,
    ResumeBroadcastResponse,
    StartBroadcastRequest,
    StartBroadcastResponse,
)
from botgateway.delivery.v1.delivery_pb2 import DOUBT_POLICY_REPEAT
from botgateway.delivery.v1.delivery_service_pb2 import SendRequest

from gateway.config.delivery_callers import Caller
from gateway.delivery.bots import DeliveryBot, check_bot, find_bot
from gateway.delivery.broadcasts.checks import (
    TIME_OVER,
    check_broadcast,
    check_recipients,
)
from gateway.delivery.broadcasts.statuses import build_failure, build_status
from gateway.delivery.failures import (
    RpcFailure,
    Violation,
    build_invalid_argument,
    build_resource_exhausted,
)
from gateway.delivery.quotas import CallerQuotas
from gateway.delivery.request_checks import read_time
from gateway.domain.broadcast import (
    MAX_RECIPIENTS,
    Broadcast,
    BroadcastRecord,
    BroadcastState,
    compute_broadcast_fingerprint,
    compute_broadcast_id,
)
from gateway.domain.broadcast_store import BroadcastStore
from gateway.domain.delivery import DeliveryState
from gateway.domain.errors import IdempotencyKeyReused

DEFAULT_LIFE_SECONDS = 7 * 86400.0
"""How many seconds after its creation a broadcast expires, unless the request says."""

DEFAULT_FAILURES = 1000
MAX_FAILURES = 20_000
"""How many failures ListBroadcastFailures returns by default, and at most."""


class BroadcastRpcs:
    """Carries out the rpcs of the Broadcast service for callers that were identified.

    Args:
        store: stores the broadcasts and their recipients.
        list_bots: returns the bots of this gateway, which may change.
        quotas: limits how many broadcasts a caller may create.
        now: returns the seconds since the epoch.
    """

    def __init__(
        self,
        store: BroadcastStore,
        *,
        list_bots: Callable[[], Sequence[DeliveryBot]],
        quotas: CallerQuotas,
        now: Callable[[], float],
    ) -> None:
        self._store = store
        self._list_bots = list_bots
        self._quotas = quotas
        self._now = now

    async def create(
        self, caller: Caller, request: CreateBroadcastRequest
    ) -> CreateBroadcastResponse:
        """Store a broadcast as a draft without recipients, unless it was stored before.

        Raises:
            RpcFailure: the request is invalid, the caller may not use the bot or has
                used up its quota, or the idempotency key was used with another request.
        """
        now = self._now()
        bot = find_bot(self._list_bots(), caller, request.bot)
        violations = [
            *check_bot(bot, request.bot, "bot"),
            *check_broadcast(request, now),
        ]
        if bot is None:
            raise build_invalid_argument(violations)
        broadcast = _build_broadcast(request, caller.name, bot.bot_id, now)
        if violations == [TIME_OVER] and await self._store.get_broadcast(
            broadcast.broadcast_id
        ):
            violations = []  # it was valid when it was created
        if violations:
            raise build_invalid_argument(violations)
        if caller.quota is not None and (
            seconds := self._quotas.take(caller.name, caller.quota)
        ):
            raise build_resource_exhausted("the caller's quota is used up", seconds)
        try:
            is_new = await self._store.create_broadcast(broadcast)
        except IdempotencyKeyReused:
            raise RpcFailure(
                grpc.StatusCode.ALREADY_EXISTS,
                "the idempotency key was used with another request",
            ) from None
        return CreateBroadcastResponse(
            broadcast_id=broadcast.broadcast_id, is_repeated=not is_new
        )

    async def add_recipients(
        self, caller: Caller, requests: AsyncIterator[AddRecipientsRequest]
    ) -> AddRecipientsResponse:
        """Add recipients, who come in a stream, to a broadcast that was not started.

        The recipients of each request of the stream are stored when it arrives. After a
        failure those of the earlier requests stay stored. They may be sent again:
        nobody is added twice.

        Raises:
            RpcFailure: a request is invalid, there is no such broadcast, it was started
                or cancelled, or it would have too many recipients.
        """
        broadcast_id = ""
        added = 0
        async for request in requests:
            if request.broadcast_id not in {"", broadcast_id or request.broadcast_id}:
                raise build_invalid_argument(
                    [Violation("broadcast_id", "is another one than before")]
                )
            broadcast_id = broadcast_id or request.broadcast_id
            added += await self._add_some(caller, broadcast_id, request)
        if not broadcast_id:
            raise build_invalid_argument([Violation("broadcast_id", "is empty")])
        broadcast = (await self._get_record(caller, broadcast_id)).broadcast
        counts = await self._store.count_recipients(broadcast)
        return AddRecipientsResponse(added=added, total=counts.total)

    async def start(
        self, caller: Caller, request: StartBroadcastRequest
    ) -> StartBroadcastResponse:
        """Start to send a broadcast; no change if it is running.

        Raises:
            RpcFailure: there is no such broadcast, or it is neither a draft nor
                running.
        """
        status = await self._change(
            caller,
            request.broadcast_id,
            BroadcastState.RUNNING,
            {BroadcastState.DRAFT, BroadcastState.RUNNING},
        )
        return StartBroadcastResponse(status=status)

    async def pause(
        self, caller: Caller, request: PauseBroadcastRequest
    ) -> PauseBroadcastResponse:
        """Pause a running broadcast: recipients who wait get nothing until `resume`.

        No change if it is paused.

        Raises:
            RpcFailure: there is no such broadcast, or it is neither running nor paused.
        """
        status = await self._change(
            caller,
            request.broadcast_id,
            BroadcastState.PAUSED,
            {BroadcastState.RUNNING, BroadcastState.PAUSED},
        )
        return PauseBroadcastResponse(status=status)

    async def resume(
        self, caller: Caller, request: ResumeBroadcastRequest
    ) -> ResumeBroadcastResponse:
        """Continue a paused broadcast; no change if it is running.

        Raises:
            RpcFailure: there is no such broadcast, or it is neither paused nor running.
        """
        status = await self._change(
            caller,
            request.broadcast_id,
            BroadcastState.RUNNING,
            {BroadcastState.RUNNING, BroadcastState.PAUSED},
        )
        return ResumeBroadcastResponse(status=status)

    async def cancel(
        self, caller: Caller, request: CancelBroadcastRequest
    ) -> CancelBroadcastResponse:
        """Cancel a broadcast: recipients who wait get nothing any more.

        No change if it is cancelled.

        Raises:
            RpcFailure: there is no such broadcast, or it is completed.
        """
        status = await self._change(
            caller,
            request.broadcast_id,
            BroadcastState.CANCELLED,
            {*BroadcastState} - {BroadcastState.COMPLETED},
        )
        return CancelBroadcastResponse(status=status)

    async def get(
        self, caller: Caller, request: GetBroadcastRequest
    ) -> GetBroadcastResponse:
        """Return the state of a broadcast and the counts of its recipients.

        The request has either its id, or its bot and its idempotency key.

        Raises:
            RpcFailure: the request is invalid, or there is no such broadcast.
        """
        if bool(request.broadcast_id) == bool(request.idempotency_key):
            raise build_invalid_argument(
                [Violation("broadcast_id", "set either it or idempotency_key")]
            )
        broadcast_id = request.broadcast_id
        if not broadcast_id:
            bot = find_bot(self._list_bots(), caller, request.bot)
            if bot is None:
                raise build_invalid_argument(check_bot(bot, request.bot, "bot"))
            broadcast_id = compute_broadcast_id(
                bot.bot_id, caller.name, request.idempotency_key
            )
        return GetBroadcastResponse(status=await self._get_status(caller, broadcast_id))

    async def list_failures(
        self, caller: Caller, request: ListBroadcastFailuresRequest
    ) -> ListBroadcastFailuresResponse:
        """Return recipients whose delivery was blocked, failed or is doubtful.

        Raises:
            RpcFailure: the limit is invalid, or there is no such broadcast.
        """
        if not 0 <= request.limit <= MAX_FAILURES:
            raise build_invalid_argument(
                [Violation("limit", f"is not between 0 and {MAX_FAILURES}")]
            )
        record = await self._get_record(caller, request.broadcast_id)
        failures = await self._store.list_failures(
            record.broadcast, request.limit or DEFAULT_FAILURES
        )
        return ListBroadcastFailuresResponse(failures=map(build_failure, failures))

    async def _add_some(
        self, caller: Caller, broadcast_id: str, request: AddRecipientsRequest
    ) -> int:
        """Add the recipients in one message; return how many are new."""
        violations = list(check_recipients(request))
        if violations:
            raise build_invalid_argument(violations)
        record = await self._get_record(caller, broadcast_id)
        if record.state is not BroadcastState.DRAFT:
            raise _build_wrong_state(record.state)
        chat_ids = {*request.telegram_user_ids, *request.chat_ids}
        counts = await self._store.count_recipients(record.broadcast)
        if counts.total + len(chat_ids) > MAX_RECIPIENTS:
            raise RpcFailure(
                grpc.StatusCode.RESOURCE_EXHAUSTED,
                f"a broadcast has at most {MAX_RECIPIENTS} recipients",
            )
        return await self._store.add_recipients(record.broadcast, chat_ids)

    async def _change(
        self,
        caller: Caller,
        broadcast_id: str,
        state: BroadcastState,
        allowed: Collection[BroadcastState],
    ) -> BroadcastStatus:
        """Change the state of a broadcast, and return its status after that."""
        record = await self._get_record(caller, broadcast_id)
        before = await self._store.change_state(broadcast_id, state, allowed)
        if before is None:
            raise _build_not_found()
        if before not in allowed:
            raise _build_wrong_state(before)
        if state is BroadcastState.CANCELLED:
            await self._store.drop_recipients(record.broadcast, DeliveryState.CANCELLED)
        return await self._get_status(caller, broadcast_id)

    async def _get_status(self, caller: Caller, broadcast_id: str) -> BroadcastStatus:
        record = await self._get_record(caller, broadcast_id)
        counts = await self._store.count_recipients(record.broadcast)
        return build_status(record, counts)

    async def _get_record(self, caller: Caller, broadcast_id: str) -> BroadcastRecord:
        if not broadcast_id:
            raise build_invalid_argument([Violation("broadcast_id", "is empty")])
        record = await self._store.get_broadcast(broadcast_id)
        if record is None or record.broadcast.caller != caller.name:
            raise _build_not_found()
        return record


def _build_broadcast(
    request: CreateBroadcastRequest, caller: str, bot_id: int, now: float
) -> Broadcast:
    """Build the broadcast of a request in which the checks found nothing wrong."""
    # The same request has the same bytes, whoever serialized it.
    content = request.SerializeToString(deterministic=True)
    send = SendRequest(messages=[request.message])
    expires_at = now + DEFAULT_LIFE_SECONDS
    if request.HasField("expire_time"):
        expires_at = read_time(request.expire_time)
    return Broadcast(
        broadcast_id=compute_broadcast_id(bot_id, caller, request.idempotency_key),
        bot_id=bot_id,
        caller=caller,
        idempotency_key=request.idempotency_key,
        fingerprint=compute_broadcast_fingerprint(content),
        request=send.SerializeToString(deterministic=True),
        created_at=now,
        expires_at=expires_at,
        repeat_if_doubtful=request.on_doubt == DOUBT_POLICY_REPEAT,
    )


def _build_not_found() -> RpcFailure:
    return RpcFailure(grpc.StatusCode.NOT_FOUND, "there is no such broadcast")


def _build_wrong_state(state: BroadcastState) -> RpcFailure:
    return RpcFailure(
        grpc.StatusCode.FAILED_PRECONDITION, f"the broadcast is {state.value}"
    )
