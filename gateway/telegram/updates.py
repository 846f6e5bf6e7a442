"""The reader of updates: from the body of a webhook request to an Update."""

import re

from botgateway.chat.v1.context_pb2 import (
    CHAT_TYPE_CHANNEL,
    CHAT_TYPE_GROUP,
    CHAT_TYPE_PRIVATE,
    CHAT_TYPE_SUPERGROUP,
    CHAT_TYPE_UNSPECIFIED,
    RequestContext,
)
from botgateway.route.v1.event_pb2 import (
    EVENT_UNSPECIFIED,
    EVENT_USER_BLOCKED_BOT,
    EVENT_USER_UNBLOCKED_BOT,
    Event,
)
from msgspec import MsgspecError, Raw
from msgspec.json import Decoder

from gateway.domain.errors import Malformed
from gateway.domain.update import Update
from gateway.telegram.content import Message
from gateway.telegram.kinds import KINDS, UNKNOWN, Kind
from gateway.telegram.messages import incoming_message
from gateway.telegram.wire import (
    CallbackQuery,
    Happening,
    Membership,
    Poll,
    PollAnswer,
    StoppedGeneration,
    UpdateId,
    User,
)

_STAND_INS = frozenset({1087968824, 136817688, 777000})
"""Senders that stand for an anonymous admin, a channel, and an automatic forward.

Many people have them in common (Bot API: Message.from).
"""

_CHAT_TYPES = {
    "private": CHAT_TYPE_PRIVATE,
    "group": CHAT_TYPE_GROUP,
    "supergroup": CHAT_TYPE_SUPERGROUP,
    "channel": CHAT_TYPE_CHANNEL,
}

_COMMAND = re.compile(
    r"/([A-Za-z0-9_]{1,32})(?:@([A-Za-z0-9_]+))?(?:\s+(.*))?", re.DOTALL
)

_outside = Decoder(dict[str, Raw])
_update_id = Decoder(UpdateId)


class UpdateReader:
    """Reads what Telegram posts, as far as the gateway needs it.

    Attributes:
        bot_username: the bot's @name without the at sign, in any case. Empty while it
            is not known; until then every named command counts as this bot's.
    """

    def __init__(self, bot_id: int) -> None:
        self._bot_id = bot_id
        self.bot_username = ""

    def read(self, body: bytes, arrived: float) -> Update:
        """Read one update.

        Args:
            body: what Telegram posted.
            arrived: when it did, in seconds since the epoch.

        Raises:
            Malformed: it is not an update, or one of a known kind with a part of a
                wrong type. What an unknown kind holds is never looked at.
        """
        try:
            update_id, kind, happening = _decode(body)
        except (MsgspecError, UnicodeError, RecursionError):
            # The foreign error may quote what a user wrote.
            raise Malformed("not a readable update") from None
        user = _human(happening)
        lane = _lane(kind, happening, user)
        context = self._context(update_id, happening, user, arrived)
        match happening:
            case Message():
                return self._message(happening, update_id, lane, context)
            case CallbackQuery():
                return _pressed(happening, update_id, lane, context)
            case _:
                return Update(
                    update_id=update_id,
                    kind=kind.name,
                    lane=lane,
                    context=context,
                    stopped_draft_id=_stopped_draft(happening),
                    event=_event(kind, happening),
                    exempt=kind.exempt,
                    useful_seconds=kind.useful_seconds,
                )

    def _context(
        self, update_id: int, happening: Happening, user: User | None, arrived: float
    ) -> RequestContext:
        """Say who acted, where and when."""
        context = RequestContext(
            request_id=f"{self._bot_id}-{update_id}",
            update_id=update_id,
            message_thread_id=happening.topic,
        )
        context.send_time.seconds = happening.time or int(arrived)
        chat = happening.place
        if chat is not None:
            context.chat_id = chat.id
            context.chat_type = _CHAT_TYPES.get(chat.type, CHAT_TYPE_UNSPECIFIED)
        if user is not None:
            context.telegram_user_id = user.id
            context.language_code = user.language_code
            context.username = user.username
            context.first_name = user.first_name
        return context

    def _message(
        self, message: Message, update_id: int, lane: str, context: RequestContext
    ) -> Update:
        """Read the content of a message, and whether it is a command."""
        content = incoming_message(message)
        command, bot, arguments = _command(message.text)
        addressed = bot != "" and self._is_ours(bot)
        if bot and not addressed:  # for another bot of the group: none of our business
            content, command, arguments = None, "", ""
        return Update(
            update_id=update_id,
            kind="message",
            lane=lane,
            context=context,
            message=content,
            command=command,
            arguments=arguments,
            addressed=addressed,
            exempt=bool(message.successful_payment or message.refunded_payment),
        )

    def _is_ours(self, bot: str) -> bool:
        return not self.bot_username or bot.lower() == self.bot_username.lower()


def _decode(body: bytes) -> tuple[int, Kind, Happening]:
    """Decode the number, the kind, and what stands under the kind's key.

    Raises:
        MsgspecError: it is not JSON, or a part that is read has a wrong type.
        UnicodeError: it is not UTF-8.
        RecursionError: it is nested too deeply.
    """
    body.decode()  # the decoder does not check the encoding of parts that it skips
    keys = _outside.decode(body)
    update_id = _update_id.decode(keys.get("update_id", b""))
    for name, value in keys.items():
        kind = KINDS.get(name)
        if kind is not None:
            return update_id, kind, kind.decoder.decode(value)
    return update_id, UNKNOWN, Happening()


def _human(happening: Happening) -> User | None:
    """Give the human who acted; None for stand-ins."""
    user = happening.actor
    return None if user is None or user.id in _STAND_INS else user


def _lane(kind: Kind, happening: Happening, user: User | None) -> str:
    """Give the order that the update belongs to.

    One human has one lane over all chats. A private chat has the id of its user, so
    what happens there without a user is in the user's lane too.
    """
    if user is not None:
        return str(user.id)
    if isinstance(happening, Poll | PollAnswer):
        return f"poll:{happening.poll_id}"
    chat = happening.place
    return f"kind:{kind.name}" if chat is None else str(chat.id)


def _command(text: str) -> tuple[str, str, str]:
    """Split "/name@bot arguments"; three empty strings for text that is no command."""
    match = _COMMAND.fullmatch(text) if text.startswith("/") else None
    if match is None:
        return "", "", ""
    name, bot, arguments = match.groups("")
    return name.lower(), bot, arguments.strip()


def _pressed(
    query: CallbackQuery, update_id: int, lane: str, context: RequestContext
) -> Update:
    """Read a pressed button."""
    return Update(
        update_id=update_id,
        kind="callback_query",
        lane=lane,
        context=context,
        callback_query_id=query.id,
        callback_data=query.data,
        pressed_message_id=query.message.message_id if query.message else 0,
        inline_message_id=query.inline_message_id,
        useful_seconds=KINDS["callback_query"].useful_seconds,
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
