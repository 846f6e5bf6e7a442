"""A service of another team, whose contract is in a package and a file of its own.

The gateway knows it only by the descriptor set that protoc makes of it. So does the
server: it has no generated code, and with another `botgateway.chat.v1` in its set it
reads and writes that one.
"""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.descriptor_pb2 import DescriptorProto, FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.json_format import ParseDict
from google.protobuf.message_factory import GetMessageClass

HERE = Path(__file__).parent
PROTOS = HERE.parents[2] / "proto"
CONTRACT = "acme/billing/v1/billing.proto"
SERVICE = "acme.billing.v1.BillingService"

NEWER_FIELDS = {
    "RequestContext": ("bot", "chat_title", "chat_is_forum", "is_premium"),
    "IncomingMessage": ("rich_message", "quote"),
    "Reply": ("end_session", "join_decision"),
    "OutgoingMessage": ("link_preview_options",),
}
"""What an older `botgateway.chat.v1` does not have."""


def compile_descriptor_set(
    into: Path,
    contract: str = CONTRACT,
    *,
    root: Path = HERE,
    protos: Path = PROTOS,
    imports: bool = True,
) -> Path:
    """Compile a contract as a team does in its own repository.

    Args:
        into: a folder.
        contract: the file.
        root: the folder that the file's name begins in.
        protos: the gateway's contracts.
        imports: whether the set has the files that are imported.
    """
    path = into / f"{Path(contract).stem}.binpb"
    subprocess.run(
        [
            *(sys.executable, "-m", "grpc_tools.protoc", f"-I{root}", f"-I{protos}"),
            *(["--include_imports"] if imports else []),
            f"--descriptor_set_out={path}",
            contract,
        ],
        check=True,
    )
    return path


def make_older(path: Path) -> None:
    """Replace the set's copy of `botgateway.chat.v1` by one of an older version."""
    files = FileDescriptorSet.FromString(path.read_bytes())
    removed = 0
    for file in files.file:
        if file.package == "botgateway.chat.v1":
            for message in file.message_type:
                removed += _remove(message, NEWER_FIELDS.get(message.name, ()))
    assert removed == sum(map(len, NEWER_FIELDS.values()))
    path.write_bytes(files.SerializeToString())


def _remove(message: DescriptorProto, names: Iterable[str]) -> int:
    kept = [field for field in message.field if field.name not in names]
    removed = len(message.field) - len(kept)
    if removed:
        # Optional fields have a oneof each, which has to go with them.
        synthetic = [field for field in message.field if field.proto3_optional]
        first = min((field.oneof_index for field in synthetic), default=0)
        del message.oneof_decl[first:]
        for field in kept:
            if field.proto3_optional:
                field.oneof_index = len(message.oneof_decl)
                message.oneof_decl.add(name=f"_{field.name}")
        copies = [type(field).FromString(field.SerializeToString()) for field in kept]
        del message.field[:]
        message.field.extend(copies)
    return removed


class ForeignService(grpc.GenericRpcHandler):
    """Serves the contract with the messages of its descriptor set.

    Attributes:
        asked: the requests, with the names of the rpcs.
        may_answer: calls of unary rpcs wait until it is set.
    """

    def __init__(self, path: Path) -> None:
        self.asked: list[tuple[str, Any]] = []
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self._pool = DescriptorPool()
        for file in FileDescriptorSet.FromString(path.read_bytes()).file:
            self._pool.AddSerializedFile(file.SerializeToString())

    def service(
        self, handler_call_details: grpc.HandlerCallDetails
    ) -> "grpc.RpcMethodHandler[Any, Any] | None":
        """Find the rpc."""
        _, service, name = str(handler_call_details.method).split("/")
        if service != SERVICE:
            return None
        method = self._pool.FindServiceByName(SERVICE).methods_by_name[name]
        request_type = GetMessageClass(method.input_type)
        response_type = GetMessageClass(method.output_type)

        async def answer(request: Any, _: object) -> Any:  # noqa: ANN401 - any request
            self.asked.append((name, request))
            await self.may_answer.wait()
            [response] = self._answer(name, request)
            return ParseDict(response, response_type())

        async def stream(request: Any, _: object) -> AsyncIterator[Any]:  # noqa: ANN401 - any request
            self.asked.append((name, request))
            for response in self._answer(name, request):
                yield ParseDict(response, response_type())

        if method.server_streaming:
            return grpc.unary_stream_rpc_method_handler(
                stream,
                request_deserializer=request_type.FromString,
                response_serializer=lambda message: message.SerializeToString(),
            )
        return grpc.unary_unary_rpc_method_handler(
            answer,
            request_deserializer=request_type.FromString,
            response_serializer=lambda message: message.SerializeToString(),
        )

    def _answer(self, name: str, request: Any) -> list[dict[str, Any]]:  # noqa: ANN401 - any request
        if name == "Explain":
            pieces = ("An invoice ", "is a bill.")
            return [{"piece": piece} for piece in pieces]
        if name == "Pay":
            user = request.pressed_by.telegram_user_id
            text = f"{user} paid {request.number} by {request.method}"
            return [{"result": {"callbackAnswer": {"text": text}}}]
        user, number = request.asked_by.telegram_user_id, request.number
        message = {
            "text": f"invoice {number} of {user}, asked as {request.typed.text}",
            "inlineKeyboard": {
                "rows": [
                    {
                        "buttons": [
                            {
                                "text": "Pay",
                                "callbackTarget": {
                                    "method": "BillingService.Pay",
                                    "parameters": {
                                        "number": str(number),
                                        "method": "card",
                                    },
                                },
                            }
                        ]
                    }
                ]
            },
        }
        addresses = [{"street": "Elm Street"}]
        return [{"addresses": addresses, "shown": {"messages": [message]}}]


@asynccontextmanager
async def serving_foreign(service: ForeignService) -> AsyncIterator[str]:
    """Serve it on loopback; gives its target."""
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((service,))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(None)
