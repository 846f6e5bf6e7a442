"""Receives requests, and limits how many large ones are in memory.

gRPC does not say how large a request is before it has been received, so each rpc needs
one of a limited number of slots to receive its request. An rpc with a large request
keeps its slot until it ends. An rpc without a slot waits: HTTP/2 then lets its client
send no more than a small window.

Concurrency: one event loop. Each rpc waits for its slots in its own task.
"""

import asyncio
from typing import Self
from weakref import WeakValueDictionary

import grpc

from gateway.delivery.authentication import Context
from gateway.delivery.failures import RpcFailure

MAX_RECEIVED = 16
"""The maximum number of requests that this process receives at the same time,
including those with large requests that are still being handled."""

MAX_RECEIVED_OF_CALLER = 8
"""The same maximum for the requests of one caller."""

LARGE_BYTES = 2**20
"""The size from which a request keeps its slot."""

RECEIVE_SECONDS = 60.0
"""How long a request may take to arrive, from the time when it has a slot."""


class RequestReceiver:
    """Limits how many requests this process, and each caller, may have in progress.

    See the module's docstring: `reserve` returns a slot, which receives a request.
    """

    def __init__(self) -> None:
        self._slots = asyncio.Semaphore(MAX_RECEIVED)
        self._slots_of_callers: WeakValueDictionary[str, asyncio.Semaphore] = (
            WeakValueDictionary()
        )

    def reserve(self, caller: str) -> "ReceiveSlot":
        """Return a slot for a request of a caller; entering it waits until it is free.

        Args:
            caller: the name of the caller.
        """
        of_caller = self._slots_of_callers.get(caller)
        if of_caller is None:
            of_caller = asyncio.Semaphore(MAX_RECEIVED_OF_CALLER)
            self._slots_of_callers[caller] = of_caller
        return ReceiveSlot(of_caller, self._slots)


class ReceiveSlot:
    """The permission to receive one request inside an `async with` block.

    Args:
        of_caller: counts the free slots of the caller.
        in_all: counts the free slots of this process.
    """

    __slots__ = ("_held", "_in_all", "_of_caller")

    def __init__(self, of_caller: asyncio.Semaphore, in_all: asyncio.Semaphore) -> None:
        self._of_caller = of_caller
        self._in_all = in_all
        self._held: list[asyncio.Semaphore] = []

    async def __aenter__(self) -> Self:
        """Wait until the request may be received."""
        try:
            for slots in (self._of_caller, self._in_all):
                await slots.acquire()
                self._held.append(slots)
        except asyncio.CancelledError:
            self._release()
            raise
        return self

    async def __aexit__(self, *error: object) -> None:
        """Free the slot, unless it was freed because the request was small."""
        self._release()

    async def receive(self, context: Context) -> bytes:
        """Receive the only request of an rpc; free the slot if the request is small.

        Raises:
            RpcFailure: there is none, or it takes longer than RECEIVE_SECONDS.
        """
        content = await self.receive_next(context)
        if content is None:
            raise RpcFailure(grpc.StatusCode.INVALID_ARGUMENT, "there is no request")
        return content

    async def receive_next(self, context: Context) -> bytes | None:
        """Receive the next request of a stream; free the slot if the request is small.

        Returns:
            The bytes of the request, or None at the end of the stream.

        Raises:
            RpcFailure: the request takes longer than RECEIVE_SECONDS.
        """
        try:
            async with asyncio.timeout(RECEIVE_SECONDS):
                content = await context.read()
        except TimeoutError:
            raise RpcFailure(
                grpc.StatusCode.DEADLINE_EXCEEDED, "the request came too slowly"
            ) from None
        if not isinstance(content, bytes):
            return None
        if len(content) < LARGE_BYTES:
            self._release()
        return content

    def _release(self) -> None:
        while self._held:
            self._held.pop().release()
