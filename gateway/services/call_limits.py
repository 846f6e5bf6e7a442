"""The limits for the calls of one service: their time, and their number at once.

Concurrency: a call that has to wait for a place waits in the task of its update, in
the order of arrival. It gives its place back however it ends.
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
    """The limits for the calls of a service.

    Attributes:
        timeout: the deadline in seconds of all attempts of a call together.
        stream_timeout: the same for a streamed response.
        max_concurrent_calls: how many calls run at once; None for any number.
    """

    timeout: float
    stream_timeout: float
    max_concurrent_calls: int | None = None


class LimitedCall(Struct, eq=False):
    """A call of a service with a limit on concurrent calls. See `BoundCall`.

    It waits until fewer calls of the service run.

    Attributes:
        rpc_call: the call.
        places: a semaphore with the number of calls that may run at once.
    """

    rpc_call: RpcCall
    places: asyncio.Semaphore

    @property
    def route_name(self) -> str:
        """The name of the route."""
        return self.rpc_call.route_name

    @property
    def is_streaming(self) -> bool:
        """Whether the rpc streams its response."""
        return self.rpc_call.is_streaming

    @property
    def shows_typing(self) -> bool:
        """Whether the typing indicator may be shown."""
        return self.rpc_call.shows_typing

    async def call(self, internal_user_id: str | None) -> Any:  # noqa: ANN401 - as of `RpcCall.call`
        """Wait until the limit admits another call, and call the rpc.

        Raises:
            ServiceError: the call failed, or too many calls ran until its deadline.
        """
        async with self._take_place():
            return await self.rpc_call.call(internal_user_id)

    async def stream(
        self, internal_user_id: str | None, write: Callable[[str], None]
    ) -> Reply | None:
        """Wait for a place, call the rpc and read its responses."""
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
