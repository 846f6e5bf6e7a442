"""Converts the contents of updates to the messages that services get.

The content of an update is decoded only for a route that uses it, so a field of a wrong
type does not affect the other routes.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from botgateway.chat.v1 import message_pb2, update_pb2
from google.protobuf.message import Message as ContractMessage
from msgspec import MsgspecError, Raw, Struct, field
from msgspec.json import Decoder

from gateway.domain.errors import MalformedUpdate
from gateway.domain.update import MESSAGE_UPDATE_TYPES, PayloadDecoder
from gateway.telegram.inbound.content import Location, Message
from gateway.telegram.inbound.messages import (
    convert_location,
    convert_message,
    decode_referenced_message,
)
from gateway.telegram.inbound.payments import (
    OrderInfo,
    ShippingAddress,
    convert_order_info,
    convert_shipping_address,
)
from gateway.telegram.inbound.people import convert_user
from gateway.telegram.inbound.schema import Date, Int32, Int64, User


class _EditedMessage(Message, kw_only=True):
    edit_date: Date = 0


class _Reaction(Struct):
    type: str
    emoji: str = ""
    custom_emoji_id: str = ""


class _MessageReaction(Struct):
    message_id: Int64
    old_reaction: tuple[_Reaction, ...]
    new_reaction: tuple[_Reaction, ...]


class _PollAnswer(Struct):
    poll_id: str
    option_ids: tuple[Int32, ...]


class _InlineQuery(Struct):
    id: str
    query: str
    offset: str = ""
    chat_type: str = ""
    location: Location | None = None


class _ChosenInlineResult(Struct):
    result_id: str
    query: str
    inline_message_id: str = ""


class _PreCheckoutQuery(Struct):
    id: str
    currency: str
    total_amount: Int64
    invoice_payload: str
    shipping_option_id: str = ""
    order_info: OrderInfo | None = None


class _ShippingQuery(Struct):
    id: str
    invoice_payload: str
    shipping_address: ShippingAddress


class _CallbackQuery(Struct):
    id: str
    data: str = ""
    message: Raw = Raw()
    inline_message_id: str = ""
    game_short_name: str = ""
    chat_instance: str = ""


class _BusinessRights(Struct):
    can_reply: bool = False


class _BusinessConnection(Struct):
    id: str
    user_chat_id: Int64
    is_enabled: bool
    rights: _BusinessRights = field(default_factory=_BusinessRights)


class _WebAppData(Struct):
    data: str
    button_text: str = ""


class _SharedUser(Struct):
    user_id: Int64
    first_name: str = ""
    last_name: str = ""
    username: str = ""


class _UsersShared(Struct):
    request_id: Int32
    users: tuple[_SharedUser, ...]


class _ChatShared(Struct):
    request_id: Int32
    chat_id: Int64
    title: str = ""
    username: str = ""


class _WriteAccessAllowed(Struct):
    from_request: bool = False
    web_app_name: str = ""
    from_attachment_menu: bool = False


class _ForumTopicCreated(Struct):
    name: str
    icon_color: Int32 = 0
    icon_custom_emoji_id: str = ""


class _ProximityAlertTriggered(Struct):
    traveler: User
    watcher: User
    distance: Int32


class _ChatBoostAdded(Struct):
    boost_count: Int32


class _ChatInviteLink(Struct):
    invite_link: str
    name: str = ""


class _ChatJoinRequest(Struct):
    user_chat_id: Int64
    bio: str = ""
    invite_link: _ChatInviteLink | None = None


class _ChatMember(Struct):
    status: str
    user: User


class _ChatMemberUpdate(Struct):
    old_member: _ChatMember = field(name="old_chat_member")
    new_member: _ChatMember = field(name="new_chat_member")


def _convert_edited_message(
    message: _EditedMessage,
) -> message_pb2.IncomingMessage | None:
    content = convert_message(message)
    if content is not None and message.edit_date:
        content.edit_time.seconds = message.edit_date
    return content


def _convert_message_reaction(
    reactions: _MessageReaction,
) -> update_pb2.MessageReactionUpdate:
    return update_pb2.MessageReactionUpdate(
        message_id=reactions.message_id,
        old_reactions=[_convert_reaction(each) for each in reactions.old_reaction],
        new_reactions=[_convert_reaction(each) for each in reactions.new_reaction],
    )


def _convert_reaction(reaction: _Reaction) -> update_pb2.Reaction:
    match reaction.type:
        case "emoji":
            return update_pb2.Reaction(emoji=reaction.emoji)
        case "custom_emoji":
            return update_pb2.Reaction(custom_emoji_id=reaction.custom_emoji_id)
        case "paid":
            return update_pb2.Reaction(paid=True)
        case _:
            return update_pb2.Reaction()


def _convert_poll_answer(answer: _PollAnswer) -> update_pb2.PollAnswer:
    return update_pb2.PollAnswer(poll_id=answer.poll_id, option_ids=answer.option_ids)


def _convert_inline_query(query: _InlineQuery) -> update_pb2.InlineQuery:
    location = query.location
    return update_pb2.InlineQuery(
        inline_query_id=query.id,
        query=query.query,
        offset=query.offset,
        chat_type=query.chat_type or None,
        location=None if location is None else convert_location(location),
    )


def _convert_chosen_inline_result(
    result: _ChosenInlineResult,
) -> update_pb2.ChosenInlineResult:
    return update_pb2.ChosenInlineResult(
        result_id=result.result_id,
        query=result.query,
        inline_message_id=result.inline_message_id or None,
    )


def _convert_callback_query(query: _CallbackQuery) -> update_pb2.CallbackQuery:
    return update_pb2.CallbackQuery(
        callback_query_id=query.id,
        data=query.data or None,
        message=decode_referenced_message(query.message).content
        if query.message
        else None,
        inline_message_id=query.inline_message_id or None,
        game_short_name=query.game_short_name or None,
        chat_instance=query.chat_instance,
    )


def _convert_business_connection(
    connection: _BusinessConnection,
) -> update_pb2.BusinessConnection:
    return update_pb2.BusinessConnection(
        business_connection_id=connection.id,
        user_chat_id=connection.user_chat_id,
        is_enabled=connection.is_enabled,
        can_reply=connection.rights.can_reply,
    )


def _convert_web_app_data(data: _WebAppData) -> update_pb2.WebAppData:
    return update_pb2.WebAppData(data=data.data, button_text=data.button_text)


def _convert_users_shared(shared: _UsersShared) -> update_pb2.UsersShared:
    return update_pb2.UsersShared(
        request_id=shared.request_id,
        users=[
            update_pb2.SharedUser(
                telegram_user_id=user.user_id,
                first_name=user.first_name or None,
                last_name=user.last_name or None,
                username=user.username or None,
            )
            for user in shared.users
        ],
    )


def _convert_chat_shared(shared: _ChatShared) -> update_pb2.ChatShared:
    return update_pb2.ChatShared(
        request_id=shared.request_id,
        chat_id=shared.chat_id,
        title=shared.title or None,
        username=shared.username or None,
    )


def _convert_new_members(users: tuple[User, ...]) -> update_pb2.NewChatMembers:
    members = [convert_user(user) for user in users]
    return update_pb2.NewChatMembers(members=members)


def _convert_left_member(user: User) -> update_pb2.LeftChatMember:
    return update_pb2.LeftChatMember(member=convert_user(user))


def _convert_new_title(title: str) -> update_pb2.NewChatTitle:
    return update_pb2.NewChatTitle(title=title)


def _convert_pinned_message(message: Raw) -> update_pb2.PinnedMessage:
    return update_pb2.PinnedMessage(message=decode_referenced_message(message))


def _convert_migration(chat_id: int) -> update_pb2.ChatMigration:
    return update_pb2.ChatMigration(chat_id=chat_id)


def _convert_write_access(access: _WriteAccessAllowed) -> update_pb2.WriteAccessAllowed:
    return update_pb2.WriteAccessAllowed(
        from_request=access.from_request,
        web_app_name=access.web_app_name or None,
        from_attachment_menu=access.from_attachment_menu,
    )


def _convert_forum_topic(topic: _ForumTopicCreated) -> update_pb2.ForumTopicCreated:
    return update_pb2.ForumTopicCreated(
        name=topic.name,
        icon_color=topic.icon_color,
        icon_custom_emoji_id=topic.icon_custom_emoji_id or None,
    )


def _convert_proximity_alert(
    alert: _ProximityAlertTriggered,
) -> update_pb2.ProximityAlertTriggered:
    return update_pb2.ProximityAlertTriggered(
        traveler=convert_user(alert.traveler),
        watcher=convert_user(alert.watcher),
        distance_meters=alert.distance,
    )


def _convert_boost_added(boosts: _ChatBoostAdded) -> update_pb2.ChatBoostAdded:
    return update_pb2.ChatBoostAdded(boost_count=boosts.boost_count)


def _convert_pre_checkout_query(
    query: _PreCheckoutQuery,
) -> update_pb2.PreCheckoutQuery:
    order = query.order_info
    return update_pb2.PreCheckoutQuery(
        pre_checkout_query_id=query.id,
        currency=query.currency,
        total_amount=query.total_amount,
        invoice_payload=query.invoice_payload,
        shipping_option_id=query.shipping_option_id or None,
        order_info=None if order is None else convert_order_info(order),
    )


def _convert_shipping_query(query: _ShippingQuery) -> update_pb2.ShippingQuery:
    return update_pb2.ShippingQuery(
        shipping_query_id=query.id,
        invoice_payload=query.invoice_payload,
        shipping_address=convert_shipping_address(query.shipping_address),
    )


def _convert_join_request(request: _ChatJoinRequest) -> update_pb2.ChatJoinRequest:
    link = request.invite_link
    return update_pb2.ChatJoinRequest(
        bio=request.bio or None,
        user_chat_id=request.user_chat_id,
        invite_link_name=(link.name or None) if link else None,
        invite_link=link.invite_link if link else None,
    )


def _convert_chat_member_update(
    change: _ChatMemberUpdate,
) -> update_pb2.ChatMemberUpdate:
    return update_pb2.ChatMemberUpdate(
        telegram_user_id=change.new_member.user.id,
        old_status=change.old_member.status,
        new_status=change.new_member.status,
    )


_MESSAGE_DECODER = (Decoder(_EditedMessage), _convert_edited_message)
_CHAT_MEMBER_DECODER = (Decoder(_ChatMemberUpdate), _convert_chat_member_update)
_MIGRATION_DECODER = (Decoder(Int64), _convert_migration)
_DecoderAndConverter = tuple[Decoder[Any], Callable[[Any], ContractMessage | None]]

_CONVERTERS: dict[str, _DecoderAndConverter] = {
    "message_reaction": (Decoder(_MessageReaction), _convert_message_reaction),
    "poll_answer": (Decoder(_PollAnswer), _convert_poll_answer),
    "inline_query": (Decoder(_InlineQuery), _convert_inline_query),
    "chosen_inline_result": (
        Decoder(_ChosenInlineResult),
        _convert_chosen_inline_result,
    ),
    "pre_checkout_query": (Decoder(_PreCheckoutQuery), _convert_pre_checkout_query),
    "shipping_query": (Decoder(_ShippingQuery), _convert_shipping_query),
    "chat_join_request": (Decoder(_ChatJoinRequest), _convert_join_request),
    "my_chat_member": _CHAT_MEMBER_DECODER,
    "chat_member": _CHAT_MEMBER_DECODER,
    "callback_query": (Decoder(_CallbackQuery), _convert_callback_query),
    "business_connection": (Decoder(_BusinessConnection), _convert_business_connection),
    "web_app_data": (Decoder(_WebAppData), _convert_web_app_data),
    "users_shared": (Decoder(_UsersShared), _convert_users_shared),
    "chat_shared": (Decoder(_ChatShared), _convert_chat_shared),
    "new_chat_members": (Decoder(tuple[User, ...]), _convert_new_members),
    "left_chat_member": (Decoder(User), _convert_left_member),
    "new_chat_title": (Decoder(str), _convert_new_title),
    "pinned_message": (Decoder(Raw), _convert_pinned_message),
    "migrate_to_chat_id": _MIGRATION_DECODER,
    "migrate_from_chat_id": _MIGRATION_DECODER,
    "write_access_allowed": (Decoder(_WriteAccessAllowed), _convert_write_access),
    "forum_topic_created": (Decoder(_ForumTopicCreated), _convert_forum_topic),
    "proximity_alert_triggered": (
        Decoder(_ProximityAlertTriggered),
        _convert_proximity_alert,
    ),
    "boost_added": (Decoder(_ChatBoostAdded), _convert_boost_added),
    **dict.fromkeys(MESSAGE_UPDATE_TYPES, _MESSAGE_DECODER),
}


def _decode(
    name: str,
    decoder: Decoder[Any],
    convert: Callable[[Any], ContractMessage | None],
    json: Raw,
) -> ContractMessage | None:
    try:
        return convert(decoder.decode(json))
    except (MsgspecError, RecursionError):
        # The library's error may quote a user's text.
        raise MalformedUpdate(f"{name} cannot be read") from None


PAYLOAD_DECODERS: dict[str, PayloadDecoder] = {
    name: partial(_decode, name, decoder, convert)
    for name, (decoder, convert) in _CONVERTERS.items()
}
"""The decoder of each update type and message content that has a contract type.

A message without a text and an attachment is decoded as None.
"""
