"""A service that streams its answers, and a Bot API that is slow and refuses drafts.

    python -m benchmarks.stream_standins --tokens 3000 --rate 50 --slow 0.3

The service streams so many tokens per second to whoever says "stream", and answers
/profile at once. The Bot API takes its time for every call, and refuses every 20th
draft with a 429. `GET /report` tells what was seen. Otherwise as `standins.py`.

Concurrency: one event loop; nothing is awaited between reading and changing a count.
"""

import argparse
import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator
from typing import Any

import grpc
import msgspec
from aiohttp import web
from botgateway.chat.v1.reply_pb2 import OutgoingMessage, Reply
from botgateway.conversation.v1 import conversation_service_pb2 as conversation
from botgateway.profile.v1 import profile_service_pb2 as profile

from benchmarks.load import HOST
from benchmarks.stream_report import Report, Stream

Context = grpc.aio.ServicerContext[Any, Any]

REFUSED = 20
"""Every so manieth draft."""

RETRY_AFTER = 1

STREAMING_USER, OTHER_USER = 1_000_000, 2_000_000
"""The first of those whose answers are streamed, and the first of the others."""


def token(number: int) -> str:
    """Give a token: words, now and then a line end, a letter of many bytes."""
    return f"w{number}ö" + ("\n" if number % 97 == 0 else " ")


class StandIns:
    """Both of them, and what they saw."""

    def __init__(self, tokens: int, rate: float, slow: float) -> None:
        self._tokens = tokens
        self._rate = rate
        self._slow = slow
        self._drafts = 0
        self._in_flight: dict[int, int] = {}
        self._others: dict[int, float] = {}
        self.report = Report()

    async def stream_message(
        self, request: conversation.StreamMessageRequest, _: Context
    ) -> AsyncIterator[conversation.StreamMessageResponse]:
        """Stream the tokens, each when it is due."""
        user = request.context.telegram_user_id
        stream = self._stream(user)
        start = time.monotonic()
        try:
            for number in range(self._tokens):
                due = start + number / self._rate
                if (wait := due - time.monotonic()) > 0:
                    await asyncio.sleep(wait)
                stream.first_token = stream.first_token or time.monotonic()
                yield conversation.StreamMessageResponse(text_piece=token(number))
            stream.last_token = time.monotonic()
        finally:
            stream.ended = time.monotonic()

    async def send_message(
        self, request: conversation.SendMessageRequest, _: Context
    ) -> conversation.SendMessageResponse:
        """Answer with all tokens at once."""
        text = "".join(map(token, range(self._tokens)))
        reply = Reply(messages=[OutgoingMessage(text=text)])
        return conversation.SendMessageResponse(reply=reply)

    async def get_profile(
        self, request: profile.GetProfileRequest, _: Context
    ) -> profile.GetProfileResponse:
        """Answer somebody who streams nothing."""
        reply = Reply(messages=[OutgoingMessage(text="you")])
        return profile.GetProfileResponse(reply=reply)

    async def resolve_user(
        self, request: profile.ResolveUserRequest, _: Context
    ) -> profile.ResolveUserResponse:
        """Give the id of the company's own user."""
        user_id = f"u-{request.context.telegram_user_id}"
        return profile.ResolveUserResponse(internal_user_id=user_id)

    async def answer(self, request: web.BaseRequest) -> web.Response:
        """Take a call of the Bot API."""
        method, body = request.path.rpartition("/")[2], await request.read()
        if method == "report":
            return _json(self.report)
        if method == "getMe":
            bot = {"id": 7, "is_bot": True, "first_name": "B", "username": "bench_bot"}
            return _json({"ok": True, "result": bot})
        call = msgspec.json.decode(body) if body else {}
        chat = int(call.get("chat_id", 0))
        if method == "sendMessageDraft":
            return await self._draft(chat, call)
        if method == "sendMessage":
            self._message(chat, str(call["text"]))
        await asyncio.sleep(self._slow if 0 < chat < OTHER_USER else 0)
        message = {"message_id": 1, "date": 1, "chat": {"id": chat, "type": "private"}}
        return _json({"ok": True, "result": message})

    async def _draft(self, chat: int, call: dict[str, Any]) -> web.Response:
        stream = self._stream(chat)
        stream.first_draft = stream.first_draft or time.monotonic()
        stream.drafts += 1
        self._drafts += 1
        self._in_flight[chat] = self._in_flight.get(chat, 0) + 1
        self.report.most_at_once = max(self.report.most_at_once, self._in_flight[chat])
        refused = self._drafts % REFUSED == 0
        try:
            await asyncio.sleep(self._slow)
        finally:
            self._in_flight[chat] -= 1
        if not refused:
            return _json({"ok": True, "result": True})
        stream.refused += 1
        parameters = {"retry_after": RETRY_AFTER}
        refusal = {"ok": False, "error_code": 429, "description": "Too Many Requests"}
        return _json(refusal | {"parameters": parameters}, 429)

    def _message(self, chat: int, text: str) -> None:
        now = time.monotonic()
        if chat >= OTHER_USER:
            self.report.others.append((chat, now))
            return
        stream = self._stream(chat)
        stream.text += text
        stream.messages += 1
        stream.last_message = now
        stream.beside += self._in_flight.get(chat, 0)

    def _stream(self, user: int) -> Stream:
        return self.report.streams.setdefault(user, Stream())

    def add_to(self, server: grpc.aio.Server) -> None:
        """Add the rpcs to a server."""
        stream_message = grpc.unary_stream_rpc_method_handler(
            self.stream_message,
            conversation.StreamMessageRequest.FromString,
            conversation.StreamMessageResponse.SerializeToString,
        )
        send_message = grpc.unary_unary_rpc_method_handler(
            self.send_message,
            conversation.SendMessageRequest.FromString,
            conversation.SendMessageResponse.SerializeToString,
        )
        get_profile = grpc.unary_unary_rpc_method_handler(
            self.get_profile,
            profile.GetProfileRequest.FromString,
            profile.GetProfileResponse.SerializeToString,
        )
        resolve_user = grpc.unary_unary_rpc_method_handler(
            self.resolve_user,
            profile.ResolveUserRequest.FromString,
            profile.ResolveUserResponse.SerializeToString,
        )
        conversations = grpc.method_handlers_generic_handler(
            "botgateway.conversation.v1.ConversationService",
            {"StreamMessage": stream_message, "SendMessage": send_message},
        )
        profiles = grpc.method_handlers_generic_handler(
            "botgateway.profile.v1.ProfileService",
            {"GetProfile": get_profile, "ResolveUser": resolve_user},
        )
        server.add_generic_rpc_handlers([conversations, profiles])


def _json(value: object, status: int = 200) -> web.Response:
    body = msgspec.json.encode(value)
    return web.Response(body=body, status=status, content_type="application/json")


async def serve(stand_ins: StandIns) -> None:
    """Serve until standard input ends."""
    server = grpc.aio.server()
    stand_ins.add_to(server)
    services = server.add_insecure_port(f"{HOST}:0")
    await server.start()
    runner = web.ServerRunner(web.Server(stand_ins.answer, access_log=None))
    await runner.setup()
    await web.TCPSite(runner, HOST, 0, backlog=1024).start()
    ports = {"services": services, "json_services": 0}
    ports["bot_api"] = runner.addresses[0][1]
    sys.stdout.write(msgspec.json.encode(ports).decode() + "\n")
    sys.stdout.flush()
    ended = asyncio.Event()
    asyncio.get_running_loop().add_reader(sys.stdin, ended.set)
    await ended.wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--tokens", type=int, required=True)
    parser.add_argument("--rate", type=float, required=True)
    parser.add_argument("--slow", type=float, required=True)
    asked = parser.parse_args()
    asyncio.run(serve(StandIns(asked.tokens, asked.rate, asked.slow)))
    os._exit(0)
