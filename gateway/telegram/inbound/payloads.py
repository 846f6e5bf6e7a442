"""What updates hold that are neither messages nor pressed buttons.

Read late and only for routes that want it: a part of a wrong type does no harm to
those that do not.
"""

from collections.abc import Callable
from typing import Any

from botgateway.chat.v1 import message_pb2, update_pb2
from google.protobuf.message import Message as ContractMessage
from msgspec import MsgspecError, Raw, Struct, field
from msgspec.json import Decoder

from gateway.domain.errors import MalformedUpdate
from gateway.telegram.inbound.content import Location, Message
from gateway.telegram.inbound.messages import (
    contract_location,
    incoming_message,
    referenced_message,
)
from gateway.telegram.inbound.payments import (
    Address,
    Order,
    order_info,
    shipping_address,
)
from gateway.telegram.inbound.people import contract_user
from gateway.telegram.inbound.schema import Date, Int32, Int64, User


class _Edited(Message, kw_only=True):
    edit_date: Date = 0


class _Reaction(Struct):
    type: str
    emoji: str = ""
    custom_emoji_id: str = ""


class _Reactions(Struct):
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


class _ChosenResult(Struct):
    result_id: str
    query: str
    inline_message_id: str = ""


class _PreCheckout(Struct):
    id: str
    currency: str
    total_amount: Int64
    invoice_payload: str
    shipping_option_id: str = ""
    order_info: Order | None = None


class _Shipping(Struct):
    id: str
    invoice_payload: str
    shipping_address: Address


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


class _WriteAccess(Struct):
    from_request: bool = False
    web_app_name: str = ""
    from_attachment_menu: bool = False


class _ForumTopic(Struct):
    name: str
    icon_color: Int32 = 0
    icon_custom_emoji_id: str = ""


class _ProximityAlert(Struct):
    traveler: User
    watcher: User
    distance: Int32


class _Boosts(Struct):
    boost_count: Int32


class _InviteLink(Struct):
    invite_link: str
    name: str = ""


class _JoinRequest(Struct):
    user_chat_id: Int64
    bio: str = ""
    invite_link: _InviteLink | None = None


class _Member(Struct):
    status: str
    user: User


class _Membership(Struct):
    old: _Member = field(name="old_chat_member")
    new: _Member = field(name="new_chat_member")


def read_details(name: str, json: Raw) -> ContractMessage | None:
    """Read what an update holds, as the type of chat/v1 that belongs to its kind.

    Args:
        name: one of `READERS`.
        json: what stands under that name, in the update or in its message.

    Returns:
        None for a service message, which has no content.

    Raises:
        Malformed: a part that is read has a wrong type.
    """
    decoder, convert = READERS[name]
    try:
        return convert(decoder.decode(json))
    except (MsgspecError, RecursionError):
        # The foreign error may quote what a user wrote.
        raise MalformedUpdate(f"{name} cannot be read") from None


def _message(message: _Edited) -> message_pb2.IncomingMessage | None:
    content = incoming_message(message)
    if content is not None and message.edit_date:
        content.edit_time.seconds = message.edit_date
    return content


def _reactions(reactions: _Reactions) -> update_pb2.MessageReaction:
    return update_pb2.MessageReaction(
        message_id=reactions.message_id,
        old_reactions=[_reaction(each) for each in reactions.old_reaction],
        new_reactions=[_reaction(each) for each in reactions.new_reaction],
    )


def _reaction(reaction: _Reaction) -> update_pb2.Reaction:
    match reaction.type:
        case "emoji":
            return update_pb2.Reaction(emoji=reaction.emoji)
        case "custom_emoji":
            return update_pb2.Reaction(custom_emoji_id=reaction.custom_emoji_id)
        case "paid":
            return update_pb2.Reaction(paid=True)
        case _:
            return update_pb2.Reaction()


def _poll_answer(answer: _PollAnswer) -> update_pb2.PollAnswer:
    return update_pb2.PollAnswer(poll_id=answer.poll_id, option_ids=answer.option_ids)


def _inline_query(query: _InlineQuery) -> update_pb2.InlineQuery:
    place = query.location
    return update_pb2.InlineQuery(
        inline_query_id=query.id,
        query=query.query,
        offset=query.offset,
        chat_type=query.chat_type,
        location=None if place is None else contract_location(place),
    )


def _chosen_result(result: _ChosenResult) -> update_pb2.ChosenInlineResult:
    return update_pb2.ChosenInlineResult(
        result_id=result.result_id,
        query=result.query,
        inline_message_id=result.inline_message_id,
    )


def _callback_query(query: _CallbackQuery) -> update_pb2.CallbackQuery:
    return update_pb2.CallbackQuery(
        callback_query_id=query.id,
        data=query.data,
        message=referenced_message(query.message).content if query.message else None,
        inline_message_id=query.inline_message_id,
        game_short_name=query.game_short_name,
        chat_instance=query.chat_instance,
    )


def _business_connection(
    connection: _BusinessConnection,
) -> update_pb2.BusinessConnection:
    return update_pb2.BusinessConnection(
        business_connection_id=connection.id,
        user_chat_id=connection.user_chat_id,
        is_enabled=connection.is_enabled,
        can_reply=connection.rights.can_reply,
    )


def _web_app_data(data: _WebAppData) -> update_pb2.WebAppData:
    return update_pb2.WebAppData(data=data.data, button_text=data.button_text)


def _users_shared(shared: _UsersShared) -> update_pb2.UsersShared:
    return update_pb2.UsersShared(
        request_id=shared.request_id,
        users=[
            update_pb2.SharedUser(
                telegram_user_id=user.user_id,
                first_name=user.first_name,
                last_name=user.last_name,
                username=user.username,
            )
            for user in shared.users
        ],
    )


def _chat_shared(shared: _ChatShared) -> update_pb2.ChatShared:
    return update_pb2.ChatShared(
        request_id=shared.request_id,
        chat_id=shared.chat_id,
        title=shared.title,
        username=shared.username,
    )


def _new_members(users: tuple[User, ...]) -> update_pb2.NewChatMembers:
    members = [contract_user(user) for user in users]
    return update_pb2.NewChatMembers(members=members)


def _left_member(user: User) -> update_pb2.LeftChatMember:
    return update_pb2.LeftChatMember(member=contract_user(user))


def _new_title(title: str) -> update_pb2.NewChatTitle:
    return update_pb2.NewChatTitle(title=title)


def _pinned(message: Raw) -> update_pb2.PinnedMessage:
    return update_pb2.PinnedMessage(message=referenced_message(message))


def _migration(chat_id: int) -> update_pb2.ChatMigration:
    return update_pb2.ChatMigration(chat_id=chat_id)


def _write_access(access: _WriteAccess) -> update_pb2.WriteAccessAllowed:
    return update_pb2.WriteAccessAllowed(
        from_request=access.from_request,
        web_app_name=access.web_app_name,
        from_attachment_menu=access.from_attachment_menu,
    )


def _forum_topic(topic: _ForumTopic) -> update_pb2.ForumTopicCreated:
    return update_pb2.ForumTopicCreated(
        name=topic.name,
        icon_color=topic.icon_color,
        icon_custom_emoji_id=topic.icon_custom_emoji_id,
    )


def _proximity_alert(alert: _ProximityAlert) -> update_pb2.ProximityAlertTriggered:
    return update_pb2.ProximityAlertTriggered(
        traveler=contract_user(alert.traveler),
        watcher=contract_user(alert.watcher),
        distance_meters=alert.distance,
    )


def _boosts(boosts: _Boosts) -> update_pb2.ChatBoostAdded:
    return update_pb2.ChatBoostAdded(boost_count=boosts.boost_count)


def _pre_checkout(query: _PreCheckout) -> update_pb2.PreCheckoutQuery:
    order = query.order_info
    return update_pb2.PreCheckoutQuery(
        pre_checkout_query_id=query.id,
        currency=query.currency,
        total_amount=query.total_amount,
        invoice_payload=query.invoice_payload,
        shipping_option_id=query.shipping_option_id,
        order_info=None if order is None else order_info(order),
    )


def _shipping(query: _Shipping) -> update_pb2.ShippingQuery:
    return update_pb2.ShippingQuery(
        shipping_query_id=query.id,
        invoice_payload=query.invoice_payload,
        shipping_address=shipping_address(query.shipping_address),
    )


def _join_request(request: _JoinRequest) -> update_pb2.JoinRequest:
    link = request.invite_link
    return update_pb2.JoinRequest(
        bio=request.bio,
        user_chat_id=request.user_chat_id,
        invite_link_name=link.name if link else "",
        invite_link=link.invite_link if link else "",
    )


def _membership(change: _Membership) -> update_pb2.Membership:
    return update_pb2.Membership(
        telegram_user_id=change.new.user.id,
        old_status=change.old.status,
        new_status=change.new.status,
    )


_MESSAGES = (
    "edited_message",
    "channel_post",
    "edited_channel_post",
    "business_message",
    "edited_business_message",
    "guest_message",
)

_MESSAGE_READER = (Decoder(_Edited), _message)
_MEMBERSHIP_READER = (Decoder(_Membership), _membership)
_MIGRATION_READER = (Decoder(Int64), _migration)
_Reader = tuple[Decoder[Any], Callable[[Any], ContractMessage | None]]

READERS: dict[str, _Reader] = {
    "message_reaction": (Decoder(_Reactions), _reactions),
    "poll_answer": (Decoder(_PollAnswer), _poll_answer),
    "inline_query": (Decoder(_InlineQuery), _inline_query),
    "chosen_inline_result": (Decoder(_ChosenResult), _chosen_result),
    "pre_checkout_query": (Decoder(_PreCheckout), _pre_checkout),
    "shipping_query": (Decoder(_Shipping), _shipping),
    "chat_join_request": (Decoder(_JoinRequest), _join_request),
    "my_chat_member": _MEMBERSHIP_READER,
    "chat_member": _MEMBERSHIP_READER,
    "callback_query": (Decoder(_CallbackQuery), _callback_query),
    "business_connection": (Decoder(_BusinessConnection), _business_connection),
    "web_app_data": (Decoder(_WebAppData), _web_app_data),
    "users_shared": (Decoder(_UsersShared), _users_shared),
    "chat_shared": (Decoder(_ChatShared), _chat_shared),
    "new_chat_members": (Decoder(tuple[User, ...]), _new_members),
    "left_chat_member": (Decoder(User), _left_member),
    "new_chat_title": (Decoder(str), _new_title),
    "pinned_message": (Decoder(Raw), _pinned),
    "migrate_to_chat_id": _MIGRATION_READER,
    "migrate_from_chat_id": _MIGRATION_READER,
    "write_access_allowed": (Decoder(_WriteAccess), _write_access),
    "forum_topic_created": (Decoder(_ForumTopic), _forum_topic),
    "proximity_alert_triggered": (Decoder(_ProximityAlert), _proximity_alert),
    "boost_added": (Decoder(_Boosts), _boosts),
    **dict.fromkeys(_MESSAGES, _MESSAGE_READER),
}
"""How each kind of update, and each content of messages, is read that has a type."""
