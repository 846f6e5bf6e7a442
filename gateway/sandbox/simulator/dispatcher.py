"""Serves calls of the Bot API: checks, executes and records them, applies faults."""

import asyncio
import time
from collections.abc import Awaitable

from aiohttp import web
from msgspec import Struct

from gateway.sandbox.simulator.bots import Bots
from gateway.sandbox.simulator.faults.one_shot import Fault, OneShotFaults
from gateway.sandbox.simulator.faults.persistent import PersistentFaults
from gateway.sandbox.simulator.http_params import (
    error_body,
    read_body,
    read_parameters,
    response,
)
from gateway.sandbox.simulator.limits.flood_limits import FloodLimits
from gateway.sandbox.simulator.simulated_bot import SimulatedBot
from gateway.sandbox.simulator.validation.rules import ApiError, Parameters

MAX_CALLS = 10_000
"""Maximum number of recorded calls; the oldest are dropped first."""
_NOT_IN_ANSWERS = frozenset({"setwebhook", "deletewebhook", "close", "logout"})
"""Methods that a webhook response cannot call, besides all get methods
(telegram-bot-api: WebhookActor.cpp)."""


class ApiCall(Struct, frozen=True, kw_only=True):
    """A recorded call of the Bot API.

    Attributes:
        method: the method's name as Telegram spells it, or as sent if it is unknown.
        parameters: the parameters from the query and the body.
        status: the HTTP status of the response, or 0 if the connection was closed.
        error: the description of the error, or an empty string on success.
        time: when the call was recorded, in seconds since the epoch.
        bot_id: the id of the bot, or 0 if the token is unknown.
    """

    method: str
    parameters: Parameters
    status: int
    error: str
    time: float
    bot_id: int


class ApiDispatcher:
    """Executes and records calls of the Bot API, after applying limits and faults.

    Attributes:
        sent: the newest 10,000 calls, oldest first, including rejected ones.
    """

    def __init__(
        self,
        bots: Bots,
        one_shot_faults: OneShotFaults,
        persistent_faults: PersistentFaults,
        limits: FloodLimits,
    ) -> None:
        self.sent: list[ApiCall] = []
        self._bots = bots
        self._one_shot_faults = one_shot_faults
        self._persistent_faults = persistent_faults
        self._limits = limits

    def add_to(self, app: web.Application) -> None:
        """Add the route of the Bot API to an application."""
        app.router.add_route("*", "/bot{token}/{method}", self._answer)

    async def _answer(self, request: web.Request) -> web.Response:
        token = request.match_info["token"]
        bot = self._bots.with_token(token)
        method = self._spell(request.match_info["method"])
        parameters: Parameters = {}
        fault = None
        try:
            keep = bot.files.store if bot else _discard
            parameters = await read_parameters(request, keep)
            # Only now, because the token may have been replaced meanwhile.
            bot = self._authorize(token)
            fault = self._admit(bot, method, parameters)
            answer = await _carry_out(bot, method, parameters, fault)
        except ApiError as refused:
            answer = error_body(refused)
        status = 0 if fault and fault.drop else answer.get("error_code", 200)
        self._note(bot, method, parameters, status, answer)
        if fault and fault.delay:
            await asyncio.sleep(fault.delay)
        if fault and fault.drop and request.transport:
            request.transport.close()
        return response(answer, fault.body if fault else None)

    def answer_webhook(self, bot: SimulatedBot, content_type: str, body: bytes) -> None:
        """Execute the method call in a webhook response, if there is one.

        The bot gets neither the result nor an error, and nothing is retried. Faults
        that only delay a response have no effect.

        Args:
            bot: the bot whose webhook responded.
            content_type: the content type of the webhook response.
            body: the body of the webhook response.
        """
        try:
            parameters = read_body(content_type, body, bot.files.store)
        except ApiError:
            return  # the real server only logs it
        method = str(parameters.pop("method", ""))
        small = method.lower()
        if not method or small.startswith("get") or small in _NOT_IN_ANSWERS:
            return
        method = self._spell(method)
        try:
            fault = self._admit(bot, method, parameters)
            if fault and fault.is_error:
                raise fault.to_error()
            bot.methods.call(method, parameters)
        except ApiError as refused:
            answer = error_body(refused)
        else:
            answer = {}
        self._note(bot, method, parameters, answer.get("error_code", 200), answer)

    def _authorize(self, token: str) -> SimulatedBot:
        bot = self._bots.with_token(token)
        if not bot:
            raise ApiError("Unauthorized", 401)
        return bot

    def _spell(self, method: str) -> str:
        """Return a method's name as Telegram spells it, or as it is if unknown."""
        return self._bots.first.methods.find(method) or method

    def _admit(
        self, bot: SimulatedBot, method: str, parameters: Parameters
    ) -> Fault | None:
        """Check whether a call is carried out; return the fault that applies to it.

        Raises:
            ApiError: there is no such method, or the call exceeds a limit.
        """
        if not bot.methods.find(method):
            raise ApiError("Not Found: method not found", 404)
        self._limits.check(bot.id, method, parameters)
        fault = self._one_shot_faults.take_matching(method, parameters)
        return fault or self._persistent_faults.find(method, parameters)

    def _note(
        self,
        bot: SimulatedBot | None,
        method: str,
        parameters: Parameters,
        status: int,
        answer: Parameters,
    ) -> None:
        self.sent.append(
            ApiCall(
                method=method,
                parameters=parameters,
                status=status,
                error=answer.get("description", ""),
                time=time.time(),
                bot_id=bot.id if bot else 0,
            )
        )
        del self.sent[:-MAX_CALLS]


async def _carry_out(
    bot: SimulatedBot, method: str, parameters: Parameters, fault: Fault | None
) -> Parameters:
    if fault and fault.is_error:
        raise fault.to_error()
    result = bot.methods.call(method, parameters)
    if isinstance(result, Awaitable):
        result = await result
    return {"ok": True, "result": result}


def _discard(_: bytes) -> str:
    """Return the id of a file that is not stored, because the token is unknown."""
    return ""
