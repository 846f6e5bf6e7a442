"""Makes gRPC handlers of the rpcs of the Delivery and Broadcast services.

A handler identifies the caller before it receives the request, limits the size of the
request, decodes it, turns exceptions into statuses, and records the rpc for metrics.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from typing import Any, NoReturn, TypeVar

import grpc
from botgateway.delivery.v1.broadcast_service_pb2 import (
    AddRecipientsRequest,
    CancelBroadcastRequest,
    CreateBroadcastRequest,
    GetBroadcastRequest,
    ListBroadcastFailuresRequest,
    PauseBroadcastRequest,
    ResumeBroadcastRequest,
    StartBroadcastRequest,
)
from botgateway.delivery.v1.delivery_service_pb2 import (
    AmendRequest,
    CallRequest,
    CancelRequest,
    GetRequest,
    SendRequest,
)
from google.protobuf.message import DecodeError, Message

from gateway.config.delivery_callers import Caller
from gateway.delivery.authentication import Access, Context
from gateway.delivery.broadcasts.rpcs import BroadcastRpcs
from gateway.delivery.failures import RpcFailure
from gateway.delivery.request_receiver import RequestReceiver
from gateway.delivery.rpcs import DeliveryRpcs
from gateway.domain.errors import (
    BroadcastsUnsupported,
    ServiceError,
    StoreError,
    StoreUnavailable,
)
from gateway.domain.upload_size import (
    MAX_BYTES_WITHOUT_FILES,
    UPLOAD_PATH,
    count_file_bytes,
)
from gateway.observability.logging import summarize_error

logger = logging.getLogger(__name__)

SERVICE_NAME = "botgateway.delivery.v1.DeliveryService"
BROADCAST_SERVICE_NAME = "botgateway.delivery.v1.BroadcastService"

ObserveRpc = Callable[[str, str, float], None]
"""Called with the method of an rpc that ended, the name of its status, and its duration
in seconds."""

RequestT = TypeVar("RequestT", bound=Message)

_SEND_UPLOAD_PATH = (
    SendRequest.DESCRIPTOR.fields_by_name["messages"].number,
    *UPLOAD_PATH,
)


class DeliveryHandlers:
    """The gRPC handlers of the Delivery and Broadcast services.

    Args:
        rpcs: carries out the rpcs for deliveries.
        broadcasts: carries out the rpcs for broadcasts.
        access: identifies the caller of each rpc.
        observe: called at the end of each rpc, also of a failed or cancelled one.
    """

    def __init__(
        self,
        rpcs: DeliveryRpcs,
        broadcasts: BroadcastRpcs,
        access: Access,
        observe: ObserveRpc,
    ) -> None:
        self._access = access
        self._observe = observe
        self._running = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._drain_puts = rpcs.drain
        self._receiver = RequestReceiver()
        # For gRPC the requests are streams, which the handlers read: so a caller is
        # known before its request is received. Without serializers it passes the bytes,
        # whose size is checked first.
        make = grpc.stream_unary_rpc_method_handler
        self.generic_handlers = (
            grpc.method_handlers_generic_handler(
                SERVICE_NAME,
                {
                    "Send": make(
                        self._bind("Send", SendRequest, rpcs.send, _SEND_UPLOAD_PATH)
                    ),
                    "Amend": make(self._bind("Amend", AmendRequest, rpcs.amend)),
                    "Call": make(self._bind("Call", CallRequest, rpcs.call)),
                    "Get": make(self._bind("Get", GetRequest, rpcs.get)),
                    "Cancel": make(self._bind("Cancel", CancelRequest, rpcs.cancel)),
                },
            ),
            grpc.method_handlers_generic_handler(
                BROADCAST_SERVICE_NAME, self._bind_broadcasts(broadcasts)
            ),
        )
        """The handlers to add to a gRPC server."""

    async def drain(self) -> None:
        """Wait until all received requests are handled and their deliveries are stored.

        Requests that are still being received are not waited for.
        """
        await self._idle.wait()
        await self._drain_puts()

    @contextlib.contextmanager
    def _count_running(self) -> Iterator[None]:
        """Let `drain` wait for the end of the block."""
        self._running += 1
        self._idle.clear()
        try:
            yield
        finally:
            self._running -= 1
            if not self._running:
                self._idle.set()

    def _bind(
        self,
        method: str,
        request_type: type[RequestT],
        run: Callable[[Caller, RequestT], Awaitable[Message]],
        upload_path: tuple[int, ...] = (),
    ) -> Callable[[object, Context], Awaitable[bytes]]:
        async def handle(_: object, context: Context) -> bytes:
            async def respond(caller: Caller) -> bytes:
                async with self._receiver.reserve(caller.name) as slot:
                    content = await slot.receive(context)
                    with self._count_running():
                        request = _decode(content, request_type, upload_path)
                        del content  # it may be large
                        return (await run(caller, request)).SerializeToString()

            return await self._handle(method, context, respond)

        return handle

    def _bind_stream(
        self,
        method: str,
        request_type: type[RequestT],
        run: Callable[[Caller, AsyncIterator[RequestT]], Awaitable[Message]],
    ) -> Callable[[object, Context], Awaitable[bytes]]:
        async def handle(_: object, context: Context) -> bytes:
            async def respond(caller: Caller) -> bytes:
                requests = self._receive_all(caller, context, request_type)
                async with contextlib.aclosing(requests):
                    return (await run(caller, requests)).SerializeToString()

            return await self._handle(method, context, respond)

        return handle

    async def _receive_all(
        self, caller: Caller, context: Context, request_type: type[RequestT]
    ) -> AsyncGenerator[RequestT, None]:
        """Yield the requests of a stream; `drain` waits while one is handled."""
        while True:
            async with self._receiver.reserve(caller.name) as slot:
                content = await slot.receive_next(context)
                if content is None:
                    return
                with self._count_running():
                    yield _decode(content, request_type, ())

    def _bind_broadcasts(
        self, rpcs: BroadcastRpcs
    ) -> "dict[str, grpc.RpcMethodHandler[Any, Any]]":
        """Return the handlers of the Broadcast service by method."""
        bind = self._bind
        unary = {
            "CreateBroadcast": bind(
                "CreateBroadcast", CreateBroadcastRequest, rpcs.create
            ),
            "StartBroadcast": bind("StartBroadcast", StartBroadcastRequest, rpcs.start),
            "PauseBroadcast": bind("PauseBroadcast", PauseBroadcastRequest, rpcs.pause),
            "ResumeBroadcast": bind(
                "ResumeBroadcast", ResumeBroadcastRequest, rpcs.resume
            ),
            "CancelBroadcast": bind(
                "CancelBroadcast", CancelBroadcastRequest, rpcs.cancel
            ),
            "GetBroadcast": bind("GetBroadcast", GetBroadcastRequest, rpcs.get),
            "ListBroadcastFailures": bind(
                "ListBroadcastFailures",
                ListBroadcastFailuresRequest,
                rpcs.list_failures,
            ),
        }
        add_recipients: grpc.RpcMethodHandler[Any, Any] = (
            grpc.stream_unary_rpc_method_handler(
                self._bind_stream(
                    "AddRecipients", AddRecipientsRequest, rpcs.add_recipients
                )
            )
        )
        make = grpc.stream_unary_rpc_method_handler
        return {
            **{name: make(handle) for name, handle in unary.items()},
            "AddRecipients": add_recipients,
        }

    async def _handle(
        self,
        method: str,
        context: Context,
        respond: Callable[[Caller], Awaitable[bytes]],
    ) -> bytes:
        start = time.monotonic()
        status = "CANCELLED"  # unless it ends in another way
        try:
            response = await respond(_authenticate(self._access, method, context))
            status = "OK"
        except Exception as error:  # noqa: BLE001 - the caller gets a status
            failure = _convert_error(error, method)
            status = failure.code.name
            await _abort(context, failure)
        else:
            return response
        finally:
            self._observe(method, status, time.monotonic() - start)


def _authenticate(access: Access, method: str, context: Context) -> Caller:
    caller = access.authenticate(context)
    if method not in caller.methods:
        raise RpcFailure(
            grpc.StatusCode.PERMISSION_DENIED, "the caller may not use this method"
        )
    return caller


def _decode(
    content: bytes, request_type: type[RequestT], upload_path: tuple[int, ...]
) -> RequestT:
    if len(content) > MAX_BYTES_WITHOUT_FILES:
        bytes_without_files = len(content) - count_file_bytes(content, upload_path)
        if bytes_without_files > MAX_BYTES_WITHOUT_FILES:
            raise RpcFailure(
                grpc.StatusCode.INVALID_ARGUMENT,
                f"the request has more than {MAX_BYTES_WITHOUT_FILES} bytes without its"
                " files",
            )
    try:
        return request_type.FromString(content)
    except DecodeError:
        raise RpcFailure(
            grpc.StatusCode.INVALID_ARGUMENT, "the request cannot be decoded"
        ) from None


def _convert_error(error: Exception, method: str) -> RpcFailure:
    match error:
        case RpcFailure():
            return error
        case BroadcastsUnsupported():
            return RpcFailure(
                grpc.StatusCode.UNIMPLEMENTED,
                "the store keeps no broadcasts: set REDIS_URL",
            )
        case StoreUnavailable():
            return RpcFailure(
                grpc.StatusCode.UNAVAILABLE,
                "the store does not answer: repeat the call with the same key",
            )
        case ServiceError():
            return RpcFailure(
                grpc.StatusCode.UNAVAILABLE,
                "the service that knows the users does not answer",
            )
    logger.error(
        "delivery_rpc_failed",
        extra={"method": method, "error": summarize_error(error)},
    )
    message = "refused by the store" if isinstance(error, StoreError) else "failed"
    return RpcFailure(grpc.StatusCode.INTERNAL, message)


async def _abort(context: Context, failure: RpcFailure) -> NoReturn:
    metadata: Any = failure.build_trailing_metadata()
    await context.abort(failure.code, failure.message, metadata)
    raise AssertionError  # abort raises
