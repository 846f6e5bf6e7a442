"""python-telegram-bot 22, as its documentation and wiki have it."""

import asyncio
import json
import logging
import os
import sys
import time

import httpx
import uvloop
from botgateway.chat.v1.context_pb2 import CHAT_TYPE_PRIVATE, RequestContext
from botgateway.chat.v1.message_pb2 import IncomingMessage
from botgateway.conversation.v1.conversation_service_pb2 import SendMessageRequest
from botgateway.conversation.v1.conversation_service_pb2_grpc import (
    ConversationServiceStub,
)
from botgateway.profile.v1.profile_service_pb2 import ResolveUserRequest
from botgateway.profile.v1.profile_service_pb2_grpc import ProfileServiceStub
from grpc import aio
from redis.asyncio import Redis
from telegram import Update
from telegram.ext import (
    Application,
    ApplicationBuilder,
    ContextTypes,
    MessageHandler,
    filters,
)
from telegram.request import HTTPXRequest

SESSION_SECONDS = 86_400
# httpx looks at all idle connections for each request: few are kept, its own default.
LIMITS = httpx.Limits(max_connections=256, max_keepalive_connections=20)
logger = logging.getLogger("bot")


async def connect(application: Application) -> None:
    """Open the connections, inside of the loop."""
    channel = aio.insecure_channel(os.environ["SERVICES"])
    redis = Redis.from_url(os.environ["REDIS_URL"], max_connections=1000)
    application.bot_data["conversation"] = ConversationServiceStub(channel)
    application.bot_data["profiles"] = ProfileServiceStub(channel)
    application.bot_data["redis"] = redis


async def on_text(update: Update, context: ContextTypes.DEFAULT_TYPE) -> None:
    """Open the session, ask the service, answer, keep the session."""
    start = time.monotonic()
    user, message, found = (
        update.effective_user,
        update.effective_message,
        context.bot_data,
    )
    key = f"session:{user.id}"
    kept = await found["redis"].get(key)
    session = json.loads(kept) if kept else {"internal_user_id": "", "messages": 0}
    asks = RequestContext(
        request_id=f"7-{update.update_id}",
        update_id=update.update_id,
        telegram_user_id=user.id,
        internal_user_id=session["internal_user_id"],
        chat_id=message.chat_id,
        chat_type=CHAT_TYPE_PRIVATE,
        language_code=user.language_code,
        username=user.username,
        first_name=user.first_name,
    )
    asks.send_time.FromDatetime(message.date)
    if not asks.internal_user_id:
        resolved = await found["profiles"].ResolveUser(
            ResolveUserRequest(context=asks), timeout=3
        )
        asks.internal_user_id = resolved.internal_user_id
        session["internal_user_id"] = resolved.internal_user_id
    said = IncomingMessage(message_id=message.message_id, text=message.text)
    response = await found["conversation"].SendMessage(
        SendMessageRequest(context=asks, message=said), timeout=10
    )
    for answer in response.reply.messages:
        await context.bot.send_message(message.chat_id, answer.text)
    session["messages"] += 1
    await found["redis"].set(key, json.dumps(session), ex=SESSION_SECONDS)
    logger.info(
        "update %s of user %s done in %.1f ms",
        update.update_id,
        user.id,
        (time.monotonic() - start) * 1000,
    )


def main() -> None:
    """Serve."""
    logging.basicConfig(
        level=logging.WARNING,
        format="%(asctime)s %(levelname)s %(name)s %(message)s",
        stream=sys.stdout,
    )
    logger.setLevel(logging.INFO)
    asyncio.set_event_loop(uvloop.new_event_loop())
    application = (
        ApplicationBuilder()
        .token(os.environ["TOKEN"])
        .base_url(f"{os.environ['BOT_API']}/bot")
        .concurrent_updates(256)
        .request(HTTPXRequest(pool_timeout=30, httpx_kwargs={"limits": LIMITS}))
        .post_init(connect)
        .build()
    )
    application.add_handler(MessageHandler(filters.TEXT, on_text))
    application.run_webhook(
        listen="127.0.0.1",
        port=int(os.environ["PORT"]),
        url_path="webhook/telegram",
        secret_token=os.environ["SECRET"],
        webhook_url="https://bot.example/webhook/telegram",
    )


if __name__ == "__main__":
    main()
