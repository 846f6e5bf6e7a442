"""The gateway with faults that marked updates set off: they end the process.

python -m tests.chaos.poison serve
"""

import os
from typing import Any

from gateway.actors import update_processor
from gateway.actors.replies.callback_data import prepare_callback_data
from gateway.cli import main
from gateway.domain.ports import BoundCall
from gateway.domain.update import Update, UserMessage
from gateway.services.router import GrpcServiceRouter
from gateway.services.rpc_call import RpcCall

POISON = "the update that ends its worker"
"""It does so while it is routed, before its service is called."""

POISON_ANSWER = "the update whose answer ends its worker"
"""It does so while messages are made of the answer."""

POISON_CALL = "the update whose call ends its worker"
"""It does so while it waits for its service, like hundreds of others."""

EXIT_CODE = 66

_find, _prepare, _call = (
    GrpcServiceRouter.route,
    prepare_callback_data,
    RpcCall.call,
)


def _end_for(update: Update, text: str) -> None:
    if isinstance(update, UserMessage) and update.message.text == text:
        os._exit(EXIT_CODE)


def _find_or_end(dispatch: GrpcServiceRouter, update: Update) -> BoundCall | None:
    _end_for(update, POISON)
    return _find(dispatch, update)


def _prepare_or_end(reply: Any, update: Update, *rest: Any) -> None:  # noqa: ANN401 - as the original
    _end_for(update, POISON_ANSWER)
    _prepare(reply, update, *rest)


async def _call_or_end(call: RpcCall, internal_user_id: str | None) -> Any:  # noqa: ANN401 - as above
    result = await _call(call, internal_user_id)
    if call.route_name != "session":
        _end_for(call.update, POISON_CALL)
    return result


if __name__ == "__main__":
    GrpcServiceRouter.route = _find_or_end  # type: ignore[method-assign, assignment]  # that is the point
    vars(update_processor)["prepare_callback_data"] = _prepare_or_end
    RpcCall.call = _call_or_end  # type: ignore[method-assign, assignment]  # as above
    main.main()
