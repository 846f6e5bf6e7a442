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
from gateway.telegram.bot_api.connection import ResponseLost
from gateway.telegram.bot_api.connection_pool import ConnectionPool, RequestNotSent
from gateway.telegram.bot_api.cooldowns import ChatCooldowns
from gateway.telegram.bot_api.health import BotApiHealth
from gateway.telegram.bot_api.multipart import MultipartClient
from gateway.telegram.bot_api.responses import (
    ApiResponse,
    build_cooldown_response,
    build_error,
    parse_response,
)
from gateway.telegram.bot_api.retries import Backoff, RetryQueue

# One bot may have 1000 requests open: telegram-bot-api, Client::send.
_MAX_CONNECTIONS = 1000
_KEEPALIVE_SECONDS = 30.0
_CONNECT_SECONDS = 5.0
_PATIENCE_SECONDS = 2.0
"""Seconds for which a call is retried that is no reply, such as getFile."""

_MAX_WAITING_BYTES = 256 * 2**20
"""Of uploads that wait for a retry. More would fill the memory while the Bot API fails:
what comes beyond is not retried."""

_METHODS_WITH_OWN_LIMITS = frozenset({"sendMessageDraft", "sendChatAction"})
"""They have limits of their own (TDLib: DialogActionManager)."""

_MAX_MIGRATIONS = 1000

_encoder = msgspec.json.Encoder()

RequestBody = bytes | tuple[dict[str, Any], Mapping[str, Upload]]
"""JSON, or parameters with the files that go along."""


class BotApiClient:
    """One bot's client. Calls are made inside `async with`.

    Args:
        token: the bot's token.
        url: the address of the Bot API server, without a slash at its end.
        request_timeout: how long one attempt may take. Telegram itself sleeps out waits
            of up to 8 s, and giving up on a message that is on its way helps nobody.
        max_connections: how many may be open.
        uptime: seconds on a clock that is never set back.
        sleep: waits for some seconds.
        observe_request: is told of every request: the method, the status of the answer
            (0: none came), the seconds that it took, and Telegram's description of the
            error. The description may quote the user, so only the sandbox observes.
    """

    _pool: ConnectionPool

    def __init__(
        self,
        token: str,
        url: str = "https://api.telegram.org",
        *,
        request_timeout: float = 30.0,
        max_connections: int = _MAX_CONNECTIONS,
        uptime: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        observe_request: Callable[[str, int, float, str], None] | None = None,
    ) -> None:
        self._base_url = f"{url}/bot{token}/"
        self._request_timeout = request_timeout
        self._max_connections = max_connections
        self._multipart_client = MultipartClient(
            self._base_url, idle_timeout=request_timeout
        )
        self._uptime = uptime
        self._cooldowns = ChatCooldowns(uptime)
        self._retry_queue = RetryQueue(sleep)
        self._waiting_bytes = 0
        self._health = BotApiHealth(uptime)
        self._migrations: dict[int, int] = {}
        self._is_authorized = True
        self._observe_request = observe_request

    @property
    def is_authorized(self) -> bool:
        """False: Telegram does not know the token, as far as the last answer says."""
        return self._is_authorized

    @property
    def is_failing(self) -> bool:
        """True: all requests of the last seconds failed."""
        return self._health.is_failing

    async def __aenter__(self) -> Self:
        self._pool = ConnectionPool(
            self._base_url,
            max_requests=self._max_connections,
            request_timeout=self._request_timeout,
            connect_timeout=_CONNECT_SECONDS,
            idle_timeout=_KEEPALIVE_SECONDS,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._pool.close()
        await self._multipart_client.close()

    async def call(
        self,
        method: str,
        parameters: dict[str, Any],
        files: Mapping[str, Upload] | None = None,
        *,
        patience: float = _PATIENCE_SECONDS,
        wait: RetryPause = await_pause,
    ) -> Any:  # noqa: ANN401 - each method has a result of its own
        """Call a method and give its result.

        It is retried after a 429, and after a failure if it certainly did not arrive or
        may be carried out twice. An edit that changes nothing succeeds. A group that
        became a supergroup is followed under its new id.

        Args:
            method: Telegram's name of it.
            parameters: of the call.
            files: that go along; see `BotApiCall.files`.
            patience: for how many seconds it is retried, from the first failure on.
            wait: awaits the pauses before the retries.

        Raises:
            RecipientBlocked: this user cannot be reached.
            CallRejected: this call never works.
            BotApiUnavailable: it may work later.
            InvalidBotToken: the token is wrong.
        """
        backoff: Backoff | None = None
        while True:
            response = await self._send_with_migration(method, parameters, files)
            if response.ok or response.is_not_modified:
                self._is_authorized = True
                return response.result
            error = build_error(method, response)
            if not isinstance(error, BotApiUnavailable):
                self._is_authorized = not isinstance(error, InvalidBotToken)
                raise error
            if backoff is None:
                backoff = Backoff(self._uptime() + patience)
            if error.maybe_applied or not await self._pause_before_retry(
                backoff, error.retry_after, files, wait
            ):
                raise error

    async def _pause_before_retry(
        self,
        backoff: Backoff,
        retry_after: float,
        files: Mapping[str, Upload] | None,
        wait: RetryPause,
    ) -> bool:
        """Wait until a call is to be made again. False: it is not."""
        now = self._uptime()
        seconds = backoff.choose_pause(now, retry_after)
        if seconds is None:
            return False
        size = sum(len(file.content) for file in files.values()) if files else 0
        if self._waiting_bytes + size > _MAX_WAITING_BYTES:
            return False
        self._waiting_bytes += size
        try:
            await wait(self._retry_queue.wait_turn(seconds, backoff.deadline - now))
        finally:
            self._waiting_bytes -= size
        return True

    async def call_once(self, method: str, parameters: dict[str, Any]) -> Any:  # noqa: ANN401 - as above
        """Make a call that nobody needs: once.

        A 429 holds the chat back if the call counts as a message, else nothing.

        Raises:
            BotApiError: as in `call`.
        """
        migrated = self._apply_migration(parameters)
        chat_id = (
            0 if method in _METHODS_WITH_OWN_LIMITS else migrated.get("chat_id", 0)
        )
        response = await self._send_request(method, chat_id, _encoder.encode(migrated))
        if response.ok or response.is_not_modified:
            return response.result
        raise build_error(method, response)

    def _apply_migration(self, parameters: dict[str, Any]) -> dict[str, Any]:
        """Put in the new id of a chat that moved."""
        new_id = self._migrations.get(parameters.get("chat_id", 0))
        return {**parameters, "chat_id": new_id} if new_id else parameters

    async def _send_with_migration(
        self,
        method: str,
        parameters: dict[str, Any],
        files: Mapping[str, Upload] | None,
    ) -> ApiResponse:
        """Make a request, and a second one if the chat has a new id."""
        migrated = self._apply_migration(parameters)
        chat_id = migrated.get("chat_id", 0)
        if seconds_left := self._cooldowns.seconds_left(chat_id):
            return build_cooldown_response(seconds_left)
        response = await self._send_request(
            method, chat_id, _encode_body(migrated, files)
        )
        new_id = response.parameters.migrate_to_chat_id
        if not new_id or not chat_id:
            return response
        self._migrations[parameters["chat_id"]] = new_id
        if len(self._migrations) > _MAX_MIGRATIONS:
            del self._migrations[next(iter(self._migrations))]
        migrated = self._apply_migration(parameters)
        return await self._send_request(method, new_id, _encode_body(migrated, files))

    async def _send_request(
        self, method: str, chat_id: int, body: RequestBody
    ) -> ApiResponse:
        start = time.perf_counter()
        try:
            if isinstance(body, bytes):
                response = parse_response(*await self._pool.post(method, body))
            else:
                response = await self._multipart_client.post(method, *body)
        except RequestNotSent:
            response = ApiResponse()
        except ResponseLost:
            # The request may have been read before the connection broke.
            response = ApiResponse(maybe_applied=True)
        if self._observe_request is not None:
            status = 200 if response.ok else response.error_code
            seconds = time.perf_counter() - start
            self._observe_request(method, status, seconds, response.description)
        succeeded = response.ok or not response.is_transient
        self._health.record_request(succeeded=succeeded)
        if response.error_code == 429:
            if chat_id:
                self._cooldowns.start(chat_id, response.parameters.retry_after)
        elif succeeded:
            self._retry_queue.release_next()
        return response


def _encode_body(
    parameters: dict[str, Any], files: Mapping[str, Upload] | None
) -> RequestBody:
    return (parameters, files) if files else _encoder.encode(parameters)
