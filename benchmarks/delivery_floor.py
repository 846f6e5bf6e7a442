"""The floor of a delivery: an rpc comes in, and one POST goes out.

    python -m benchmarks.delivery_floor PORT BOT_API_PORT

grpc.aio and aiohttp and nothing else: nothing is stored, ordered, limited or logged. It
answers before it posts, as the gateway does, and says when it listens.
"""

import asyncio
import signal
import sys
from typing import Any

import grpc
import msgspec
from aiohttp import ClientSession, TCPConnector
from botgateway.delivery.v1.delivery_service_pb2 import SendRequest, SendResponse

from benchmarks.load import HOST


async def serve(port: int, bot_api: int) -> None:
    """Serve until SIGTERM."""
    url = f"http://{HOST}:{bot_api}/bot7:benchmark-token/sendMessage"
    headers = {"Content-Type": "application/json"}
    tasks: set[asyncio.Task[None]] = set()

    async with ClientSession(connector=TCPConnector(limit=1000)) as http:

        async def deliver(request: SendRequest) -> None:
            for message in request.messages:
                chat_id = request.recipient.telegram_user_id
                body = msgspec.json.encode({"chat_id": chat_id, "text": message.text})
                async with http.post(url, data=body, headers=headers) as response:
                    response.raise_for_status()
                    await response.read()

        async def send(
            request: SendRequest, _: grpc.aio.ServicerContext[Any, Any]
        ) -> SendResponse:
            task = asyncio.create_task(deliver(request))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
            return SendResponse(delivery_id=request.idempotency_key)

        handler = grpc.unary_unary_rpc_method_handler(
            send, SendRequest.FromString, SendResponse.SerializeToString
        )
        server = grpc.aio.server()
        service = "botgateway.delivery.v1.DeliveryService"
        server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(service, {"Send": handler}),)
        )
        server.add_insecure_port(f"{HOST}:{port}")
        await server.start()
        sys.stdout.write("listening\n")
        sys.stdout.flush()
        stop = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
        await stop.wait()
        await server.stop(0)


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), int(sys.argv[2])))
