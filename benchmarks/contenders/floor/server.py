"""The floor: what the libraries cost that any gateway in Python needs.

No order, limit, session, log or metric, and nothing is kept. With `--uvloop` it runs on
uvloop's event loop instead of asyncio's.
"""

import asyncio
import hmac
import os
import sys
from typing import Any

import msgspec
import uvloop
from aiohttp import ClientSession, TCPConnector, web
from botgateway.chat.v1.context_pb2 import CHAT_TYPE_PRIVATE, RequestContext
from botgateway.chat.v1.message_pb2 import IncomingMessage
from botgateway.conversation.v1.conversation_service_pb2 import SendMessageRequest
from botgateway.conversation.v1.conversation_service_pb2_grpc import (
    ConversationServiceStub,
)
from grpc import aio

SECRET = os.environ["SECRET"]
SEND = f"{os.environ['BOT_API']}/bot{os.environ['TOKEN']}/sendMessage"
JSON = {"Content-Type": "application/json"}


class User(msgspec.Struct):
    """Who wrote."""

    id: int
    first_name: str
    username: str = ""
    language_code: str = ""


class Chat(msgspec.Struct):
    """Where."""

    id: int


class Message(msgspec.Struct, rename={"sender": "from"}):
    """What."""

    message_id: int
    sender: User
    chat: Chat
    date: int
    text: str


class Update(msgspec.Struct):
    """What Telegram posts."""

    update_id: int
    message: Message


read_update = msgspec.json.Decoder(Update).decode


class Floor:
    """The server."""

    async def start(self, _: web.Application) -> None:
        """Connect."""
        self.channel = aio.insecure_channel(os.environ["SERVICES"])
        self.conversation: Any = ConversationServiceStub(self.channel)
        self.http = ClientSession(connector=TCPConnector(limit=1000))
        self.tasks: set[asyncio.Task[None]] = set()

    async def webhook(self, request: web.Request) -> web.Response:
        """Answer at once, and work behind it."""
        given = request.headers.get("X-Telegram-Bot-Api-Secret-Token", "")
        if not hmac.compare_digest(given, SECRET):
            return web.Response(status=401)
        update = read_update(await request.read())
        task = asyncio.create_task(self.handle(update))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return web.Response()

    async def handle(self, update: Update) -> None:
        """Ask the service and send what it says."""
        message, user = update.message, update.message.sender
        context = RequestContext(
            request_id=f"7-{update.update_id}",
            update_id=update.update_id,
            telegram_user_id=user.id,
            chat_id=message.chat.id,
            chat_type=CHAT_TYPE_PRIVATE,
            language_code=user.language_code,
            username=user.username,
            first_name=user.first_name,
        )
        context.send_time.seconds = message.date
        said = IncomingMessage(message_id=message.message_id, text=message.text)
        response = await self.conversation.SendMessage(
            SendMessageRequest(context=context, message=said), timeout=10
        )
        for answer in response.reply.messages:
            call = {"chat_id": message.chat.id, "text": answer.text}
            body = msgspec.json.encode(call)
            async with self.http.post(SEND, data=body, headers=JSON) as sent:
                sent.raise_for_status()
                await sent.read()


def main() -> None:
    """Serve."""
    floor = Floor()
    app = web.Application()
    app.router.add_post("/webhook/telegram", floor.webhook)
    app.on_startup.append(floor.start)
    port = int(os.environ["PORT"])
    on_uvloop = "--uvloop" in sys.argv[1:]
    web.run_app(
        app,
        host="127.0.0.1",
        port=port,
        reuse_port=True,
        access_log=None,
        print=None,
        loop=uvloop.new_event_loop() if on_uvloop else None,
    )


if __name__ == "__main__":
    main()
