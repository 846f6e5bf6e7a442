"""The plain design: FastAPI, Redis, and JSON over HTTP to services and Bot API."""

import hmac
import json
import logging
import os
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

import httpx
from fastapi import BackgroundTasks, FastAPI, Header, Request, Response
from pydantic import BaseModel, Field
from redis.asyncio import Redis

SECRET = os.environ["SECRET"]
LIMIT = int(os.environ["RATE_LIMIT_REQUESTS"])
SERVICES = os.environ["JSON_SERVICES"]
BOT = f"{os.environ['BOT_API']}/bot{os.environ['TOKEN']}"
SESSION_SECONDS = 86_400

# KEYS[1]: the bucket. ARGV: its size and its refill per second.
TAKE = """
local now = redis.call("TIME")
now = now[1] + now[2] / 1000000
local kept = redis.call("HMGET", KEYS[1], "tokens", "time")
local size, since = tonumber(ARGV[1]), now - (tonumber(kept[2]) or now)
local tokens = math.min(size, (tonumber(kept[1]) or size) + since * ARGV[2])
local allowed = tokens >= 1 and 1 or 0
redis.call("HSET", KEYS[1], "tokens", tokens - allowed, "time", now)
redis.call("EXPIRE", KEYS[1], 60)
return allowed
"""

logging.basicConfig(
    level=logging.WARNING,
    format="%(asctime)s %(levelname)s %(name)s %(message)s",
    stream=sys.stdout,
)
logger = logging.getLogger("bot")
logger.setLevel(logging.INFO)


class User(BaseModel):
    """Who wrote."""

    id: int
    first_name: str
    username: str = ""
    language_code: str = ""


class Chat(BaseModel):
    """Where."""

    id: int
    type: str


class Message(BaseModel):
    """What."""

    message_id: int
    sender: User = Field(alias="from")
    chat: Chat
    date: int
    text: str


class Update(BaseModel):
    """What Telegram posts."""

    update_id: int
    message: Message


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Connect."""
    limits = httpx.Limits(max_connections=1000, max_keepalive_connections=20)
    options = {"limits": limits, "timeout": httpx.Timeout(10, pool=30)}
    app.state.redis = Redis.from_url(os.environ["REDIS_URL"], max_connections=1000)
    app.state.take = app.state.redis.register_script(TAKE)
    async with (
        httpx.AsyncClient(base_url=SERVICES, **options) as app.state.services,
        httpx.AsyncClient(base_url=BOT, **options) as app.state.bot,
    ):
        yield
    await app.state.redis.aclose()


app = FastAPI(lifespan=lifespan, docs_url=None, openapi_url=None)


@app.post("/webhook/telegram")
async def webhook(
    update: Update,
    request: Request,
    background: BackgroundTasks,
    x_telegram_bot_api_secret_token: Annotated[str, Header()] = "",
) -> Response:
    """Answer at once, and work behind it."""
    if not hmac.compare_digest(x_telegram_bot_api_secret_token, SECRET):
        return Response(status_code=401)
    background.add_task(handle, request.app, update)
    return Response()


async def handle(app: FastAPI, update: Update) -> None:
    """Open the session, ask the service, answer, keep the session."""
    start = time.monotonic()
    message, user = update.message, update.message.sender
    state, redis = app.state, app.state.redis
    key = f"session:{user.id}"
    async with redis.pipeline(transaction=False) as pipe:
        await state.take([f"bucket:{user.id}"], [LIMIT, LIMIT], client=pipe)
        allowed, kept = await pipe.get(key).execute()
    if not allowed:
        return
    session = json.loads(kept) if kept else {"internal_user_id": "", "messages": 0}
    context = {
        "request_id": f"7-{update.update_id}",
        "update_id": update.update_id,
        "telegram_user_id": user.id,
        "internal_user_id": session["internal_user_id"],
        "chat_id": message.chat.id,
        "chat_type": message.chat.type,
        "language_code": user.language_code,
        "username": user.username,
        "first_name": user.first_name,
        "send_time": message.date,
    }
    if not session["internal_user_id"]:
        resolved = await post(state.services, "/users/resolve", {"context": context})
        context["internal_user_id"] = resolved["internal_user_id"]
        session["internal_user_id"] = resolved["internal_user_id"]
    said = {"message_id": message.message_id, "text": message.text}
    asked = {"context": context, "message": said}
    reply = await post(state.services, "/conversation/messages", asked)
    for answer in reply["messages"]:
        call = {"chat_id": message.chat.id, "text": answer["text"]}
        await post(state.bot, "/sendMessage", call)
    session["messages"] += 1
    await redis.set(key, json.dumps(session), ex=SESSION_SECONDS)
    logger.info(
        "update %s of user %s done in %.1f ms",
        update.update_id,
        user.id,
        (time.monotonic() - start) * 1000,
    )


async def post(
    client: httpx.AsyncClient, url: str, body: dict[str, object]
) -> dict[str, object]:
    """Post JSON and read JSON."""
    response = await client.post(url, json=body)
    response.raise_for_status()
    return response.json()
