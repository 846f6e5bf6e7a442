"""aiogram 3, as its documentation and examples have it."""

import logging
import os
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

import orjson
import uvloop
from aiogram import BaseMiddleware, Bot, Dispatcher, F, Router
from aiogram.client.session.aiohttp import AiohttpSession
from aiogram.client.telegram import TelegramAPIServer
from aiogram.fsm.context import FSMContext
from aiogram.fsm.storage.redis import RedisStorage
from aiogram.types import Message, TelegramObject, Update
from aiogram.webhook.aiohttp_server import SimpleRequestHandler, setup_application
from aiohttp import web
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

SESSION_SECONDS = 86_400
logger = logging.getLogger("bot")
router = Router()


class Throttling(BaseMiddleware):
    """Lets so many messages of a user through per second."""

    def __init__(self, redis: Redis, limit: int) -> None:
        self.redis = redis
        self.limit = limit

    async def __call__(
        self,
        handler: Callable[[TelegramObject, dict[str, Any]], Awaitable[Any]],
        event: TelegramObject,
        data: dict[str, Any],
    ) -> Any:  # noqa: ANN401 - aiogram's own signature
        """Count the message, and pass it on or drop it."""
        key = f"throttle:{data['event_from_user'].id}"
        async with self.redis.pipeline(transaction=False) as pipe:
            count, _ = await pipe.incr(key).expire(key, 1, nx=True).execute()
        return await handler(event, data) if count <= self.limit else None


@router.message(F.text)
async def on_text(
    message: Message,
    state: FSMContext,
    event_update: Update,
    conversation: ConversationServiceStub,
    profiles: ProfileServiceStub,
) -> None:
    """Open the session, ask the service, answer, keep the session."""
    start = time.monotonic()
    user = message.from_user
    session = await state.get_data()
    context = RequestContext(
        request_id=f"7-{event_update.update_id}",
        update_id=event_update.update_id,
        telegram_user_id=user.id,
        internal_user_id=session.get("internal_user_id", ""),
        chat_id=message.chat.id,
        chat_type=CHAT_TYPE_PRIVATE,
        language_code=user.language_code,
        username=user.username,
        first_name=user.first_name,
    )
    context.send_time.FromDatetime(message.date)
    if not context.internal_user_id:
        resolved = await profiles.ResolveUser(
            ResolveUserRequest(context=context), timeout=3
        )
        context.internal_user_id = resolved.internal_user_id
    said = IncomingMessage(message_id=message.message_id, text=message.text)
    response = await conversation.SendMessage(
        SendMessageRequest(context=context, message=said), timeout=10
    )
    for answer in response.reply.messages:
        await message.answer(answer.text)
    await state.set_data(
        {
            "internal_user_id": context.internal_user_id,
            "messages": session.get("messages", 0) + 1,
        }
    )
    logger.info(
        "update %s of user %s done in %.1f ms",
        event_update.update_id,
        user.id,
        (time.monotonic() - start) * 1000,
    )


async def connect(dispatcher: Dispatcher) -> None:
    """Open the channel to the services, inside of the loop."""
    channel = aio.insecure_channel(os.environ["SERVICES"])
    dispatcher["conversation"] = ConversationServiceStub(channel)
    dispatcher["profiles"] = ProfileServiceStub(channel)


def dumps(value: object) -> str:
    """Give JSON as text, as aiogram wants it."""
    return orjson.dumps(value).decode()


def main() -> None:
    """Serve."""
    logging.basicConfig(
        level=logging.WARNING,
        format="%(asctime)s %(levelname)s %(name)s %(message)s",
        stream=sys.stdout,
    )
    logger.setLevel(logging.INFO)
    storage = RedisStorage.from_url(
        os.environ["REDIS_URL"],
        state_ttl=SESSION_SECONDS,
        data_ttl=SESSION_SECONDS,
        json_loads=orjson.loads,
        json_dumps=dumps,
    )
    bot_api = TelegramAPIServer.from_base(os.environ["BOT_API"])
    session = AiohttpSession(
        api=bot_api, limit=1000, json_loads=orjson.loads, json_dumps=dumps
    )
    bot = Bot(os.environ["TOKEN"], session=session)
    dispatcher = Dispatcher(storage=storage)
    dispatcher.include_router(router)
    limit = int(os.environ["RATE_LIMIT_REQUESTS"])
    dispatcher.message.middleware(Throttling(storage.redis, limit))
    dispatcher.startup.register(connect)
    app = web.Application()
    SimpleRequestHandler(dispatcher, bot, secret_token=os.environ["SECRET"]).register(
        app, "/webhook/telegram"
    )
    setup_application(app, dispatcher, bot=bot)
    port = int(os.environ["PORT"])
    web.run_app(
        app,
        host="127.0.0.1",
        port=port,
        reuse_port=True,
        access_log=None,
        print=None,
        loop=uvloop.new_event_loop(),
    )


if __name__ == "__main__":
    main()
