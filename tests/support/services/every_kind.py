"""A made-up service that has an rpc for each kind of update.

Each takes the type that belongs to its kind, where there is one, and the JSON.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
from botgateway.chat.v1.reply_pb2 import Reply
from botgateway.route.v1.route_pb2 import Route
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.descriptor_pool import Default
from google.protobuf.message_factory import GetMessageClass
from grpc import aio

from tests.support.services.made_up import CONTEXT, JSON, MESSAGE, Rpc, a_service

CHAT = "botgateway.chat.v1"
PACKAGE = "botgateway.every_kind.v1"
TYPES = {
    "edited_message": MESSAGE,
    "channel_post": MESSAGE,
    "edited_channel_post": MESSAGE,
    "business_connection": f"{CHAT}.BusinessConnection",
    "business_message": MESSAGE,
    "edited_business_message": MESSAGE,
    "deleted_business_messages": "",
    "guest_message": MESSAGE,
    "message_reaction": f"{CHAT}.MessageReactionUpdate",
    "message_reaction_count": "",
    "inline_query": f"{CHAT}.InlineQuery",
    "chosen_inline_result": f"{CHAT}.ChosenInlineResult",
    "shipping_query": f"{CHAT}.ShippingQuery",
    "pre_checkout_query": f"{CHAT}.PreCheckoutQuery",
    "purchased_paid_media": "",
    "poll": "",
    "poll_answer": f"{CHAT}.PollAnswer",
    "my_chat_member": f"{CHAT}.ChatMemberUpdate",
    "chat_member": f"{CHAT}.ChatMemberUpdate",
    "chat_join_request": f"{CHAT}.ChatJoinRequest",
    "chat_boost": "",
    "removed_chat_boost": "",
    "managed_bot": "",
    "subscription": "",
    "stopped_message_generation": "",
    # Facts that Telegram tells in a message, and a kind that is not invented yet.
    "successful_payment": MESSAGE,
    "refunded_payment": MESSAGE,
    "hologram_call": "",
    "giveaway": MESSAGE,
    "game_short_name": f"{CHAT}.CallbackQuery",
    "web_app_data": f"{CHAT}.WebAppData",
    "users_shared": f"{CHAT}.UsersShared",
    "chat_shared": f"{CHAT}.ChatShared",
    "new_chat_members": f"{CHAT}.NewChatMembers",
    "left_chat_member": f"{CHAT}.LeftChatMember",
    "new_chat_title": f"{CHAT}.NewChatTitle",
    "pinned_message": f"{CHAT}.PinnedMessage",
    "migrate_to_chat_id": f"{CHAT}.ChatMigration",
    "migrate_from_chat_id": f"{CHAT}.ChatMigration",
    "write_access_allowed": f"{CHAT}.WriteAccessAllowed",
    "forum_topic_created": f"{CHAT}.ForumTopicCreated",
    "proximity_alert_triggered": f"{CHAT}.ProximityAlertTriggered",
    "boost_added": f"{CHAT}.ChatBoostAdded",
    "delete_chat_photo": "",
    "video_chat_started": "",
    "hologram_shared": "",
}
"""The kinds that are routed by their name, with the types that belong to them."""

OTHERS = (
    Rpc(
        (Route(callback="LOOK:{what}"),),
        {
            "context": CONTEXT,
            "what": "string",
            "query": f"{CHAT}.CallbackQuery",
            "json": JSON,
        },
        name="Press",
    ),
    Rpc(
        (Route(callback="PAY:{what}", signed=True),),
        {"context": CONTEXT, "what": "string", "query": f"{CHAT}.CallbackQuery"},
        name="Pay",
    ),
    Rpc(
        (Route(callback="P{what}"),),
        {"context": CONTEXT, "what": "string"},
        name="Play",
    ),
    Rpc(
        (Route(command="/look"),),
        {"context": CONTEXT, "message": MESSAGE, "json": JSON},
        name="Look",
    ),
)
"""Rpcs for buttons and a command, with all that their requests may hold."""

Answer = Callable[[str, Any], Awaitable[Reply]]


def every_kind() -> ServiceDescriptor:
    """Return the service; it is made once, in the program's own pool."""
    try:
        return Default().FindServiceByName(f"{PACKAGE}.EveryKindService")
    except KeyError:
        rpcs = [
            Rpc((Route(update_type=kind),), _request(kind), name=rpc_name(kind))
            for kind in TYPES
        ]
        return a_service(
            *rpcs, *OTHERS, name="EveryKindService", package=PACKAGE, pool=Default()
        )


def _request(kind: str) -> dict[str, str]:
    fields = {"context": CONTEXT, "json": JSON}
    return fields | {"details": TYPES[kind]} if TYPES[kind] else fields


def rpc_name(kind: str) -> str:
    """Return the name of the rpc that serves a kind."""
    return "".join(word.capitalize() for word in kind.split("_"))


class EveryKind(grpc.GenericRpcHandler):
    """Serves it: keeps what it was asked, and answers what a test says."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Any]] = []
        self.reply = Reply()
        self.fails = False
        self.hangs = False
        self.seconds_left = 0.0

    def service(
        self, handler_call_details: grpc.HandlerCallDetails
    ) -> "grpc.RpcMethodHandler[Any, Any] | None":
        """Find the rpc."""
        path = str(handler_call_details.method)
        _, service, name = path.split("/")
        if service != f"{PACKAGE}.EveryKindService":
            return None
        method = every_kind().methods_by_name[name]
        request = GetMessageClass(method.input_type)
        response = GetMessageClass(method.output_type)

        async def answer(asked: Any, context: aio.ServicerContext[Any, Any]) -> object:  # noqa: ANN401 - any request
            self.asked.append((name, asked))
            self.seconds_left = context.time_remaining()
            if self.fails:
                await context.abort(grpc.StatusCode.INTERNAL, "a hush text")
            if self.hangs:
                await asyncio.Event().wait()
            return response(reply=self.reply)

        handler: grpc.RpcMethodHandler[Any, Any] = grpc.unary_unary_rpc_method_handler(
            answer,
            request_deserializer=request.FromString,
            response_serializer=lambda message: message.SerializeToString(),
        )
        return handler
