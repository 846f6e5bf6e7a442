"""The Bot API over HTTP.

Concurrency: any number of calls may be under way at once; each lives in the task that
made it, and so do its retries. Nothing here orders calls: who needs an order waits for
the answer before the next call. Calls to a chat that is held back by a 429 wait, all
others go on.

The token is part of every address, and errors of libraries may quote addresses: they
end here. None is logged, and none is the cause or the context of an error of ours,
which is therefore only raised where no other is being handled.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Self

import msgspec

from gateway.domain.bot_api_call import Upload
from gateway.domain.errors import BotApiUnavailable, InvalidBotToken
from gateway.domain.messenger import RetryPause, await_pause
from gateway.telegram.bot_api.connection import NoAnswer
from gateway.telegram.bot_api.connection_pool import NotSent, Pool
from gateway.telegram.bot_api.cooldowns import Holds
from gateway.telegram.bot_api.health import BotApiHealth
from gateway.telegram.bot_api.multipart import Uploads
from gateway.telegram.bot_api.responses import Answer, held_back, read_answer, refusal
from gateway.telegram.bot_api.retries import Backoff, RetryTurns

# One bot may have 1000 requests open: telegram-bot-api, Client::send.
_CONNECTIONS = 1000
_KEEPALIVE_SECONDS = 30.0
_CONNECT_SECONDS = 5.0
_PATIENCE = 2.0
"""Seconds for which a call is retried that is no reply, such as getFile."""

_MOST_WAITING_BYTES = 256 * 2**20
"""Of uploads that wait for a retry. More would fill the memory while the Bot API fails:
what comes beyond is not retried."""

_NO_MESSAGES = frozenset({"sendMessageDraft", "sendChatAction"})
"""They have limits of their own (TDLib: DialogActionManager)."""

_MOVED_LIMIT = 1000

_encoder = msgspec.json.Encoder()

Body = bytes | tuple[dict[str, Any], Mapping[str, Upload]]
"""JSON, or parameters with the files that go along."""


class BotApi:
    """One bot's client. Calls are made inside `async with`.

    Args:
        token: the bot's token.
        url: the address of the Bot API server, without a slash at its end.
        seconds: how long one attempt may take. Telegram itself sleeps out waits of up
            to 8 s, and giving up on a message that is on its way helps nobody.
        connections: how many may be open.
        uptime: seconds on a clock that is never set back.
        sleep: waits for some seconds.
        observe_request: is told of every request: the method, the status of the answer
            (0: none came), the seconds that it took, and Telegram's description of the
            error. The description may quote the user, so only the sandbox observes.
    """

    _pool: Pool

    def __init__(
        self,
        token: str,
        url: str = "https://api.telegram.org",
        *,
        seconds: float = 30.0,
        connections: int = _CONNECTIONS,
        uptime: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        observe_request: Callable[[str, int, float, str], None] | None = None,
    ) -> None:
        self._address = f"{url}/bot{token}/"
        self._seconds = seconds
        self._connections = connections
        self._uploads = Uploads(self._address, silence=seconds)
        self._uptime = uptime
        self._holds = Holds(uptime)
        self._turns = RetryTurns(sleep)
        self._waiting_bytes = 0
        self._health = BotApiHealth(uptime)
        self._moved: dict[int, int] = {}
        self._authorized = True
        self._observe_request = observe_request

    @property
    def authorized(self) -> bool:
        """False: Telegram does not know the token, as far as the last answer says."""
        return self._authorized

    @property
    def failing(self) -> bool:
        """True: all requests of the last seconds failed."""
        return self._health.failing

    async def __aenter__(self) -> Self:
        self._pool = Pool(
            self._address,
            limit=self._connections,
            seconds=self._seconds,
            connect_seconds=_CONNECT_SECONDS,
            idle_seconds=_KEEPALIVE_SECONDS,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._pool.close()
        await self._uploads.close()

    async def call(
        self,
        method: str,
        parameters: dict[str, Any],
        files: Mapping[str, Upload] | None = None,
        *,
        patience: float = _PATIENCE,
        wait: RetryPause = await_pause,
    ) -> Any:  # noqa: ANN401 - each method has a result of its own
        """Call a method and give its result.

        It is retried after a 429, and after a failure if it certainly did not arrive or
        may be carried out twice. An edit that changes nothing succeeds. A group that
        became a supergroup is followed under its new id.

        Args:
            method: Telegram's name of it.
            parameters: of the call.
            files: that go along; see `Call.files`.
            patience: for how many seconds it is retried, from the first failure on.
            wait: awaits the pauses before the retries.

        Raises:
            Blocked: this user cannot be reached.
            Rejected: this call never works.
            BotApiUnavailable: it may work later.
            Unauthorized: the token is wrong.
        """
        backoff: Backoff | None = None
        while True:
            answer = await self._send(method, parameters, files)
            if answer.ok or answer.not_modified:
                self._authorized = True
                return answer.result
            error = refusal(method, answer)
            if not isinstance(error, BotApiUnavailable):
                self._authorized = not isinstance(error, InvalidBotToken)
                raise error
            if backoff is None:
                backoff = Backoff(self._uptime() + patience)
            if error.maybe_applied or not await self._pause(
                backoff, error.retry_after, files, wait
            ):
                raise error

    async def _pause(
        self,
        backoff: Backoff,
        retry_after: float,
        files: Mapping[str, Upload] | None,
        wait: RetryPause,
    ) -> bool:
        """Wait until a call is to be made again. False: it is not."""
        now = self._uptime()
        seconds = backoff.next(now, retry_after)
        if seconds is None:
            return False
        size = sum(len(file.content) for file in files.values()) if files else 0
        if self._waiting_bytes + size > _MOST_WAITING_BYTES:
            return False
        self._waiting_bytes += size
        try:
            await wait(self._turns.wait(seconds, backoff.deadline - now))
        finally:
            self._waiting_bytes -= size
        return True

    async def attempt(self, method: str, parameters: dict[str, Any]) -> Any:  # noqa: ANN401 - as above
        """Make a call that nobody needs: once.

        A 429 holds the chat back if the call counts as a message, else nothing.

        Raises:
            BotApiError: as in `call`.
        """
        followed = self._follow(parameters)
        chat_id = 0 if method in _NO_MESSAGES else followed.get("chat_id", 0)
        answer = await self._request(method, chat_id, _encoder.encode(followed))
        if answer.ok or answer.not_modified:
            return answer.result
        raise refusal(method, answer)

    def _follow(self, parameters: dict[str, Any]) -> dict[str, Any]:
        """Put in the new id of a chat that moved."""
        new_id = self._moved.get(parameters.get("chat_id", 0))
        return {**parameters, "chat_id": new_id} if new_id else parameters

    async def _send(
        self,
        method: str,
        parameters: dict[str, Any],
        files: Mapping[str, Upload] | None,
    ) -> Answer:
        """Make a request, and a second one if the chat has a new id."""
        followed = self._follow(parameters)
        chat_id = followed.get("chat_id", 0)
        if left := self._holds.seconds_left(chat_id):
            return held_back(left)
        answer = await self._request(method, chat_id, _body(followed, files))
        new_id = answer.parameters.migrate_to_chat_id
        if not new_id or not chat_id:
            return answer
        self._moved[parameters["chat_id"]] = new_id
        if len(self._moved) > _MOVED_LIMIT:
            del self._moved[next(iter(self._moved))]
        followed = self._follow(parameters)
        return await self._request(method, new_id, _body(followed, files))

    async def _request(self, method: str, chat_id: int, body: Body) -> Answer:
        start = time.perf_counter()
        try:
            if isinstance(body, bytes):
                answer = read_answer(*await self._pool.post(method, body))
            else:
                answer = await self._uploads.post(method, *body)
        except NotSent:
            answer = Answer()
        except NoAnswer:
            # The request may have been read before the connection broke.
            answer = Answer(doubtful=True)
        if self._observe_request is not None:
            status = 200 if answer.ok else answer.error_code
            seconds = time.perf_counter() - start
            self._observe_request(method, status, seconds, answer.description)
        works = answer.ok or not answer.transient
        self._health.note(works=works)
        if answer.error_code == 429:
            if chat_id:
                self._holds.hold(chat_id, answer.parameters.retry_after)
        elif works:
            self._turns.give()
        return answer


def _body(parameters: dict[str, Any], files: Mapping[str, Upload] | None) -> Body:
    return (parameters, files) if files else _encoder.encode(parameters)
