"""The client of the Bot API.

Concurrency: any number of calls may run at once. Each call, including its retries, runs
in the task that made it. Calls are not ordered: a caller that needs an order awaits the
result of one call before it makes the next one. During the cool-down of a chat after a
429 only the calls to this chat wait.

The token is part of every URL, and errors of libraries may quote URLs. So these errors
are never logged or chained to our own: ours are raised outside `except` blocks.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from gateway.domain.bot_api_call import Upload
from gateway.domain.errors import BotApiError, BotApiUnavailable, InvalidBotToken
from gateway.domain.ports import (
    BeforeRequest,
    RetryPause,
    SharedCooldowns,
    await_pause,
)
from gateway.telegram.bot_api.connection import ResponseLost
from gateway.telegram.bot_api.connection_pool import RequestNotSent
from gateway.telegram.bot_api.connections import BotApiConnections
from gateway.telegram.bot_api.cooldowns import MAX_COOLDOWN_SECONDS, ChatCooldowns
from gateway.telegram.bot_api.responses import (
    ApiResponse,
    build_cooldown_response,
    build_error,
    parse_response,
)
from gateway.telegram.bot_api.retries import Backoff, RetryQueue

_PATIENCE_SECONDS = 2.0
"""How long a call that is not part of a reply, such as getFile, is retried."""

_MAX_WAITING_BYTES = 256 * 2**20
"""Maximum size of all uploads that wait for a retry. More of them would fill the memory
while the Bot API fails, so further uploads are not retried."""

_METHODS_WITH_OWN_LIMITS = frozenset({"sendMessageDraft", "sendChatAction"})
"""Methods that do not count as messages: they have limits of their own (TDLib:
DialogActionManager)."""

_MAX_MIGRATIONS = 1000

_TOKEN_PATIENCE_SECONDS = 30.0
_TOKEN_PAUSE_SECONDS = 0.5
"""How long, and how often, a call is tried again whose token was rejected, if another
token may follow. Such a call certainly took no effect."""

_encoder = msgspec.json.Encoder()


class BotApiClient:
    """Calls the Bot API for one bot, with retries.

    A 429 starts a cool-down of the chat, unless the method has limits of its own, such
    as drafts and the typing indicator.

    Args:
        token: the bot's token.
        connections: the open connections to the Bot API server.
        uptime: returns the seconds of a monotonic clock.
        sleep: waits for a number of seconds.
        shared_cooldowns: exchanges the cool-downs with other workers; None if this
            process shares none.
        may_get_token: True if `set_token` may soon replace a rejected token. A call
            with a rejected token is then retried for some time instead of failing at
            once.
        observe_request: called after each request with the method, the status of the
            response (0 if none arrived), the duration in seconds, and Telegram's
            description of the error. The description may quote the user, so only the
            sandbox uses this. None if nobody observes.
    """

    def __init__(
        self,
        token: str,
        connections: BotApiConnections,
        *,
        uptime: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        shared_cooldowns: SharedCooldowns | None = None,
        may_get_token: bool = False,
        observe_request: Callable[[str, int, float, str], None] | None = None,
    ) -> None:
        self._shared_cooldowns = shared_cooldowns
        self._may_get_token = may_get_token
        self._token = token
        self._path = f"bot{token}/"
        self._connections = connections
        self._post = connections.pool.post
        self._health = connections.health
        self._uptime = uptime
        self._cooldowns = ChatCooldowns(uptime)
        self._retry_queue = RetryQueue(sleep)
        self._migrations: dict[int, int] = {}
        self._is_authorized = True
        self._observe_request = observe_request

    def set_token(self, token: str) -> None:
        """Make all further requests with another token of the same bot.

        Retries of calls that have already started use this token, too.
        """
        self._token = token
        self._path = f"bot{token}/"

    @property
    def is_authorized(self) -> bool:
        """False if Telegram rejected the token, until another call proves it valid."""
        return self._is_authorized

    @property
    def is_failing(self) -> bool:
        """Whether requests to the server have failed for 3 s or more without a success.

        See `BotApiHealth`. Failures count only for a minute.
        """
        return self._health.is_failing

    async def call(
        self,
        method: str,
        parameters: dict[str, Any],
        files: Mapping[str, Upload] | None = None,
        *,
        patience: float = _PATIENCE_SECONDS,
        wait: RetryPause = await_pause,
        before_request: BeforeRequest | None = None,
    ) -> Any:  # noqa: ANN401 - each method has a result of its own
        """Call a method and return its result.

        A call is retried after a 429. After another temporary failure the call is
        retried only if it certainly took no effect or if executing it twice is
        harmless. An edit that changes nothing succeeds. If a group became a supergroup,
        the call goes to its new id.

        Args:
            method: Telegram's name of the method.
            parameters: the parameters of the call.
            files: the files to upload, see `BotApiCall.files`; None for none.
            patience: how many seconds to keep retrying, counted from the first failure.
            wait: awaits the pause before each retry. When it is called, no request of
                this call has taken effect.
            before_request: awaited immediately before each request; None for nothing.

        Raises:
            RecipientBlocked: the bot cannot write to this user.
            CallRejected: this call will never succeed.
            BotApiUnavailable: the call may succeed later. `maybe_applied` says whether
                it may have taken effect.
            InvalidBotToken: the token is invalid.
        """
        chat_id = parameters.get("chat_id", 0)
        has_migrated = False
        backoff: Backoff | None = None
        while True:
            path = self._path
            response = await self._send_request(
                method, parameters, files, before_request
            )
            if response.ok or response.is_not_modified:
                self._is_authorized = True
                return response.result
            new_id = response.parameters.migrate_to_chat_id
            if new_id and chat_id and not has_migrated:
                has_migrated = True
                self._store_migration(chat_id, new_id)
                continue
            error = self._build_error(method, response)
            if isinstance(error, InvalidBotToken) and path != self._path:
                continue  # the token was replaced while the call was under way
            retry_after = self._require_retry(error)
            if backoff is None:
                if isinstance(error, InvalidBotToken):
                    patience = min(patience, _TOKEN_PATIENCE_SECONDS)
                backoff = Backoff(self._uptime() + patience)
            if not await self._pause_before_retry(backoff, retry_after, files, wait):
                raise error

    def _require_retry(self, error: BotApiError) -> float | None:
        """Return the seconds before a retry that Telegram asks for, or None.

        Raises:
            BotApiError: it must not be retried; this is the error itself.
        """
        if isinstance(error, BotApiUnavailable):
            if error.maybe_applied:
                raise error
            return error.retry_after
        self._is_authorized = not isinstance(error, InvalidBotToken)
        if self._is_authorized or not self._may_get_token:
            raise error
        return _TOKEN_PAUSE_SECONDS

    async def _pause_before_retry(
        self,
        backoff: Backoff,
        retry_after: float | None,
        files: Mapping[str, Upload] | None,
        wait: RetryPause,
    ) -> bool:
        """Wait before a retry. Return False if the call must not be retried."""
        now = self._uptime()
        seconds = backoff.choose_pause(now, retry_after)
        if seconds is None:
            return False
        size = sum(len(file.content) for file in files.values()) if files else 0
        if self._connections.waiting_bytes + size > _MAX_WAITING_BYTES:
            return False
        self._connections.waiting_bytes += size
        try:
            await wait(self._retry_queue.wait_turn(seconds, backoff.deadline - now))
        finally:
            self._connections.waiting_bytes -= size
        return True

    async def call_once(self, method: str, parameters: dict[str, Any]) -> Any:  # noqa: ANN401 - as above
        """Make a call whose failure does no harm: without a retry or a wait.

        During a cool-down of the chat no request is made.

        Raises:
            BotApiError: as in `call`; BotApiUnavailable during a cool-down.
        """
        response = await self._send_request(method, parameters)
        if response.ok or response.is_not_modified:
            return response.result
        raise self._build_error(method, response)

    async def learn_cooldown(self, chat_id: int) -> float:
        """Ask the other workers for a cool-down of a chat, and observe it from now on.

        Returns:
            The seconds until the cool-down of the chat ends; 0 if there is none.
        """
        chat_id = self._migrations.get(chat_id, chat_id)
        seconds = self._cooldowns.get_seconds_left(chat_id)
        if not seconds and self._shared_cooldowns is not None:
            seconds = await self._shared_cooldowns.find(chat_id)
            if seconds:
                self._cooldowns.start(chat_id, seconds)
        return seconds

    def _build_error(self, method: str, response: ApiResponse) -> BotApiError:
        """Return the error for a response that is not ok, without the bot's token."""
        if self._token in response.description:  # a proxy may quote the URL
            response.description = ""
        return build_error(method, response)

    def _start_cooldown(self, chat_id: int, seconds: float) -> None:
        """Start a cool-down of a chat, and tell the other workers."""
        self._cooldowns.start(chat_id, seconds)
        if self._shared_cooldowns is not None:
            self._shared_cooldowns.record(chat_id, min(seconds, MAX_COOLDOWN_SECONDS))

    def _store_migration(self, chat_id: int, new_id: int) -> None:
        """Remember the new ID of a group that became a supergroup."""
        self._migrations[chat_id] = new_id
        if len(self._migrations) > _MAX_MIGRATIONS:
            del self._migrations[next(iter(self._migrations))]

    async def _prepare_request(
        self, chat_id: int, before_request: BeforeRequest | None
    ) -> float:
        """Do what the caller wants before a request, unless the chat has a cool-down.

        Returns:
            The seconds until the cool-down ends; 0 if the request may be made.
        """
        seconds_left = self._cooldowns.get_seconds_left(chat_id)
        if seconds_left or before_request is None:
            return seconds_left
        await before_request()
        return self._cooldowns.get_seconds_left(chat_id)

    async def _send_request(
        self,
        method: str,
        parameters: dict[str, Any],
        files: Mapping[str, Upload] | None = None,
        before_request: BeforeRequest | None = None,
    ) -> ApiResponse:
        """Make one request and record its outcome; none during a cool-down."""
        chat_id = parameters.get("chat_id", 0)
        if new_id := self._migrations.get(chat_id):
            chat_id = new_id
            parameters = {**parameters, "chat_id": new_id}
        if (before_request is not None or chat_id in self._cooldowns.ends_at) and (
            seconds_left := await self._prepare_request(chat_id, before_request)
        ):
            return build_cooldown_response(seconds_left)
        start = time.perf_counter()
        try:
            if files:
                response = await self._connections.multipart.post(
                    self._path + method, parameters, files
                )
            else:
                body = _encoder.encode(parameters)
                response = parse_response(*await self._post(self._path + method, body))
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
        if not succeeded or self._health.first_failure_at is not None:
            self._health.record_request(succeeded=succeeded)
        if (
            response.error_code == 429
            and chat_id
            and method not in _METHODS_WITH_OWN_LIMITS
        ):
            self._start_cooldown(chat_id, response.parameters.retry_after)
        elif succeeded and self._retry_queue.waiters:
            self._retry_queue.release_next()
        return response


@asynccontextmanager
async def open_bot_api(
    token: str,
    url: str = "https://api.telegram.org",
    *,
    request_timeout: float = 30.0,
    uptime: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    shared_cooldowns: SharedCooldowns | None = None,
) -> AsyncIterator[BotApiClient]:
    """Open connections to the Bot API for one bot, and yield its client.

    The connections are closed at the end of the block.

    Args:
        token: the bot's token.
        url: the URL of the Bot API server, without a trailing slash.
        request_timeout: the seconds that one attempt may take; see `BotApiConnections`.
        uptime: returns the seconds of a monotonic clock.
        sleep: waits for a number of seconds.
        shared_cooldowns: exchanges the cool-downs with other workers; None for no
            exchange.
    """
    async with BotApiConnections(
        url, request_timeout=request_timeout, uptime=uptime
    ) as connections:
        yield BotApiClient(
            token,
            connections,
            uptime=uptime,
            sleep=sleep,
            shared_cooldowns=shared_cooldowns,
        )
