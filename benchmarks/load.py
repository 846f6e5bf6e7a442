"""Load: HTTP requests over keep-alive connections, with little work per request.

Concurrency: one task per connection while a load runs. They share one count of what is
left, so whichever connection is free takes the next request.
"""

import asyncio
import re
import time
from array import array
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, NamedTuple, cast

import msgspec

HOST = "127.0.0.1"

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


class Response(NamedTuple):
    """What a server answered."""

    status: int
    body: bytes


class Connection(asyncio.Protocol):
    """A keep-alive connection that carries one request at a time.

    It reads answers that have a Content-Length, which is all that it needs to.
    """

    _transport: asyncio.Transport
    _response: asyncio.Future[Response] | None = None

    def __init__(self) -> None:
        self._received = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection into use."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Hand the answer on when all of it is there."""
        self._received += data
        response = _read(self._received)
        if response is not None:
            self._received.clear()
            if self._response is not None and not self._response.done():
                self._response.set_result(response)

    def connection_lost(self, exc: Exception | None) -> None:
        """End the request that is under way."""
        if self._response is not None and not self._response.done():
            self._response.set_exception(ConnectionError("closed by the server"))

    async def request(self, request: bytes) -> Response:
        """Send a request and give its answer.

        Raises:
            ConnectionError: the server closed the connection.
        """
        if self._transport.is_closing():
            raise ConnectionError("closed by the server")
        self._response = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await self._response

    def close(self) -> None:
        """Close the connection."""
        self._transport.close()


def _read(received: bytearray) -> Response | None:
    end = received.find(b"\r\n\r\n") + 4
    if end < 4:
        return None
    length = _LENGTH.search(received, 0, end)
    if length is None:
        raise ValueError("an answer without a Content-Length")
    if len(received) < end + int(length[1]):
        return None
    return Response(int(received[9:12]), bytes(received[end:]))


@asynccontextmanager
async def connected(port: int, count: int = 1) -> AsyncIterator[list[Connection]]:
    """Give connections to a port of loopback."""
    loop = asyncio.get_running_loop()
    async with AsyncExitStack() as stack:
        connections = []
        for _ in range(count):
            _, connection = await loop.create_connection(Connection, HOST, port)
            stack.callback(connection.close)
            connections.append(connection)
        yield connections


async def get(connection: Connection, path: str) -> Response:
    """Get a page."""
    return await connection.request(
        f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode()
    )


async def get_json(connection: Connection, path: str) -> Any:  # noqa: ANN401 - each page has a shape of its own
    """Get a page and read it as JSON."""
    return msgspec.json.decode((await get(connection, path)).body)


class Mark(NamedTuple):
    """The text of a message: the gateway carries it there and back unread.

    The clock is `time.monotonic`, which all processes of a machine share.
    """

    group: str
    """Messages of a group are measured together; a word."""
    sent: float
    """When the message was posted, or should have been."""
    hang: float = 0
    """For how many seconds the service that gets it hangs."""

    @classmethod
    def read(cls, text: str) -> "Mark":
        """Read a mark again.

        Raises:
            ValueError: the text is not a mark, but something the gateway says.
        """
        group, sent, hang = text.split()
        return cls(group, float(sent), float(hang))

    def __str__(self) -> str:
        return f"{self.group} {self.sent} {self.hang}"


class Messages:
    """Makes webhook requests, each with a text message of a user.

    Args:
        path: of the webhook.
        secret: what Telegram shows to prove that it is Telegram.
    """

    def __init__(self, path: str, secret: str) -> None:
        self._head = (
            f"POST {path} HTTP/1.1\r\nHost: {HOST}\r\n"
            f"X-Telegram-Bot-Api-Secret-Token: {secret}\r\n"
            "Content-Type: application/json\r\nContent-Length: "
        )
        self.newest = 500_000_000  # as long as Telegram's are

    def message(self, user: int, mark: Mark | str) -> bytes:
        """Make the next update: a user says this in the private chat."""
        names = '"first_name":"Ann","username":"ann","language_code":"en"'
        return self.update(
            f'"message":{{"message_id":1,'
            f'"from":{{"id":{user},"is_bot":false,{names}}},'
            f'"chat":{{"id":{user},{names},"type":"private"}},'
            f'"date":{int(time.time())},"text":"{mark}"}}'
        )

    def stop(self, user: int, draft_id: int) -> bytes:
        """Make the next update: a user stops an answer in the private chat."""
        return self.update(
            f'"stopped_message_generation":{{"draft_id":{draft_id},'
            f'"chat":{{"id":{user},"type":"private"}}}}'
        )

    def update(self, content: str) -> bytes:
        """Make the next update of any content."""
        self.newest += 1
        body = f'{{"update_id":{self.newest},{content}}}'
        return f"{self._head}{len(body)}\r\n\r\n{body}".encode()


async def post(
    connections: list[Connection],
    count: int,
    make: Callable[[int, float], bytes],
    *,
    rate: float | None = None,
    window: asyncio.Semaphore | None = None,
) -> "array[float]":
    """Make so many requests; every answer has to be 200.

    Args:
        connections: how many there are bounds the requests under way.
        count: how many requests.
        make: gives the request of an index and of the time it counts as sent.
        rate: requests per second, whether answers come or not (an open loop): each
            counts from when it was due, so that waiting for a connection is no secret.
            None: as fast as the answers come (a closed loop).
        window: taken before each request; whoever releases it when a request has had
            its effect bounds the requests that have not.

    Returns:
        The seconds that each took to be answered, in no order.
    """
    start = time.monotonic()
    left = iter(range(count))
    seconds = array("d")

    async def work(connection: Connection) -> None:
        for index in left:
            if window is not None:
                await window.acquire()
            now = time.monotonic()
            sent = now if rate is None else start + index / rate
            if sent > now:
                await asyncio.sleep(sent - now)
            response = await connection.request(make(index, sent))
            if response.status != 200:
                raise ConnectionError(f"answered with {response.status}")
            seconds.append(time.monotonic() - sent)

    async with asyncio.TaskGroup() as group:
        for connection in connections:
            group.create_task(work(connection))
    return seconds
