"""The limits for the calls of one service: their duration, and how many run at once.

Concurrency: a call beyond the limit waits in the task of its update, in the order of
arrival, until another call ends. However a call ends, the next one may start.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

from botgateway.chat.v1.reply_pb2 import Reply
from msgspec import Struct

from gateway.domain.errors import ServiceUnavailable
from gateway.services.rpc_call import RpcCall


class CallLimits(Struct, frozen=True):
    """The limits for the calls of a service, as its settings say.

    Attributes:
        timeout: the seconds that a call may take, including the wait for other calls
            and the second attempt.
        stream_timeout: the same for a call with a streamed response, until its end.
        max_concurrent_calls: how many calls this process makes at once; None for any
            number.
    """

    timeout: float
    stream_timeout: float
    max_concurrent_calls: int | None = None


class LimitedCall(Struct, eq=False):
    """A call of a service that allows only some calls at once. See `BoundCall`.

    The call starts when fewer than the allowed number run, in the order of arrival.

    Attributes:
        rpc_call: the call to make then.
        places: a semaphore that all calls of the service share. Its initial value is
            the number of calls that may run at once.
    """

    rpc_call: RpcCall
    places: asyncio.Semaphore

    @property
    def route_name(self) -> str:
        """The name of the route that the call is for, as in logs and metrics."""
        return self.rpc_call.route_name

    @property
    def is_streaming(self) -> bool:
        """Whether the rpc streams its response: use `stream`, otherwise `call`."""
        return self.rpc_call.is_streaming

    @property
    def shows_typing(self) -> bool:
        """Whether the user may be shown that the bot is typing while the call runs."""
        return self.rpc_call.shows_typing

    async def call(self, internal_user_id: str | None) -> Any:  # noqa: ANN401 - as of `RpcCall.call`
        """Wait until another call may start, and call the rpc. Return its result.

        The wait is part of the timeout of the call.

        Args:
            internal_user_id: the internal id of the user; None if it is unknown.

        Raises:
            ServiceUnavailable: other calls used up the limit for the whole timeout. The
                service was not called.
            ServiceError: the call failed.
        """
        async with self._take_place():
            return await self.rpc_call.call(internal_user_id)

    async def stream(
        self, internal_user_id: str | None, write: Callable[[str], None]
    ) -> Reply | None:
        """Wait until another call may start, call the rpc and read its responses.

        See `BoundCall.stream` for the arguments and the result, and `call` for the
        errors.
        """
        async with self._take_place():
            return await self.rpc_call.stream(internal_user_id, write)

    @contextlib.asynccontextmanager
    async def _take_place(self) -> AsyncIterator[None]:
        """Hold a place inside the block.

        Raises:
            ServiceUnavailable: there was no place in the time of the call.
        """
        clock = asyncio.get_running_loop().time
        began = clock()
        try:
            async with asyncio.timeout(self.rpc_call.rpc.timeout):
                await self.places.acquire()
        except TimeoutError:
            raise ServiceUnavailable(f"{self.route_name}: too many calls") from None
        try:
            # The deadline of a call includes the wait for it.
            self.rpc_call.waited_seconds = clock() - began
            yield
        finally:
            self.places.release()
