"""Errors with a text for the user."""

from typing import NoReturn

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.rpc.error_details_pb2 import LocalizedMessage
from google.rpc.status_pb2 import Status
from grpc.aio import ServicerContext


async def refuse(
    context: "ServicerContext[object, object]", code: grpc.StatusCode, text: str
) -> NoReturn:
    """End an rpc with a text that the gateway shows to the user.

    The gateway reads it from the details of the status; it never shows the message of
    the status itself.
    """
    detail = AnyMessage()
    detail.Pack(LocalizedMessage(locale="en", message=text))
    status = Status(code=code.value[0], message=code.name, details=[detail])
    metadata = (("grpc-status-details-bin", status.SerializeToString()),)
    await context.abort(code, code.name, metadata)
