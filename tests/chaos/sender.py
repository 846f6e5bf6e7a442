"""A sender that behaves as Telegram does.

Each user has a queue of messages, every fifth one another of button presses. Of a queue
one update is under way at a time; the next goes out when the last was answered 2xx.
What was not is sent again, at once and then ever more slowly, to any worker.

Concurrency: one task per queue. Ids are given in the order in which users act, which is
not the order of delivery where a queue is held up.
"""

import asyncio
import contextlib
import json
import random
import time
from collections.abc import Callable, Iterator

from benchmarks.load import Connection
from tests.chaos.history import Answer, History, Posted
from tests.factories import build_user_json
from tests.support.gateway_harness import SECRET

PER_USER = 60
"""Updates of a user: a state remembers 64 ids for sure."""

TIMEOUT = 4.0
"""Seconds that the sender waits for an answer: more than any worker that runs needs."""

_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 0.5
_AVOIDED = 0.2
"""For so many seconds a worker that refused a connection is not asked again."""

_BURST = 4
"""So many updates, at most, a user makes at once."""


class Gate:
    """A worker as a load balancer knows it.

    Attributes:
        port: where it listens.
        open: it is sent updates.
        under_way: how many requests wait for it.
    """

    def __init__(self, number: int, port: int) -> None:
        self.number = number
        self.port = port
        self.open = False
        self.under_way = 0
        self._avoided_until = 0.0
        self._idle: list[Connection] = []

    @property
    def usable(self) -> bool:
        """Return whether it is worth a try."""
        return self.open and time.monotonic() >= self._avoided_until

    async def post(self, request: bytes) -> int:
        """Send a request. Returns the status of the answer; 0: there was none."""
        self.under_way += 1
        connection: Connection | None = None
        try:
            async with asyncio.timeout(TIMEOUT):
                connection = await self._connection()
                response = await connection.request(request)
        except (OSError, TimeoutError):
            self._avoided_until = time.monotonic() + _AVOIDED
            if connection is not None:
                connection.close()
            return 0
        finally:
            self.under_way -= 1
        self._idle.append(connection)
        return response.status

    def close(self) -> None:
        """Close its connections."""
        while self._idle:
            self._idle.pop().close()

    async def _connection(self) -> Connection:
        if self._idle:
            return self._idle.pop()
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(Connection, "127.0.0.1", self.port)
        return connection


class Sender:
    """Makes updates and delivers them.

    Args:
        history: notes what was sent and accepted.
        gates: the workers.
        rng: decides who says what when.
        users: how many users act at a time.
        rate: updates per second, as far as the answers allow.
        text: gives the text of the message with an id.
        per_user: how many updates each user sends before the next one comes.

    Attributes:
        held: nothing new is made: the workers have enough to do. Without this bound a
            machine that is too slow would be measured, and not the gateway.
    """

    def __init__(
        self,
        history: History,
        gates: list[Gate],
        rng: random.Random,
        *,
        users: int,
        rate: float,
        text: Callable[[int], str] = lambda _: "hi",
        per_user: int = PER_USER,
    ) -> None:
        self._history = history
        self._gates = gates
        self._rng = rng
        self._users = users
        self._pause = 1.2 * users / rate  # every fifth user has two queues
        self._text = text
        self._per_user = per_user
        self._last_id = 500_000_000
        self._last_user = 1000
        self._stopped = asyncio.Event()
        self.held = False

    async def run(self) -> None:
        """Send until `stop`, and then until all is accepted."""
        async with asyncio.TaskGroup() as group:
            for number in range(self._users):
                two = number % 5 == 0 and self._per_user > 1
                group.create_task(self._place(two=two))

    def stop(self) -> None:
        """Make no more updates."""
        self._stopped.set()

    async def _place(self, *, two: bool) -> None:
        """One user after the other."""
        while not self._stopped.is_set():
            self._last_user += 1
            user = self._last_user
            if two:
                async with asyncio.TaskGroup() as group:
                    half = self._per_user // 2
                    group.create_task(self._queue(user, "message", half))
                    group.create_task(self._queue(user, "press", half))
            else:
                await self._queue(user, "message", self._per_user)

    async def _queue(self, user: int, kind: str, left: int) -> None:
        await self._pause_for(self._rng.uniform(0, self._pause))
        while left and not self._stopped.is_set():
            while self.held and not self._stopped.is_set():
                await asyncio.sleep(0.1)
            burst = min(left, self._rng.randint(1, _BURST))
            left -= burst
            mean = (1 + _BURST) / 2 * self._pause
            for posted, request in self._act(user, kind, burst):
                await self._deliver(posted, request)
            await self._pause_for(self._rng.expovariate(1 / mean))

    async def _pause_for(self, seconds: float) -> None:
        """Wait so long, or until no more updates are wanted."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopped.wait()

    def _act(self, user: int, kind: str, count: int) -> Iterator[tuple[Posted, bytes]]:
        """Make updates: their ids are given now, they are sent one by one."""
        first = self._last_id + 1
        self._last_id += count
        for update_id in range(first, first + count):
            yield Posted(update_id, str(user), 0), self._request(user, kind, update_id)

    def _request(self, user: int, kind: str, update_id: int) -> bytes:
        person = build_user_json(user)
        message = {
            "message_id": 1,
            "date": int(time.time()),
            "chat": {"id": user, "type": "private"},
        }
        update: dict[str, object] = {"update_id": update_id}
        if kind == "message":
            update["message"] = message | {
                "from": person,
                "text": self._text(update_id),
            }
        else:
            update["callback_query"] = {
                "id": str(update_id),
                "from": person,
                "chat_instance": "1",
                "message": message | {"text": "?"},
                "data": "ACCEPT:u-1",
            }
        body = json.dumps(update)
        return (
            "POST /webhook/telegram HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            f"X-Telegram-Bot-Api-Secret-Token: {SECRET}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
            f"{body}"
        ).encode()

    async def _deliver(self, posted: Posted, request: bytes) -> None:
        """Send an update until it is accepted."""
        posted.sent = time.monotonic()
        self._history.posted[posted.update_id] = posted
        pause = 0.0
        while posted.accepted is None:
            gate = await self._choose()
            posted.attempts += 1
            began = time.monotonic()
            status = await gate.post(request)
            now = time.monotonic()
            if status:
                self._history.answers.append(Answer(now, now - began, status))
            else:
                self._history.broken += 1
            if 200 <= status < 300:
                posted.accepted, posted.worker = now, gate.number
                return
            await asyncio.sleep(pause * self._rng.uniform(0.5, 1))
            pause = min(max(2 * pause, _FIRST_PAUSE), _LONGEST_PAUSE)

    async def _choose(self) -> Gate:
        """Choose the worker with the fewest requests under way."""
        while True:
            usable = [gate for gate in self._gates if gate.usable]
            if usable:
                fewest = min(gate.under_way for gate in usable)
                return self._rng.choice([g for g in usable if g.under_way == fewest])
            await asyncio.sleep(0.05)
