"""Dispatches calls of the Bot API: validates, executes or fails, and records them."""

import asyncio
import time
from collections.abc import Awaitable

from aiohttp import web
from msgspec import Struct

from gateway.sandbox.simulator.faults.one_shot import Fault, OneShotFaults
from gateway.sandbox.simulator.faults.persistent import PersistentFaults
from gateway.sandbox.simulator.http_params import (
    error_body,
    read_body,
    read_parameters,
    response,
)
from gateway.sandbox.simulator.methods import BotApiMethods
from gateway.sandbox.simulator.state.files import FileStore
from gateway.sandbox.simulator.validation.rules import ApiError, Parameters

MAX_CALLS = 10_000
"""Maximum number of recorded calls; the oldest are dropped first."""
_NOT_IN_ANSWERS = frozenset({"setwebhook", "deletewebhook", "close", "logout"})
"""Methods that a webhook response cannot call, besides all get methods
(telegram-bot-api: WebhookActor.cpp)."""


class ApiCall(Struct, frozen=True, kw_only=True):
    """A recorded call of the Bot API.

    Attributes:
        method: the method's name as Telegram spells it.
        parameters: the parameters from the query and the body.
        status: the HTTP status of the response, or 0 if the connection was closed.
        error: the description of the error, or an empty string on success.
        time: seconds since the epoch at which the call was read.
    """

    method: str
    parameters: Parameters
    status: int
    error: str
    time: float


class ApiDispatcher:
    """Responds to calls of the Bot API.

    Attributes:
        sent: the newest calls, oldest first, including rejected ones.
    """

    def __init__(
        self,
        token: str,
        methods: BotApiMethods,
        one_shot_faults: OneShotFaults,
        persistent_faults: PersistentFaults,
        files: FileStore,
    ) -> None:
        self.sent: list[ApiCall] = []
        self._token = token
        self._methods = methods
        self._one_shot_faults = one_shot_faults
        self._persistent_faults = persistent_faults
        self._files = files

    def add_to(self, app: web.Application) -> None:
        """Add the route."""
        app.router.add_route("*", "/bot{token}/{method}", self._answer)

    async def _answer(self, request: web.Request) -> web.Response:
        method = request.match_info["method"]
        method = self._methods.find(method) or method
        parameters: Parameters = {}
        fault = None
        try:
            parameters = await read_parameters(request, self._files.store)
            self._check(request.match_info["token"], method)
            fault = self._one_shot_faults.take_matching(method, parameters)
            fault = fault or self._persistent_faults.find(method, parameters)
            answer = await self._carry_out(method, parameters, fault)
        except ApiError as refused:
            answer = error_body(refused)
        status = 0 if fault and fault.drop else answer.get("error_code", 200)
        self._note(method, parameters, status, answer)
        if fault and fault.delay:
            await asyncio.sleep(fault.delay)
        if fault and fault.drop and request.transport:
            request.transport.close()
        return response(answer, fault.body if fault else None)

    def answer_webhook(self, content_type: str, body: bytes) -> None:
        """Execute the method call in a webhook response, if there is one.

        The bot gets neither its result nor its error, and nothing is retried. Faults
        that only delay a response have no effect.

        Args:
            content_type: the content type of the webhook response.
            body: the body of the webhook response.
        """
        try:
            parameters = read_body(content_type, body, self._files.store)
        except ApiError:
            return  # the real server only logs it
        method = str(parameters.pop("method", ""))
        small = method.lower()
        if not method or small.startswith("get") or small in _NOT_IN_ANSWERS:
            return
        method = self._methods.find(method) or method
        try:
            self._check(self._token, method)
            fault = self._one_shot_faults.take_matching(method, parameters)
            fault = fault or self._persistent_faults.find(method, parameters)
            if fault and fault.is_error:
                raise fault.to_error()
            self._methods.call(method, parameters)
        except ApiError as refused:
            answer = error_body(refused)
        else:
            answer = {}
        self._note(method, parameters, answer.get("error_code", 200), answer)

    def _check(self, token: str, method: str) -> None:
        if token != self._token:
            raise ApiError("Unauthorized", 401)
        if not self._methods.find(method):
            raise ApiError("Not Found: method not found", 404)

    async def _carry_out(
        self, method: str, parameters: Parameters, fault: Fault | None
    ) -> Parameters:
        if fault and fault.is_error:
            raise fault.to_error()
        result = self._methods.call(method, parameters)
        if isinstance(result, Awaitable):
            result = await result
        return {"ok": True, "result": result}

    def _note(
        self, method: str, parameters: Parameters, status: int, answer: Parameters
    ) -> None:
        self.sent.append(
            ApiCall(
                method=method,
                parameters=parameters,
                status=status,
                error=answer.get("description", ""),
                time=time.time(),
            )
        )
        del self.sent[:-MAX_CALLS]
