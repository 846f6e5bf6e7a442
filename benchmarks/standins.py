"""The services and the Bot API that a benchmark runs the gateway against: one process.

    python -m benchmarks.standins

The conversation service says back what it hears, after the seconds of the message's
mark. The Bot API notes for every message how long ago it was posted to the webhook.
The two ports are printed as a line of JSON. `GET /counts` and `GET /take` on the port
of the Bot API tell what was seen. The process ends when its standard input does, so it
does not outlive whoever started it.

Concurrency: one event loop; nothing is awaited between reading and changing a count.
"""

import asyncio
import os
import sys
import time
from array import array
from collections import defaultdict
from typing import Any

import grpc
import msgspec
from aiohttp import web
from botgateway.chat.v1.reply_pb2 import OutgoingMessage, Reply
from botgateway.conversation.v1 import conversation_service_pb2 as conversation
from botgateway.profile.v1 import profile_service_pb2 as profile
from msgspec import Struct

from benchmarks.load import HOST, Mark

Context = grpc.aio.ServicerContext[Any, Any]


class Counts(Struct):
    """How things are.

    Attributes:
        answered: marked messages that came back to the Bot API.
        unmarked: other messages, such as apologies of the gateway.
        hanging: calls that hang in the conversation service now.
    """

    answered: int = 0
    unmarked: int = 0
    hanging: int = 0

    @property
    def messages(self) -> int:
        """All messages that came to the Bot API."""
        return self.answered + self.unmarked


class Taken(Struct):
    """What was seen since it was taken last.

    Attributes:
        seconds: by group, from the post to the webhook to the Bot API.
        least_hanging: how many calls hung, at least, whenever a message that does not
            hang reached the service or came back.
    """

    seconds: dict[str, list[float]]
    least_hanging: int


class Seen:
    """What both stand-ins saw."""

    def __init__(self) -> None:
        self.counts = Counts()
        self._seconds: dict[str, array[float]] = defaultdict(lambda: array("d"))
        self._least_hanging = sys.maxsize

    def passed(self) -> None:
        """Note that a message that does not hang came by."""
        self._least_hanging = min(self._least_hanging, self.counts.hanging)

    def answered(self, text: str) -> None:
        """Note a message that came to the Bot API."""
        now = time.monotonic()
        try:
            mark = Mark.read(text)
        except ValueError:
            self.counts.unmarked += 1
            return
        if not mark.hang:
            self.passed()
        self.counts.answered += 1
        self._seconds[mark.group].append(now - mark.sent)

    def take(self) -> Taken:
        """Give what was seen, and forget it."""
        seconds = {group: times.tolist() for group, times in self._seconds.items()}
        taken = Taken(seconds, self._least_hanging)
        self._seconds.clear()
        self._least_hanging = sys.maxsize
        return taken


class Services:
    """The rpcs that messages of users need."""

    def __init__(self, seen: Seen) -> None:
        self._seen = seen

    async def send_message(
        self, request: conversation.SendMessageRequest, _: Context
    ) -> conversation.SendMessageResponse:
        """Hang as long as the mark says, then say back what was said."""
        text = request.message.text
        if hang := Mark.read(text).hang:
            self._seen.counts.hanging += 1
            try:
                await asyncio.sleep(hang)
            finally:
                self._seen.counts.hanging -= 1
        else:
            self._seen.passed()
        reply = Reply(messages=[OutgoingMessage(text=text)])
        return conversation.SendMessageResponse(reply=reply)

    async def resolve_user(
        self, request: profile.ResolveUserRequest, _: Context
    ) -> profile.ResolveUserResponse:
        """Give a user id as long as a UUID."""
        user_id = f"00000000-0000-4000-8000-{request.context.telegram_user_id:012}"
        return profile.ResolveUserResponse(internal_user_id=user_id)

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
        body = self._answer(request.path.rpartition("/")[2], await request.read())
        return web.Response(body=body, content_type="application/json")

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


def _message(call: _SendMessage) -> dict[str, Any]:
    chat = {"id": call.chat_id, "type": "private", "first_name": "Ann"}
    return {"message_id": 1, "date": int(time.time()), "chat": chat, "text": call.text}


_encode = msgspec.json.encode


async def serve() -> None:
    """Serve until standard input ends."""
    seen = Seen()
    server = grpc.aio.server()
    Services(seen).add_to(server)
    services_port = server.add_insecure_port(f"{HOST}:0")
    await server.start()
    runner = web.ServerRunner(web.Server(BotApi(seen).answer, access_log=None))
    await runner.setup()
    await web.TCPSite(runner, HOST, 0, backlog=1024).start()
    ports = {"services": services_port, "bot_api": runner.addresses[0][1]}
    sys.stdout.write(_encode(ports).decode() + "\n")
    sys.stdout.flush()
    ended = asyncio.Event()
    asyncio.get_running_loop().add_reader(sys.stdin, ended.set)
    await ended.wait()
    await runner.cleanup()
    await server.stop(None)


if __name__ == "__main__":
    asyncio.run(serve())
    # Calls that still hang must not keep the process.
    os._exit(0)
