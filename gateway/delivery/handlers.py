"""Turns the rpcs into gRPC handlers: identity, size, decoding, failures, metrics.

A caller is identified before its request is received.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, NoReturn, TypeVar

import grpc
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
from gateway.delivery.failures import RpcFailure
from gateway.delivery.request_receiver import RequestReceiver
from gateway.delivery.rpcs import DeliveryRpcs
from gateway.domain.errors import ServiceError, StoreError, StoreUnavailable
from gateway.domain.upload_size import (
    MAX_BYTES_WITHOUT_FILES,
    UPLOAD_PATH,
    count_file_bytes,
)
from gateway.observability.logging import summarize_error

logger = logging.getLogger(__name__)

SERVICE_NAME = "botgateway.delivery.v1.DeliveryService"

ObserveRpc = Callable[[str, str, float], None]
"""Records an rpc: its method, its status, and its duration in seconds."""

RequestT = TypeVar("RequestT", bound=Message)

_SEND_UPLOAD_PATH = (
    SendRequest.DESCRIPTOR.fields_by_name["messages"].number,
    *UPLOAD_PATH,
)


class DeliveryHandlers:
    """The handlers of the rpcs.

    Args:
        rpcs: the rpcs.
        access: finds out who calls.
        observe: records each rpc.
    """

    def __init__(self, rpcs: DeliveryRpcs, access: Access, observe: ObserveRpc) -> None:
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
        self.generic_handler = grpc.method_handlers_generic_handler(
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
        )
        """The handler for a server."""

    async def drain(self) -> None:
        """Wait until all received requests are handled and all deliveries stored."""
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
            start = time.monotonic()
            status = "CANCELLED"  # unless it ends in another way
            try:
                caller = _authenticate(self._access, method, context)
                async with self._receiver.reserve(caller.name) as slot:
                    content = await slot.receive(context)
                    with self._count_running():
                        request = _decode(content, request_type, upload_path)
                        del content  # it may be large
                        response = (await run(caller, request)).SerializeToString()
                status = "OK"
            except Exception as error:  # noqa: BLE001 - the caller gets a status
                failure = _convert_error(error, method)
                status = failure.code.name
                await _abort(context, failure)
            else:
                return response
            finally:
                self._observe(method, status, time.monotonic() - start)

        return handle


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
