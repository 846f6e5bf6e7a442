"""Idempotency: a repeated request gets the same response again.

The gateway repeats a call after UNAVAILABLE and after a crash, always with the same
`request_id`. A real service stores that id together with the changes of the request, in
the same transaction if possible; for this example memory is enough.

Concurrency: one task per request. It continues after its caller has given up, and
nobody cancels it before the process ends. If it fails, its callers get the error and
the next attempt starts another task.
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
"""Maximum number of stored responses; the oldest are dropped first."""


class IdempotencyInterceptor(ServerInterceptor):
    """Executes each request of unary rpcs only once, by its request id.

    A repeated request gets the stored response, or waits for the running first attempt.
    A failed attempt is forgotten, so that the next one is executed.
    """

    def __init__(self) -> None:
        self._answers: OrderedDict[tuple[str, str], asyncio.Task[Any]] = OrderedDict()

    async def intercept_service(
        self,
        continuation: "Callable[[HandlerCallDetails], Awaitable[_Handler | None]]",
        handler_call_details: HandlerCallDetails,
    ) -> "_Handler | None":
        """Return a handler that executes each request once; others are left unchanged.

        gRPC calls this for each call. Only the handlers of unary rpcs are replaced.
        """
        handler = await continuation(handler_call_details)
        if handler is None or handler.unary_unary is None:
            return handler
        rpc = handler_call_details.method
        act: Callable[[Any, Any], Any] = handler.unary_unary

        async def answer(request: Any, context: Any) -> Any:  # noqa: ANN401 - any rpc's
            # Different rpcs may get the same id.
            key = (rpc, request.context.request_id)
            if key not in self._answers:
                self._remember(key, asyncio.create_task(act(request, context)))
            # The first attempt continues after its caller has given up.
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
