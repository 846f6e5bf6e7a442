"""Acting once: a request that comes again gets the answer it got before.

The gateway repeats a call after UNAVAILABLE and after a crash, always with the same
`request_id`. A real service keeps that id where it keeps what the request changes, best
in the same transaction; for an example memory is enough.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import grpc
from grpc import HandlerCallDetails, unary_unary_rpc_method_handler
from grpc.aio import ServerInterceptor

_Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"

MAX_REMEMBERED = 10_000
"""Answers that are kept; the oldest go first."""


class IdempotencyInterceptor(ServerInterceptor):
    """Stands before every unary rpc and lets each request through once.

    A repetition that comes while the first attempt still runs waits for that one's
    answer. An attempt that failed is forgotten: the next one may do better.
    """

    def __init__(self) -> None:
        self._answers: OrderedDict[tuple[str, str], asyncio.Task[Any]] = OrderedDict()

    async def intercept_service(
        self,
        continuation: "Callable[[HandlerCallDetails], Awaitable[_Handler | None]]",
        handler_call_details: HandlerCallDetails,
    ) -> "_Handler | None":
        """Put the memory before an rpc."""
        handler = await continuation(handler_call_details)
        if handler is None or handler.unary_unary is None:
            return handler
        rpc = handler_call_details.method
        act: Callable[[Any, Any], Any] = handler.unary_unary

        async def answer(request: Any, context: Any) -> Any:  # noqa: ANN401 - any rpc's
            # Different rpcs may be called with the same id.
            key = (rpc, request.context.request_id)
            if key not in self._answers:
                self._remember(key, asyncio.create_task(act(request, context)))
            # The first attempt goes on when its caller has given up on it.
            return await asyncio.shield(self._answers[key])

        return unary_unary_rpc_method_handler(
            answer, handler.request_deserializer, handler.response_serializer
        )

    def _remember(self, key: tuple[str, str], attempt: asyncio.Task[Any]) -> None:
        self._answers[key] = attempt
        if len(self._answers) > MAX_REMEMBERED:
            self._answers.popitem(last=False)

        def forget_failure(done: asyncio.Task[Any]) -> None:
            if done.cancelled() or done.exception():
                self._answers.pop(key, None)

        attempt.add_done_callback(forget_failure)
