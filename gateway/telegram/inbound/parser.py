"""Parses the body of a webhook request, or of a polled update, to an Update."""

from typing import Any

import msgspec
from botgateway.chat.v1.context_pb2 import CHAT_TYPE_UNSPECIFIED, RequestContext
from botgateway.chat.v1.message_pb2 import IncomingMessage
from botgateway.route.v1.event_pb2 import (
    EVENT_USER_BLOCKED_BOT,
    EVENT_USER_UNBLOCKED_BOT,
    Event,
)
from msgspec import MsgspecError, Raw, structs
from msgspec.json import Decoder

from gateway.domain.errors import MalformedUpdate
from gateway.domain.update import (
    NAMED_ATTACHMENTS,
    PAYMENT_CONTENTS,
    BotEvent,
    ButtonPress,
    Command,
    OtherUpdate,
    ServiceMessage,
    StoppedReply,
    Update,
    UserMessage,
)
from gateway.telegram.inbound.command_parser import ParsedCommand, parse_command
from gateway.telegram.inbound.content import Message
from gateway.telegram.inbound.headers import (
    ChatMemberHeader,
    StoppedGenerationHeader,
    UnknownHeader,
)
from gateway.telegram.inbound.messages import convert_message
from gateway.telegram.inbound.ordering import find_human_sender, find_ordering_key
from gateway.telegram.inbound.payloads import PAYLOAD_DECODERS
from gateway.telegram.inbound.people import CHAT_TYPES, convert_chat
from gateway.telegram.inbound.references import decode_user_or_none
from gateway.telegram.inbound.routable_contents import (
    GAME_FIELD,
    find_service_content,
)
from gateway.telegram.inbound.schema import (
    CallbackQuery,
    Chat,
    UpdateHeader,
    UpdateId,
    UpdateOrigin,
    User,
)
from gateway.telegram.inbound.update_types import UNKNOWN_TYPE, UPDATE_TYPES, UpdateType

_fields_decoder = Decoder(dict[str, Raw])
_update_id_decoder = Decoder(UpdateId)


class UpdateParser:
    """Parses the updates of one bot, as far as the gateway needs their fields.

    Args:
        bot_id: the id of the bot.
        bot_name: the name of the bot at this gateway, or an empty string if it has
            none.
        allow_bots: False to mark the messages and actions of other bots as unwanted;
            True to process them.

    Attributes:
        bot_username: the bot's username without "@", in upper or lower case. It is None
            while it is unknown; until then, every command that names a bot is treated
            as a command for this bot.
    """

    def __init__(
        self, bot_id: int, bot_name: str = "", *, allow_bots: bool = False
    ) -> None:
        self._bot_id = bot_id
        self._bot_name = bot_name
        self._ordering_prefix = f"{bot_id}/"
        self._allow_bots = allow_bots
        self.bot_username: str | None = None

    def parse(self, body: bytes, arrived_at: float) -> Update:
        """Parse one update.

        Args:
            body: the body of the webhook request, or the JSON that getUpdates returned.
            arrived_at: the arrival time, in seconds since the epoch.

        Returns:
            The update. It is marked as unwanted if it is from another bot and
            `allow_bots` is false, unless it only reports an event.

        Raises:
            MalformedUpdate: the body is not an update, or it is an update of a known
                type in which a field that is decoded immediately has a wrong type. An
                update of an unknown type may have any content.
        """
        try:
            update_id, name, value, update_type, header = _decode_update(body)
        except (MsgspecError, RecursionError):
            # The library's error may quote a user's text.
            raise MalformedUpdate("not a readable update") from None
        origin = header.get_origin()
        user = find_human_sender(origin)
        ordering_key = self._ordering_prefix + find_ordering_key(
            update_type.name, header, user, origin.chat
        )
        context = self._build_context(update_id, origin, user, arrived_at)
        update: Update
        match header:
            case Message():
                update = self._parse_message(
                    header, value, update_id, ordering_key, context
                )
            case CallbackQuery():
                update = _parse_callback_query(
                    header, value, update_id, ordering_key, context
                )
            case StoppedGenerationHeader(draft_id=int(draft_id)):
                update = StoppedReply(
                    update_id=update_id,
                    update_type=update_type.name,
                    ordering_key=ordering_key,
                    context=context,
                    trigger_name=name,
                    payload=value,
                    bypasses_limits=update_type.bypasses_limits,
                    draft_id=draft_id,
                )
            case ChatMemberHeader() if event := _detect_event(update_type, header):
                update = BotEvent(
                    update_id=update_id,
                    update_type=update_type.name,
                    ordering_key=ordering_key,
                    context=context,
                    trigger_name=name,
                    payload=value,
                    payload_decoder=PAYLOAD_DECODERS[update_type.name],
                    bypasses_limits=update_type.bypasses_limits,
                    event=event,
                )
            case _:
                ttl_seconds = header.ttl_seconds or update_type.ttl_seconds
                update = OtherUpdate(
                    update_id=update_id,
                    update_type=update_type.name,
                    ordering_key=ordering_key,
                    context=context,
                    trigger_name=name,
                    payload=value,
                    payload_decoder=PAYLOAD_DECODERS.get(name) if name else None,
                    query_id=header.pending_query_id,
                    reply_chat_id=header.reply_chat_id,
                    bypasses_limits=update_type.bypasses_limits,
                    ttl_seconds=ttl_seconds,
                    answer_deadline=arrived_at + ttl_seconds if ttl_seconds else None,
                )
        if context.is_bot and not self._allow_bots and not _is_notification(update):
            return structs.replace(update, is_unwanted=True)
        return update

    def _build_context(
        self, update_id: int, origin: UpdateOrigin, user: User | None, arrived_at: float
    ) -> RequestContext:
        """Build the context of an update: who acted, where and when."""
        context = RequestContext()
        context.request_id = f"{self._bot_id}-{update_id}"
        context.bot.id = self._bot_id
        if self._bot_name:
            context.bot.name = self._bot_name
        context.update_id = update_id
        context.send_time.seconds = origin.occurred_at or int(arrived_at)
        if origin.chat is not None:
            _set_chat(context, origin.chat)
        if user is not None:
            _set_user(context, user)
            if user.is_bot or origin.is_by_bot:
                context.is_bot = True
        if thread_id := origin.topic_id:
            context.message_thread_id = thread_id
        if connection_id := origin.connection_id:
            context.business_connection_id = connection_id
        if message_id := origin.message_id:
            context.message_id = message_id
        if topic := origin.direct_messages_topic_id:
            context.direct_messages_topic_id = topic
        if origin.represented_chat is not None:
            context.sender_chat.CopyFrom(convert_chat(origin.represented_chat))
        return context

    def _parse_message(
        self,
        message: Message,
        value: Raw,
        update_id: int,
        ordering_key: str,
        context: RequestContext,
    ) -> UserMessage | Command | ServiceMessage:
        """Parse a message and detect commands."""
        content = convert_message(message)
        if content is None:
            return _parse_service_message(
                message, value, update_id, ordering_key, context
            )
        ephemeral_message_id = message.ephemeral_message_id
        command = None
        if message.text.startswith("/") and self._is_written_by_sender(
            message, content
        ):
            command = parse_command(message.text)
        if command is not None:
            if not self._is_for_this_bot(command):
                return ServiceMessage(
                    update_id=update_id,
                    update_type="message",
                    ordering_key=ordering_key,
                    context=context,
                    payload=value,
                    ephemeral_message_id=ephemeral_message_id,
                )
            return Command(
                update_id=update_id,
                update_type="message",
                ordering_key=ordering_key,
                context=context,
                payload=value,
                ephemeral_message_id=ephemeral_message_id,
                message=content,
                name=command.name,
                arguments=command.arguments,
                mentions_bot=command.bot_username is not None,
            )
        name, json = None, value
        if not message.text:
            name, json = _find_routable_attachment(message, value)
        return UserMessage(
            update_id=update_id,
            update_type="message",
            ordering_key=ordering_key,
            context=context,
            trigger_name=name,
            payload=json,
            message_payload=value if name else None,
            ephemeral_message_id=ephemeral_message_id,
            bypasses_limits=name in PAYMENT_CONTENTS,
            message=content,
        )

    def _is_written_by_sender(self, message: Message, content: IncomingMessage) -> bool:
        """Return whether the sender wrote it, or this bot in inline mode.

        Otherwise the author of a forwarded message or another bot in inline mode could
        choose the command.
        """
        if content.HasField("forward_origin"):
            return False
        if not message.via_bot:
            return True
        bot = decode_user_or_none(message.via_bot)
        return bot is not None and bot.id == self._bot_id

    def _is_for_this_bot(self, command: ParsedCommand) -> bool:
        """Return whether a command is not meant for another bot of the group."""
        named_bot = command.bot_username
        return (
            named_bot is None
            or self.bot_username is None
            or named_bot.lower() == self.bot_username.lower()
        )


def _set_chat(context: RequestContext, chat: Chat) -> None:
    """Set the chat. Empty fields are skipped: most chats have only an id and a type."""
    context.chat_id = chat.id
    context.chat_type = CHAT_TYPES.get(chat.type, CHAT_TYPE_UNSPECIFIED)
    if chat.title:
        context.chat_title = chat.title
    if chat.username and chat.type != "private":
        context.chat_username = chat.username
    if chat.is_forum:
        context.chat_is_forum = True
    if chat.is_direct_messages:
        context.chat_is_direct_messages = True


def _set_user(context: RequestContext, user: User) -> None:
    """Set the user who acted."""
    context.telegram_user_id = user.id
    if user.first_name:
        context.first_name = user.first_name
    if user.language_code:
        context.language_code = user.language_code
    if user.username:
        context.username = user.username
    if user.last_name:
        context.last_name = user.last_name
    if user.is_premium:
        context.is_premium = True


def _decode_update(
    body: bytes,
) -> tuple[int, str | None, Raw, UpdateType, UpdateHeader]:
    """Decode the id, the key and the value of an update, its type and its header.

    Raises:
        MsgspecError: it is not JSON, or a field that is read has a wrong type.
        RecursionError: it is nested too deeply.
    """
    try:
        body.decode()  # the decoder does not check the encoding of skipped fields
    except UnicodeDecodeError:
        # The Bot API server passes on whatever bytes a user's client put into a button
        # or an invoice (telegram-bot-api, Client.cpp:
        # json_store_callback_query_payload).
        body = body.decode(errors="replace").encode()
    keys = _fields_decoder.decode(body)
    update_id = _update_id_decoder.decode(keys.get("update_id", b""))
    for name, value in keys.items():
        update_type = UPDATE_TYPES.get(name)
        if update_type is not None:
            if b"null" in body:
                value = _remove_nulls(value)  # noqa: PLW2901 - an equivalent value
            return (
                update_id,
                name,
                value,
                update_type,
                update_type.decoder.decode(value),
            )
    for name, value in keys.items():
        if name != "update_id":
            return update_id, name, value, UNKNOWN_TYPE, _decode_unknown(value)
    return update_id, None, Raw(), UNKNOWN_TYPE, UnknownHeader()


def _remove_nulls(json: Raw) -> Raw:
    """Remove the fields that are null, which mean the same as absent fields.

    Telegram sends none, but a proxy that forwards updates may add them.
    """
    try:
        return Raw(msgspec.json.encode(_remove_nulls_from(msgspec.json.decode(json))))
    except (MsgspecError, OverflowError, RecursionError):
        return json  # the decoder of the update reports the problem


def _remove_nulls_from(value: Any) -> Any:  # noqa: ANN401 - any JSON
    if isinstance(value, dict):
        return {
            name: _remove_nulls_from(part)
            for name, part in value.items()
            if part is not None
        }
    if isinstance(value, list):
        return [_remove_nulls_from(part) for part in value]
    return value


def _decode_unknown(value: Raw) -> UpdateHeader:
    """Decode the usual fields of an update of an unknown type, if it has them."""
    try:
        return UNKNOWN_TYPE.decoder.decode(value)
    except MsgspecError:
        return UnknownHeader()


def _is_notification(update: Update) -> bool:
    """Return whether an update reports an event rather than a sender's input.

    Such updates of bots are processed even if bots are not allowed: moderating bots
    change the members of a chat, and a service that counts members must know. Unlike
    messages, events cannot make two bots answer each other endlessly.
    """
    is_report = isinstance(update, ServiceMessage) and not update.expects_reply
    return is_report or update.bypasses_limits


def _parse_service_message(
    message: Message,
    value: Raw,
    update_id: int,
    ordering_key: str,
    context: RequestContext,
) -> ServiceMessage:
    """Build the update of a message without a text and an attachment."""
    name, json = find_service_content(value) or (None, value)
    return ServiceMessage(
        update_id=update_id,
        update_type="message",
        ordering_key=ordering_key,
        context=context,
        trigger_name=name,
        payload=json,
        message_payload=value if name else None,
        payload_decoder=PAYLOAD_DECODERS.get(name) if name else None,
        ephemeral_message_id=message.ephemeral_message_id,
    )


def _find_routable_attachment(message: Message, value: Raw) -> tuple[str | None, Raw]:
    """Return the name and the JSON of an attachment that routes can name.

    Returns None and the JSON of the message if it has no such attachment.
    """
    for name in NAMED_ATTACHMENTS:
        if json := getattr(message, name):
            return name, json
    return None, value


def _parse_callback_query(
    query: CallbackQuery,
    value: Raw,
    update_id: int,
    ordering_key: str,
    context: RequestContext,
) -> ButtonPress:
    """Build the update of a pressed button."""
    message = query.message
    return ButtonPress(
        update_id=update_id,
        update_type="callback_query",
        ordering_key=ordering_key,
        context=context,
        trigger_name=GAME_FIELD if query.game_short_name else None,
        payload=value,
        payload_decoder=PAYLOAD_DECODERS["callback_query"],
        ephemeral_message_id=message.ephemeral_message_id if message else None,
        ttl_seconds=UPDATE_TYPES["callback_query"].ttl_seconds,
        callback_query_id=query.id,
        callback_data=query.data,
        message_id=(message.message_id or None) if message else None,
        inline_message_id=query.inline_message_id,
    )


def _detect_event(
    update_type: UpdateType, header: ChatMemberHeader
) -> "Event.ValueType | None":
    """Return whether a user blocked or unblocked the bot, or None if neither."""
    if update_type.name != "my_chat_member" or header.chat.type != "private":
        return None
    match header.old_chat_member.status, header.new_chat_member.status:
        case _, "kicked":
            return EVENT_USER_BLOCKED_BOT
        case "kicked", "member":
            return EVENT_USER_UNBLOCKED_BOT
        case _:
            return None
