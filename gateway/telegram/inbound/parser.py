"""The reader of updates: from the body of a webhook request to an Update."""

from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec
from botgateway.chat.v1.context_pb2 import RequestContext
from botgateway.chat.v1.message_pb2 import IncomingMessage
from botgateway.route.v1.event_pb2 import (
    EVENT_UNSPECIFIED,
    EVENT_USER_BLOCKED_BOT,
    EVENT_USER_UNBLOCKED_BOT,
    Event,
)
from google.protobuf.message import Message as ContractMessage
from msgspec import MsgspecError, Raw, structs
from msgspec.json import Decoder

from gateway.domain.errors import MalformedUpdate
from gateway.domain.update import Update
from gateway.telegram.inbound.command_parser import split_command
from gateway.telegram.inbound.content import Message
from gateway.telegram.inbound.headers import (
    Guess,
    Membership,
    StoppedGeneration,
)
from gateway.telegram.inbound.messages import incoming_message
from gateway.telegram.inbound.ordering import human, lane_of
from gateway.telegram.inbound.payloads import READERS, read_details
from gateway.telegram.inbound.payments import PAYMENTS
from gateway.telegram.inbound.people import chat_type, contract_chat
from gateway.telegram.inbound.references import user_or_none
from gateway.telegram.inbound.schema import (
    CallbackQuery,
    Chat,
    Happening,
    UpdateId,
    User,
)
from gateway.telegram.inbound.service_contents import (
    GAME,
    NAMED_ATTACHMENTS,
    find_service_content,
)
from gateway.telegram.inbound.update_types import KINDS, UNKNOWN, Kind

_outside = Decoder(dict[str, Raw])
_update_id = Decoder(UpdateId)


class UpdateReader:
    """Reads what Telegram posts, as far as the gateway needs it.

    Attributes:
        bot_username: the bot's @name without the at sign, in any case. Empty while it
            is not known; until then every named command counts as this bot's.
    """

    def __init__(self, bot_id: int, *, allow_bots: bool = False) -> None:
        self._bot_id = bot_id
        self._allow_bots = allow_bots
        self.bot_username = ""

    def read(self, body: bytes, arrived: float) -> Update:
        """Read one update.

        Args:
            body: what Telegram posted.
            arrived: when it did, in seconds since the epoch.

        Raises:
            Malformed: it is not an update, or one of a known kind in which a part that
                is read at once has a wrong type. An unknown kind may hold anything.
        """
        try:
            update_id, name, value, kind, happening = _decode(body)
        except (MsgspecError, RecursionError):
            # The foreign error may quote what a user wrote.
            raise MalformedUpdate("not a readable update") from None
        user = human(happening)
        ordering_key = lane_of(kind.name, happening, user)
        context = self._context(update_id, happening, user, arrived)
        match happening:
            case Message():
                update = self._message(
                    happening, value, update_id, ordering_key, context
                )
            case CallbackQuery():
                update = _pressed(happening, value, update_id, ordering_key, context)
            case _:
                useful = happening.urgent_seconds or kind.useful_seconds
                update = Update(
                    update_id=update_id,
                    update_type=kind.name,
                    ordering_key=ordering_key,
                    context=context,
                    stopped_draft_id=_stopped_draft(happening),
                    event=_event(kind, happening),
                    trigger_name=name,
                    payload=value,
                    decode_payload=_details(name, value),
                    query_id=happening.question,
                    reply_chat_id=happening.private_chat,
                    bypasses_limits=kind.exempt,
                    ttl_seconds=useful,
                    answer_deadline=arrived + useful if useful else 0,
                )
        if context.is_bot and not self._allow_bots and not _is_news(update):
            return structs.replace(update, is_unwanted=True)
        return update

    def _context(
        self, update_id: int, happening: Happening, user: User | None, arrived: float
    ) -> RequestContext:
        """Say who acted, where and when."""
        context = RequestContext()
        context.request_id = f"{self._bot_id}-{update_id}"
        context.update_id = update_id
        context.send_time.seconds = happening.time or int(arrived)
        if (chat := happening.place) is not None:
            _name_chat(context, chat)
        if user is not None:
            _name_user(context, user)
            if user.is_bot or happening.by_bot:
                context.is_bot = True
        if thread_id := happening.topic:
            context.message_thread_id = thread_id
        if business := happening.business:
            context.business_connection_id = business
        if message_id := happening.about_message:
            context.message_id = message_id
        if topic := happening.direct_messages:
            context.direct_messages_topic_id = topic
        if (represented := happening.represented_chat) is not None:
            context.sender_chat.CopyFrom(contract_chat(represented))
        return context

    def _message(
        self,
        message: Message,
        value: Raw,
        update_id: int,
        ordering_key: str,
        context: RequestContext,
    ) -> Update:
        """Read the content of a message, and whether it is a command."""
        content = incoming_message(message)
        name, json = _named_content(message, value, content)
        command = bot = arguments = ""
        if self._is_own_words(message):
            command, bot, arguments = split_command(message.text)
        addressed = bot != "" and self._is_ours(bot)
        if bot and not addressed:  # for another bot of the group: none of our business
            content, command, arguments = None, "", ""
        return Update(
            update_id=update_id,
            update_type="message",
            ordering_key=ordering_key,
            context=context,
            message=content,
            ephemeral_message_id=message.ephemeral_message_id,
            command=command,
            arguments=arguments,
            mentions_bot=addressed,
            trigger_name=name,
            payload=json if name else value,
            message_payload=value if name else Raw(),
            decode_payload=_details(name, json),
            bypasses_limits=name in PAYMENTS,
        )

    def _is_own_words(self, message: Message) -> bool:
        """Tell whether the sender wrote it, or this bot for the sender.

        Else somebody else, or another bot in its inline mode, would choose the command.
        """
        if message.is_forwarded:
            return False
        if not message.via_bot:
            return True
        bot = user_or_none(message.via_bot)
        return bot is not None and bot.id == self._bot_id

    def _is_ours(self, bot: str) -> bool:
        return not self.bot_username or bot.lower() == self.bot_username.lower()


def _name_chat(context: RequestContext, chat: Chat) -> None:
    """Say where it happened. Most chats are private and have nothing but an id."""
    context.chat_id = chat.id
    context.chat_type = chat_type(chat)
    if chat.title:
        context.chat_title = chat.title
    if chat.username and chat.type != "private":
        context.chat_username = chat.username
    if chat.is_forum:
        context.chat_is_forum = True
    if chat.is_direct_messages:
        context.chat_is_direct_messages = True


def _name_user(context: RequestContext, user: User) -> None:
    """Say who acted."""
    context.telegram_user_id = user.id
    context.language_code = user.language_code
    context.username = user.username
    context.first_name = user.first_name
    if user.last_name:
        context.last_name = user.last_name
    if user.is_premium:
        context.is_premium = True


def _decode(body: bytes) -> tuple[int, str, Raw, Kind, Happening]:
    """Decode the number, the kind's key, and what stands under it.

    Raises:
        MsgspecError: it is not JSON, or a part that is read has a wrong type.
        RecursionError: it is nested too deeply.
    """
    try:
        body.decode()  # the decoder does not check the encoding of what it skips
    except UnicodeDecodeError:
        # What the client of a user put into a button or an invoice is passed on as it
        # is (telegram-bot-api, Client.cpp: json_store_callback_query_payload).
        body = body.decode(errors="replace").encode()
    keys = _outside.decode(body)
    update_id = _update_id.decode(keys.get("update_id", b""))
    for name, value in keys.items():
        kind = KINDS.get(name)
        if kind is not None:
            if b"null" in body:
                value = _without_nulls(value)  # noqa: PLW2901 - it says the same
            return update_id, name, value, kind, kind.decoder.decode(value)
    for name, value in keys.items():
        if name != "update_id":
            return update_id, name, value, UNKNOWN, _guess(value)
    return update_id, "", Raw(), UNKNOWN, Guess()


def _without_nulls(json: Raw) -> Raw:
    """Leave out the fields that are null: they say no more than absent ones.

    Telegram sends none, but what passes updates on may write them again.
    """
    try:
        return Raw(msgspec.json.encode(_drop_nulls(msgspec.json.decode(json))))
    except (MsgspecError, OverflowError, RecursionError):
        return json  # whatever is wrong with it is found when it is read


def _drop_nulls(value: Any) -> Any:  # noqa: ANN401 - any JSON
    if isinstance(value, dict):
        return {
            name: _drop_nulls(part) for name, part in value.items() if part is not None
        }
    if isinstance(value, list):
        return [_drop_nulls(part) for part in value]
    return value


def _guess(value: Raw) -> Happening:
    """Look for who and where in an unknown kind; it need not say it as others do."""
    try:
        return UNKNOWN.decoder.decode(value)
    except MsgspecError:
        return Guess()


def _is_news(update: Update) -> bool:
    """Tell whether an update tells of what was done, and not of what was said.

    Bots that moderate a chat do much to its members, and a service that counts these
    has to hear of it. Nobody answers that for ever, as two bots do that talk.
    """
    service_message = update.update_type == "message" and not update.expects_reply
    return service_message or update.bypasses_limits


def _details(name: str, json: Raw) -> Callable[[], ContractMessage | None] | None:
    """Give what reads the type that belongs to a name. None: there is no such type."""
    return partial(read_details, name, json) if name in READERS else None


def _named_content(
    message: Message, value: Raw, content: IncomingMessage | None
) -> tuple[str, Raw]:
    """Give the name of what a message tells of, and what stands there. Empty: none."""
    if message.text:
        return "", Raw()
    if content is None:
        return find_service_content(value)
    for name in NAMED_ATTACHMENTS:
        if json := getattr(message, name):
            return name, json
    return "", Raw()


def _pressed(
    query: CallbackQuery,
    value: Raw,
    update_id: int,
    ordering_key: str,
    context: RequestContext,
) -> Update:
    """Read a pressed button."""
    return Update(
        update_id=update_id,
        update_type="callback_query",
        ordering_key=ordering_key,
        context=context,
        trigger_name=GAME if query.game_short_name else "",
        payload=value,
        decode_payload=_details("callback_query", value),
        callback_query_id=query.id,
        callback_data=query.data,
        pressed_message_id=query.message.message_id if query.message else 0,
        ephemeral_message_id=query.message.ephemeral_message_id if query.message else 0,
        inline_message_id=query.inline_message_id,
        ttl_seconds=KINDS["callback_query"].useful_seconds,
    )


def _stopped_draft(happening: Happening) -> int:
    """Give the draft that the user stopped. 0: none."""
    return happening.draft_id if isinstance(happening, StoppedGeneration) else 0


def _event(kind: Kind, happening: Happening) -> "Event.ValueType":
    """Tell whether the user of a private chat blocked or unblocked the bot."""
    if (
        kind.name != "my_chat_member"
        or not isinstance(happening, Membership)
        or happening.chat.type != "private"
    ):
        return EVENT_UNSPECIFIED
    match happening.old_chat_member.status, happening.new_chat_member.status:
        case _, "kicked":
            return EVENT_USER_BLOCKED_BOT
        case "kicked", "member":
            return EVENT_USER_UNBLOCKED_BOT
        case _:
            return EVENT_UNSPECIFIED
