"""The services and the Bot API that a benchmark runs the gateway against: one process.

    python -m benchmarks.standins

The conversation service says back what it hears, after the seconds of the message's
mark. It can be called over gRPC, or with JSON over HTTP. The Bot API takes JSON or
forms and notes for every message how long ago it was posted to the webhook.
The three ports are printed as a line of JSON. `GET /counts` and `GET /take` on the port
of the Bot API tell what was seen. The process ends when its standard input does, so it
does not outlive whoever started it.

Concurrency: one event loop; nothing is awaited between reading and changing a count.
"""

import asyncio
import os
import sys
import time
from typing import Any

import grpc
import msgspec
from aiohttp import web
from botgateway.chat.v1.reply_pb2 import OutgoingMessage, Reply
from botgateway.conversation.v1 import conversation_service_pb2 as conversation
from botgateway.profile.v1 import profile_service_pb2 as profile
from msgspec import Struct

from benchmarks.load import HOST, Mark
from benchmarks.seen import Seen

Context = grpc.aio.ServicerContext[Any, Any]


class Services:
    """The rpcs that messages of users need."""

    def __init__(self, seen: Seen) -> None:
        self._seen = seen

    async def send_message(
        self, request: conversation.SendMessageRequest, _: Context
    ) -> conversation.SendMessageResponse:
        """Hang as long as the mark says, then say back what was said."""
        text = request.message.text
        await self.hear(text)
        reply = Reply(messages=[OutgoingMessage(text=text)])
        return conversation.SendMessageResponse(reply=reply)

    async def resolve_user(
        self, request: profile.ResolveUserRequest, _: Context
    ) -> profile.ResolveUserResponse:
        """Give the id of the company's own user."""
        user_id = self.resolve(request.context.telegram_user_id)
        return profile.ResolveUserResponse(internal_user_id=user_id)

    async def answer_json(self, request: web.BaseRequest) -> web.Response:
        """Answer the same calls with JSON over HTTP."""
        asked = _read_call(await request.read())
        if request.path.endswith("/resolve"):
            user_id = self.resolve(asked.context.telegram_user_id)
            return _json(_encode({"internal_user_id": user_id}))
        text = asked.message.text
        await self.hear(text)
        return _json(_encode({"messages": [{"text": text}]}))

    async def hear(self, text: str) -> None:
        """Count a call of the conversation service, and hang as its mark says."""
        self._seen.counts.calls += 1
        if hang := _read_hang(text):
            self._seen.counts.hanging += 1
            try:
                await asyncio.sleep(hang)
            finally:
                self._seen.counts.hanging -= 1
        else:
            self._seen.passed()

    def resolve(self, telegram_user_id: int) -> str:
        """Count a call of the profile service, and give an id as long as a UUID."""
        self._seen.counts.resolved += 1
        return f"00000000-0000-4000-8000-{telegram_user_id:012}"

    def add_to(self, server: grpc.aio.Server) -> None:
        """Add the rpcs to a server."""
        send_message = grpc.unary_unary_rpc_method_handler(
            self.send_message,
            conversation.SendMessageRequest.FromString,
            conversation.SendMessageResponse.SerializeToString,
        )
        resolve_user = grpc.unary_unary_rpc_method_handler(
            self.resolve_user,
            profile.ResolveUserRequest.FromString,
            profile.ResolveUserResponse.SerializeToString,
        )
        conversations = grpc.method_handlers_generic_handler(
            "botgateway.conversation.v1.ConversationService",
            {"SendMessage": send_message},
        )
        profiles = grpc.method_handlers_generic_handler(
            "botgateway.profile.v1.ProfileService", {"ResolveUser": resolve_user}
        )
        server.add_generic_rpc_handlers([conversations, profiles])


class _Context(Struct):
    telegram_user_id: int


class _Message(Struct):
    text: str


class _Call(Struct):
    context: _Context
    message: _Message = msgspec.field(default_factory=lambda: _Message(""))


class _SendMessage(Struct):
    chat_id: int
    text: str


class BotApi:
    """Takes every call, and tells what was seen."""

    def __init__(self, seen: Seen) -> None:
        self._seen = seen
        self._read = msgspec.json.Decoder(_SendMessage).decode
        bot = {"id": 7, "is_bot": True, "first_name": "Bench", "username": "bench_bot"}
        self._get_me = _encode({"ok": True, "result": bot})
        self._done = _encode({"ok": True, "result": True})

    async def answer(self, request: web.BaseRequest) -> web.Response:
        """Answer a request."""
        name, body = request.path.rpartition("/")[2], await request.read()
        if name == "sendMessage" and request.content_type != "application/json":
            fields = await request.post()
            body = _encode(
                {"chat_id": int(str(fields["chat_id"])), "text": fields["text"]}
            )
        return _json(self._answer(name, body))

    def _answer(self, name: str, body: bytes) -> bytes:
        match name:
            case "sendMessage":
                call = self._read(body)
                self._seen.answered(call.text)
                return _encode({"ok": True, "result": _message(call)})
            case "counts":
                return _encode(self._seen.counts)
            case "take":
                return _encode(self._seen.take())
            case "getMe":
                return self._get_me
        return self._done


def _read_hang(text: str) -> float:
    """Read for how many seconds to hang; a text without a mark does not."""
    try:
        return Mark.read(text).hang
    except ValueError:
        return 0


def _message(call: _SendMessage) -> dict[str, Any]:
    chat = {"id": call.chat_id, "type": "private", "first_name": "Ann"}
    return {"message_id": 1, "date": int(time.time()), "chat": chat, "text": call.text}


def _json(body: bytes) -> web.Response:
    return web.Response(body=body, content_type="application/json")


_encode = msgspec.json.encode
_read_call = msgspec.json.Decoder(_Call).decode


async def serve() -> None:
    """Serve until standard input ends."""
    seen = Seen()
    server = grpc.aio.server()
    services = Services(seen)
    services.add_to(server)
    ports = {"services": server.add_insecure_port(f"{HOST}:0")}
    await server.start()
    runners = {}
    for name, answer in (
        ("bot_api", BotApi(seen).answer),
        ("json_services", services.answer_json),
    ):
        runners[name] = runner = web.ServerRunner(web.Server(answer, access_log=None))
        await runner.setup()
        await web.TCPSite(runner, HOST, 0, backlog=1024).start()
        ports[name] = runner.addresses[0][1]
    sys.stdout.write(_encode(ports).decode() + "\n")
    sys.stdout.flush()
    ended = asyncio.Event()
    asyncio.get_running_loop().add_reader(sys.stdin, ended.set)
    await ended.wait()
    for runner in runners.values():
        await runner.cleanup()
    await server.stop(None)


if __name__ == "__main__":
    asyncio.run(serve())
    # Calls that still hang must not keep the process.
    os._exit(0)
