"""Reading updates: who, where, in which order, and what was said."""

import contextlib
import json
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import pytest
from botgateway.chat.v1.context_pb2 import (
    CHAT_TYPE_CHANNEL,
    CHAT_TYPE_GROUP,
    CHAT_TYPE_PRIVATE,
    CHAT_TYPE_SUPERGROUP,
    CHAT_TYPE_UNSPECIFIED,
    Chat,
    ChatType,
    User,
)
from botgateway.chat.v1.message_pb2 import (
    IncomingMessage,
    MessageEntity,
    MessageOrigin,
    TextQuote,
)
from botgateway.chat.v1.update_pb2 import MessageReactionUpdate, Reaction
from botgateway.route.v1.event_pb2 import (
    EVENT_USER_BLOCKED_BOT,
    EVENT_USER_UNBLOCKED_BOT,
    Event,
)
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import assume, example, given
from hypothesis import strategies as st

from gateway.domain.errors import MalformedUpdate
from gateway.domain.update import (
    BotEvent,
    ButtonPress,
    Command,
    OtherUpdate,
    ServiceMessage,
    StoppedReply,
    UpdateBase,
    UserMessage,
)
from gateway.telegram.inbound.parser import UpdateParser
from gateway.telegram.inbound.routable_contents import SERVICE_CONTENTS
from tests.unit.telegram.parsing import (
    ANNA,
    ARRIVED,
    BO,
    BOT_ID,
    CARA,
    FANS,
    PERSON,
    PRIVATE,
    attachment,
    body,
    command_of,
    content,
    event_of,
    file,
    press_of,
    read,
    read_message,
    reader,
)

FILES = {
    path.stem: path.read_bytes()
    for path in (Path(__file__).parents[2] / "updates").glob("*.json")
}


class Row(NamedTuple):
    """What is to be read from a file."""

    kind: str
    ordering_key: int | str
    user: int
    chat: int
    attachment: str | None = None
    command: str | None = None
    exempt: bool = False
    event: "Event.ValueType | None" = None

    def update_class(self) -> type[UpdateBase]:
        """Name the class that an update with such a row has."""
        if self.kind == "message":
            found: type[UpdateBase] = UserMessage if self.attachment else ServiceMessage
            return Command if self.command else found
        if self.event is not None:
            return BotEvent
        by_kind: dict[str, type[UpdateBase]] = {
            "callback_query": ButtonPress,
            "stopped_message_generation": StoppedReply,
        }
        return by_kind.get(self.kind, OtherUpdate)


BLOCKED, UNBLOCKED = EVENT_USER_BLOCKED_BOT, EVENT_USER_UNBLOCKED_BOT
SHOPPER, NEWS, ELSEWHERE = 5510000044, -1002100000088, -1002100000123
TABLE = {
    "business_message": Row("business_message", SHOPPER, SHOPPER, SHOPPER),
    "callback_query_inaccessible_message": Row("callback_query", BO, BO, BO),
    "callback_query_inline_message": Row("callback_query", CARA, CARA, 0),
    "callback_query_message": Row("callback_query", ANNA, ANNA, ANNA),
    "channel_post": Row("channel_post", NEWS, 0, NEWS),
    "chosen_inline_result": Row("chosen_inline_result", CARA, CARA, 0),
    "edited_message": Row("edited_message", ANNA, ANNA, ANNA),
    "guest_message": Row("guest_message", CARA, CARA, ELSEWHERE),
    "inline_query": Row("inline_query", CARA, CARA, 0),
    "message_album_item": Row("message", ANNA, ANNA, ANNA, "photo"),
    "message_command_at_botname": Row("message", CARA, CARA, FANS, "text", "report"),
    "message_contact": Row("message", CARA, CARA, CARA, "contact"),
    "message_document": Row("message", BO, BO, BO, "document"),
    "message_group_anonymous_admin": Row("message", FANS, 0, FANS, "text", "settings"),
    "message_group_entities_emoji": Row("message", CARA, CARA, FANS, "text"),
    "message_group_migrated": Row("message", CARA, CARA, -4100000055),
    "message_location": Row("message", CARA, CARA, CARA, "location"),
    "message_photo_caption": Row("message", ANNA, ANNA, ANNA, "photo"),
    "message_private_topic": Row("message", ANNA, ANNA, ANNA, "text"),
    "message_reaction": Row("message_reaction", CARA, CARA, FANS),
    "message_reaction_anonymous": Row("message_reaction", FANS, 0, FANS),
    "message_start_deeplink": Row("message", BO, BO, BO, "text", "start"),
    "message_sticker": Row("message", BO, BO, BO, "sticker"),
    "message_successful_payment": Row(
        "message", ANNA, ANNA, ANNA, "successful_payment", exempt=True
    ),
    "message_text": Row("message", ANNA, ANNA, ANNA, "text"),
    "message_voice": Row("message", BO, BO, BO, "voice"),
    "my_chat_member_user_blocked_bot": Row(
        "my_chat_member", BO, BO, BO, exempt=True, event=BLOCKED
    ),
    "my_chat_member_user_unblocked_bot": Row(
        "my_chat_member", BO, BO, BO, exempt=True, event=UNBLOCKED
    ),
    "poll_answer": Row("poll_answer", CARA, CARA, 0),
    "pre_checkout_query": Row("pre_checkout_query", ANNA, ANNA, 0, exempt=True),
    "stopped_message_generation": Row(
        "stopped_message_generation", ANNA, 0, ANNA, exempt=True
    ),
    "subscription": Row("subscription", ANNA, ANNA, 0, exempt=True),
    "unknown_future_update": Row("unknown", ANNA, ANNA, ANNA),
}


class TestRealUpdates:
    """Every update that was recorded or made after a recorded one."""

    def test_the_table_names_all_files(self) -> None:
        assert set(TABLE) == set(FILES)
        assert len(FILES) == 33

    @pytest.mark.parametrize("name", sorted(TABLE))
    def test_every_real_update_is_read(self, name: str) -> None:
        """Kind, order, user, chat, content and event are as the table says."""
        update = reader().parse(FILES[name], ARRIVED)
        row = TABLE[name]._replace(ordering_key=f"{BOT_ID}/{TABLE[name].ordering_key}")
        assert row == (
            update.update_type,
            update.ordering_key,
            update.context.telegram_user_id,
            update.context.chat_id,
            attachment(update),
            update.name if isinstance(update, Command) else None,
            update.bypasses_limits,
            event_of(update),
        )
        assert update.update_id == json.loads(FILES[name])["update_id"]
        assert update.context.update_id == update.update_id
        assert update.context.bot.id == BOT_ID
        assert update.context.request_id == f"{BOT_ID}-{update.update_id}"
        assert update.context.internal_user_id == ""
        assert type(update) is TABLE[name].update_class()


class TestContext:
    """Who acted, where and when."""

    def test_the_human_is_described_as_telegram_does(self) -> None:
        """Name, username and language come from the sender."""
        context = reader().parse(FILES["message_text"], ARRIVED).context
        assert (context.first_name, context.username, context.language_code) == (
            "Anna",
            "anna_example",
            "de",
        )

    def test_a_user_is_described_in_full(self) -> None:
        """Last name and Premium come along where Telegram tells them."""
        sender = PERSON | {"last_name": "Example", "is_premium": True}
        context = read_message(**{"from": sender}).context
        assert (context.last_name, context.is_premium) == ("Example", True)
        assert not read_message().context.HasField("sender_chat")

    def test_a_group_is_described_in_full(self) -> None:
        """Title, name and kind of a group that has topics."""
        group = {"id": FANS, "type": "supergroup", "title": "Fans", "username": "fans"}
        chat = group | {"is_forum": True}
        context = read_message(chat=chat).context
        assert (context.chat_title, context.chat_username) == ("Fans", "fans")
        assert (context.chat_is_forum, context.chat_is_direct_messages) == (True, False)

    @pytest.mark.parametrize("pressed", [False, True])
    def test_the_topic_of_direct_messages_is_named(self, *, pressed: bool) -> None:
        """A reply has to name it: Telegram refuses one that does not."""
        chat = {"id": FANS, "type": "supergroup", "is_direct_messages": True}
        topic = {"topic_id": 77, "user": PERSON}
        message = {"message_id": 5, "chat": chat, "direct_messages_topic": topic}
        if pressed:
            query = {"id": "q", "from": PERSON, "message": message, "data": "A:1"}
            context = read(callback_query=query).context
        else:
            context = read_message(**message).context
        assert context.direct_messages_topic_id == 77
        assert context.chat_is_direct_messages

    @pytest.mark.parametrize(
        "update",
        [
            {"message": {"sender_chat": {"id": NEWS, "type": "channel"}}},
            {"message_reaction": {"actor_chat": {"id": NEWS, "type": "channel"}}},
            {"poll_answer": {"voter_chat": {"id": NEWS, "type": "channel"}}},
        ],
        ids=lambda update: next(iter(update)),
    )
    def test_a_chat_that_somebody_speaks_for_is_named(
        self, update: dict[str, dict[str, object]]
    ) -> None:
        """The sender is nobody then, and the chat says on whose behalf it was."""
        [(kind, content)] = update.items()
        content |= {"message_id": 5, "chat": CHAT, "poll_id": "9"}
        context = read(**{kind: content}).context
        assert context.sender_chat == Chat(id=NEWS, type=CHAT_TYPE_CHANNEL)
        assert context.telegram_user_id == 0

    @pytest.mark.parametrize(
        ("name", "message_id"),
        [
            ("message_text", 1201),
            ("callback_query_message", 1198),
            ("message_reaction", 88012),
            ("callback_query_inline_message", 0),
            ("poll_answer", 0),
        ],
    )
    def test_the_message_that_an_update_is_about_is_named(
        self, name: str, message_id: int
    ) -> None:
        """A service can answer it, whatever the kind of the update."""
        assert reader().parse(FILES[name], ARRIVED).context.message_id == message_id

    def test_a_bot_is_no_human(self) -> None:
        """The sender says so itself, or the business account that it writes for."""
        bot = {"id": 9, "is_bot": True, "first_name": "B"}
        post = {"message_id": 5, "chat": PRIVATE, "text": "hi"}
        assert read_message(**{"from": bot}).context.is_bot
        assert read(edited_message=post | {"from": bot}).context.is_bot
        written_for = {"from": PERSON, "sender_business_bot": bot}
        assert read(business_message=post | written_for).context.is_bot
        assert not read_message().context.is_bot

    @pytest.mark.parametrize("stand_in", [1087968824, 136817688, 777000])
    def test_stand_ins_are_nobody(self, stand_in: int) -> None:
        """What several people have in common neither names nor orders a user."""
        sender = {"id": stand_in, "first_name": "Group", "username": "Somebody"}
        sender |= {"is_bot": True}
        update = read_message(**{"from": sender, "chat": {"id": -5, "type": "group"}})
        assert update.ordering_key == f"{BOT_ID}/-5"
        assert update.context.telegram_user_id == 0
        assert not update.context.is_bot
        assert update.context.first_name == update.context.username == ""

    @pytest.mark.parametrize("key", ["from", "user"])
    def test_an_unknown_kind_is_searched_for_who_and_where(self, key: str) -> None:
        """Its service learns whose it is, and nobody waits for another one's."""
        update = read(hologram_call={key: PERSON, "chat": CHAT, "date": 5})
        context = update.context
        assert update.ordering_key == f"{BOT_ID}/{ANNA}"
        assert (context.telegram_user_id, context.chat_id) == (ANNA, FANS)
        assert context.send_time.ToSeconds() == 5

    @pytest.mark.parametrize(
        ("name", "meaning"),
        [
            ("private", CHAT_TYPE_PRIVATE),
            ("group", CHAT_TYPE_GROUP),
            ("supergroup", CHAT_TYPE_SUPERGROUP),
            ("channel", CHAT_TYPE_CHANNEL),
            ("moon", CHAT_TYPE_UNSPECIFIED),
        ],
    )
    def test_chat_types_are_reported(
        self, name: str, meaning: "ChatType.ValueType"
    ) -> None:
        """A type that is not known yet is unspecified, not an error."""
        update = read_message(chat={"id": -5, "type": name})
        assert update.context.chat_type == meaning

    def test_a_topic_is_kept_and_a_chain_of_replies_is_not(self) -> None:
        """Nothing can be sent to the thread of a chain of replies."""
        assert read_message(message_thread_id=9).context.message_thread_id == 0
        topic = read_message(message_thread_id=9, is_topic_message=True)
        assert topic.context.message_thread_id == 9

    @pytest.mark.parametrize(
        ("name", "topic"),
        [("message_private_topic", 1150), ("stopped_message_generation", 1150)],
    )
    def test_topics_of_private_chats_are_kept(self, name: str, topic: int) -> None:
        """Private chats have topics too."""
        context = reader().parse(FILES[name], ARRIVED).context
        assert context.message_thread_id == topic

    @pytest.mark.parametrize(
        ("name", "seconds"),
        [
            ("message_text", 1790000000),
            ("edited_message", 1790000031),
            ("message_reaction", 1790000300),
            ("my_chat_member_user_blocked_bot", 1790000200),
            ("callback_query_message", int(ARRIVED)),
            ("callback_query_inaccessible_message", int(ARRIVED)),
            ("pre_checkout_query", int(ARRIVED)),
            ("unknown_future_update", 1790000500),
        ],
    )
    def test_the_time_is_telegrams_or_that_of_the_arrival(
        self, name: str, seconds: int
    ) -> None:
        """A button press has no time; that of its message is not it."""
        context = reader().parse(FILES[name], ARRIVED).context
        assert context.send_time.ToSeconds() == seconds
        assert context.send_time.nanos == 0

    def test_ids_have_64_bits(self) -> None:
        """Telegram's ids need more than 32 bits."""
        user = 2**52 - 1
        update = read_message(**{"from": {"id": user}, "chat": {"id": -(2**52)}})
        assert update.ordering_key == f"{BOT_ID}/{user}"
        assert update.context.telegram_user_id == user
        assert update.context.chat_id == -(2**52)


CHAT = {"id": FANS, "type": "supergroup"}
POST = {"message_id": 1, "chat": CHAT}
SOURCE = {"source": "premium", "user": PERSON}
CHANGE = {
    "old_chat_member": {"status": "left"},
    "new_chat_member": {"status": "member"},
}
DONE_BY = {"from": PERSON, "chat": CHAT}
CHANNEL_VOTER = {"id": 136817688}

OTHER_KINDS: list[tuple[dict[str, Any], Row]] = [
    (POST, Row("edited_channel_post", FANS, 0, FANS)),
    (POST | DONE_BY, Row("edited_business_message", ANNA, ANNA, FANS)),
    (
        {"id": "b", "user": PERSON, "user_chat_id": ANNA},
        Row("business_connection", ANNA, ANNA, ANNA),
    ),
    ({"chat": PRIVATE}, Row("deleted_business_messages", ANNA, 0, ANNA)),
    ({"chat": CHAT}, Row("message_reaction_count", FANS, 0, FANS)),
    ({"id": "s", "from": PERSON}, Row("shipping_query", ANNA, ANNA, 0, exempt=True)),
    ({"from": PERSON}, Row("purchased_paid_media", ANNA, ANNA, 0, exempt=True)),
    ({"id": "52"}, Row("poll", "poll:52", 0, 0)),
    ({"poll_id": "52", "voter_chat": CHAT}, Row("poll_answer", "poll:52", 0, 0)),
    ({"poll_id": "52", "user": CHANNEL_VOTER}, Row("poll_answer", "poll:52", 0, 0)),
    (DONE_BY | CHANGE, Row("chat_member", ANNA, ANNA, FANS, exempt=True)),
    (DONE_BY, Row("chat_join_request", ANNA, ANNA, FANS, exempt=True)),
    ({"chat": CHAT, "boost": {"source": SOURCE}}, Row("chat_boost", ANNA, ANNA, FANS)),
    ({"chat": CHAT, "boost": {"source": {}}}, Row("chat_boost", FANS, 0, FANS)),
    ({"chat": CHAT, "source": SOURCE}, Row("removed_chat_boost", ANNA, ANNA, FANS)),
    ({"chat": CHAT, "source": {}}, Row("removed_chat_boost", FANS, 0, FANS)),
    ({"user": PERSON, "bot": {"id": 3}}, Row("managed_bot", ANNA, ANNA, 0)),
]


class TestKinds:
    """Kinds, known and unknown."""

    def test_the_tables_name_all_27_kinds(self) -> None:
        shown = {row.kind for row in TABLE.values()} - {"unknown"}
        assert len(shown | {row.kind for _, row in OTHER_KINDS}) == 27

    @pytest.mark.parametrize(("value", "row"), OTHER_KINDS)
    def test_kinds_without_a_file_are_read(
        self, value: dict[str, Any], row: Row
    ) -> None:
        """Every kind has its order, its user and its chat."""
        update = read(**{row.kind: value})
        assert (
            update.update_type,
            update.ordering_key,
            update.bypasses_limits,
            type(update),
        ) == (
            row.kind,
            f"{BOT_ID}/{row.ordering_key}",
            row.exempt,
            row.update_class(),
        )
        assert update.context.telegram_user_id == row.user
        assert update.context.chat_id == row.chat

    @pytest.mark.parametrize(
        ("update", "unwanted"),
        [
            ({"message": POST}, True),
            ({"edited_message": POST}, True),
            ({"guest_message": POST | {"guest_query_id": "q"}}, True),
            ({"message": POST | {"web_app_data": {}}}, True),
            ({"hologram_call": {}}, True),
            ({"message": POST | {"left_chat_member": PERSON}}, False),
            ({"chat_member": CHANGE | {"chat": CHAT}}, False),
        ],
        ids=lambda given: next(iter(given)) if isinstance(given, dict) else None,
    )
    def test_what_bots_say_is_unwanted_unless_they_are_allowed(
        self, update: dict[str, dict[str, object]], *, unwanted: bool
    ) -> None:
        """What they do to the members of a chat is not: moderators are often bots."""
        [(kind, content)] = update.items()
        content = content | {"from": {"id": 9, "is_bot": True, "first_name": "B"}}
        body = json.dumps({"update_id": 7, kind: content}).encode()
        assert reader().parse(body, ARRIVED).is_unwanted is unwanted
        allowing = UpdateParser(BOT_ID, allow_bots=True)
        assert not allowing.parse(body, ARRIVED).is_unwanted

    @pytest.mark.parametrize(
        ("name", "seconds"),
        [
            ("message_text", None),
            ("callback_query_message", 150),
            ("callback_query_inline_message", 150),
            ("inline_query", 30),
            ("pre_checkout_query", 10),
            ("my_chat_member_user_blocked_bot", None),
        ],
    )
    def test_queries_are_of_use_for_a_limited_time(
        self, name: str, seconds: float | None
    ) -> None:
        """Nobody waits for the answer to an old query."""
        assert reader().parse(FILES[name], ARRIVED).ttl_seconds == seconds

    def test_of_two_kinds_the_first_known_one_counts(self) -> None:
        """Telegram sends one; what a stranger sends is still read in one way."""
        poll, reaction = {"id": "52"}, {"chat": CHAT}
        assert (
            read(hologram=1, poll=poll, message_reaction=reaction).update_type == "poll"
        )
        assert (
            read(message_reaction=reaction, poll=poll).update_type == "message_reaction"
        )

    @pytest.mark.parametrize("strange", [None, 1, "x", [1], {"from": 3, "chat": "c"}])
    def test_an_unknown_kind_may_look_like_anything(self, strange: object) -> None:
        """Telegram's next invention is no error."""
        update = read(hologram_call=strange)
        assert (update.update_type, update.ordering_key) == (
            "unknown",
            f"{BOT_ID}/kind:unknown",
        )
        assert update.trigger_name == "hologram_call"
        assert json.loads(bytes(update.payload)) == strange

    @pytest.mark.parametrize(
        ("old", "new", "chat", "event"),
        [
            ("member", "kicked", "private", EVENT_USER_BLOCKED_BOT),
            ("kicked", "member", "private", EVENT_USER_UNBLOCKED_BOT),
            ("left", "member", "private", None),
            ("member", "kicked", "group", None),
            ("kicked", "member", "channel", None),
        ],
    )
    def test_only_a_private_chat_tells_of_a_block(
        self, old: str, new: str, chat: str, event: "Event.ValueType | None"
    ) -> None:
        """Who removes the bot from a group has not blocked it."""
        change = {
            "old_chat_member": {"status": old},
            "new_chat_member": {"status": new},
        }
        place = {"chat": {"id": ANNA, "type": chat}, "from": PERSON}
        assert event_of(read(my_chat_member=place | change)) == event
        assert event_of(read(chat_member=place | change)) is None


class TestDetails:
    """What is read of an update only for routes that want it."""

    def test_a_part_of_a_wrong_type_does_no_harm_until_it_is_wanted(self) -> None:
        """The update is there, as JSON; its typed form is what fails."""
        update = read(poll_answer={"poll_id": "52", "user": PERSON, "option_ids": "x"})
        assert json.loads(bytes(update.payload))["option_ids"] == "x"
        with pytest.raises(MalformedUpdate) as caught:
            update.decode_payload()
        assert str(caught.value) == "poll_answer cannot be read"
        assert caught.value.__suppress_context__

    def test_a_message_and_a_button_have_no_name(self) -> None:
        """They are routed by what they say, and their JSON is that of the kind."""
        for name in ("message_text", "message_photo_caption", "callback_query_message"):
            update = reader().parse(FILES[name], ARRIVED)
            assert (update.trigger_name, update.message_payload) == (None, None)
            assert (
                json.loads(bytes(update.payload))
                == json.loads(FILES[name])[update.update_type]
            )
            assert update.answer_deadline is None

    @pytest.mark.parametrize(
        ("kind", "content", "query_id", "chat", "seconds"),
        [
            ("inline_query", {"id": "q"}, "q", None, 30),
            ("pre_checkout_query", {"id": "q"}, "q", ANNA, 10),
            ("shipping_query", {"id": "q"}, "q", ANNA, 150),
            ("purchased_paid_media", {}, None, ANNA, None),
            ("chosen_inline_result", {}, None, None, None),
            ("guest_message", POST | {"guest_query_id": "q"}, "q", None, None),
            ("chat_join_request", {"chat": CHAT, "user_chat_id": 9}, None, 9, None),
            ("chat_join_request", {"chat": CHAT, "query_id": "q"}, "q", None, 10),
        ],
    )
    def test_what_has_to_be_answered_is_reported(
        self,
        kind: str,
        content: dict[str, Any],
        query_id: str | None,
        chat: int | None,
        seconds: float | None,
    ) -> None:
        """Under which id, until when, and where messages may go besides."""
        update = read(**{kind: {"from": PERSON} | content})
        assert isinstance(update, OtherUpdate)
        assert (update.query_id, update.reply_chat_id) == (query_id, chat)
        assert update.ttl_seconds == seconds
        deadline = None if seconds is None else ARRIVED + seconds
        assert update.answer_deadline == deadline

    @pytest.mark.parametrize(
        ("name", "connection"),
        [
            ("business_message", "InVaLiDbUsInEsScOnNeCt01"),
            ("message_text", ""),
            ("inline_query", ""),
        ],
    )
    def test_the_business_connection_is_reported(
        self, name: str, connection: str
    ) -> None:
        """On whose behalf the bot speaks."""
        context = reader().parse(FILES[name], ARRIVED).context
        assert context.business_connection_id == connection

    def test_a_button_under_a_business_message_names_the_connection(self) -> None:
        message = POST | {"business_connection_id": "b"}
        update = read(callback_query={"id": "1", "from": PERSON, "message": message})
        assert update.context.business_connection_id == "b"

    @pytest.mark.parametrize(
        ("reaction", "read_as"),
        [
            ({"type": "emoji", "emoji": "x"}, Reaction(emoji="x")),
            (
                {"type": "custom_emoji", "custom_emoji_id": "5"},
                Reaction(custom_emoji_id="5"),
            ),
            ({"type": "paid"}, Reaction(paid=True)),
            ({"type": "hologram"}, Reaction()),
        ],
    )
    def test_reactions_of_all_kinds_are_read(
        self, reaction: dict[str, str], read_as: Reaction
    ) -> None:
        change = {"message_id": 1, "old_reaction": [reaction], "new_reaction": []}
        update = read(message_reaction={"chat": CHAT} | change)
        details = update.decode_payload()
        assert details == MessageReactionUpdate(message_id=1, old_reactions=[read_as])


class TestButtons:
    """Pressed buttons."""

    def test_a_pressed_button_names_its_message(self) -> None:
        """The query is answered, the message may be edited."""
        update = press_of(reader().parse(FILES["callback_query_message"], ARRIVED))
        assert update.callback_query_id == "23665271850000001"
        assert update.callback_data == "cf:7781:1"
        assert (update.message_id, update.inline_message_id) == (1198, None)

    def test_a_message_too_old_to_be_seen_is_named_too(self) -> None:
        """Telegram still tells the chat and the number."""
        body = FILES["callback_query_inaccessible_message"]
        update = press_of(reader().parse(body, ARRIVED))
        assert (update.callback_data, update.message_id) == ("menu:old", 12)

    def test_an_inline_message_has_no_chat(self) -> None:
        body = FILES["callback_query_inline_message"]
        update = press_of(reader().parse(body, ARRIVED))
        assert update.inline_message_id == "BAAAAMotAAKInvAlIdInLiNe0x"
        assert update.message_id is None

    def test_a_button_of_a_game_has_no_data(self) -> None:
        """It is still a query that waits for its answer."""
        query = {"id": "1", "from": PERSON, "game_short_name": "chess"}
        update = press_of(read(callback_query=query))
        assert (update.callback_query_id, update.callback_data) == ("1", None)

    def test_a_button_in_a_topic_is_answered_in_the_topic(self) -> None:
        """The topic is that of the pressed message."""
        message = {"message_id": 3, "chat": CHAT, "date": 1, "message_thread_id": 9}
        query = {"id": "1", "from": PERSON, "message": message}
        assert read(callback_query=query).context.message_thread_id == 0
        message["is_topic_message"] = True
        assert read(callback_query=query).context.message_thread_id == 9


class TestCommands:
    """Text that begins with a slash."""

    @pytest.mark.parametrize(
        ("text", "command", "arguments"),
        [
            ("/start", "start", ""),
            ("/start ref_42", "start", "ref_42"),
            ("/Start  two words ", "start", "two words"),
            ("/note\nfirst\nsecond", "note", "first\nsecond"),
            ("/a@marmot_desk_bot x", "a", "x"),
            ("/" + "a" * 32, "a" * 32, ""),
            ("/start ", "start", ""),
        ],
    )
    def test_commands_are_taken_apart(
        self, text: str, command: str, arguments: str
    ) -> None:
        """The name is in lower case, the arguments are stripped."""
        update = read_message(text=text)
        mentions_bot = "@" in text
        assert command_of(update) == (command, arguments, mentions_bot)
        assert content(update).text == text

    @pytest.mark.parametrize(
        "text",
        ["/path/to/file", "/ x", "/", "//start", "x /start", " /start", "/start!",
         "/start@", "/grüß", "/" + "a" * 33, "/start@bot/x", "/start-now"],
    )  # fmt: skip
    def test_a_slash_does_not_make_a_command(self, text: str) -> None:
        """Paths and the like are plain text."""
        update = read_message(text=text)
        assert command_of(update) is None
        assert content(update).text == text

    def test_a_caption_is_no_command(self) -> None:
        """Telegram's apps do not make one of it either."""
        update = read_message(caption="/start", photo=[file(width=1, height=1)])
        assert command_of(update) is None

    @pytest.mark.parametrize("name", ["marmot_desk_bot", "Marmot_Desk_BOT"])
    def test_our_name_is_ours_in_any_case(self, name: str) -> None:
        """Names of bots have no case."""
        for known in ("marmot_desk_bot", "MARMOT_desk_bot"):
            update = reader(known).parse(body(text=f"/report@{name} x"), ARRIVED)
            assert command_of(update) == ("report", "x", True)

    def test_a_command_without_a_name_is_not_addressed(self) -> None:
        """In a group anybody may have been meant."""
        assert command_of(read_message(text="/report")) == ("report", "", False)

    def test_a_command_for_another_bot_is_ignored(self) -> None:
        """Neither its command nor its text reaches a service."""
        update = read_message(text="/report@other_bot lost parcel")
        assert update.update_type == "message"
        assert isinstance(update, ServiceMessage)
        assert update.trigger_name is None

    def test_while_our_name_is_unknown_every_name_is_ours(self) -> None:
        """Better to answer once too often than to be deaf at the start."""
        made = UpdateParser(bot_id=1)
        update = made.parse(body(text="/report@other_bot x"), ARRIVED)
        assert command_of(update) == ("report", "x", True)


FILE = {"file_id": "f", "file_unique_id": "u-f", "size_bytes": 8}
LENGTH = {"duration_seconds": 4}
PICTURE = {"width": 3, "height": 2}
POINT = {"latitude": 48.25, "longitude": 16.5}
PLACE = {"location": POINT, "title": "t", "address": "a"}
CARD = {"phone_number": "+1", "first_name": "f", "last_name": "l", "user_id": 3}
DICE = {"emoji": "d", "value": 6}
SONG = {"performer": "p", "title": "t"}
LABEL = {"mime_type": "a/b", "file_name": "n"}
WAVE = {"emoji": "x", "set_name": "s"}
INVOICE = {"title": "t", "description": "d", "currency": "EUR", "total_amount": 1}
ADDRESS = {
    "country_code": "AT",
    "state": "s",
    "city": "c",
    "street_line1": "1",
    "street_line2": "2",
    "post_code": "1010",
}
ORDER = {
    "name": "n",
    "phone_number": "+1",
    "email": "e@example.com",
    "shipping_address": ADDRESS,
}
PAYMENT = {
    "currency": "EUR",
    "total_amount": 1250,
    "invoice_payload": "order-7",
    "telegram_payment_charge_id": "t1",
    "provider_payment_charge_id": "p1",
    "shipping_option_id": "post",
    "order_info": ORDER,
}

ATTACHMENTS: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("document", file(**LABEL), {"file": FILE | LABEL}),
    ("voice", file(duration=4), {"file": FILE} | LENGTH),
    ("audio", file(duration=4, **SONG), {"file": FILE} | LENGTH | SONG),
    ("video", file(duration=4, **PICTURE), {"file": FILE} | LENGTH | PICTURE),
    ("animation", file(duration=4, **PICTURE), {"file": FILE} | LENGTH | PICTURE),
    ("video_note", file(duration=4, length=9), {"file": FILE, "diameter": 9} | LENGTH),
    ("sticker", file(**WAVE), {"file": FILE} | WAVE),
    (
        "location",
        POINT | {"horizontal_accuracy": 5, "live_period": 60},
        POINT | {"horizontal_accuracy_meters": 5, "live_period_seconds": 60},
    ),
    ("venue", PLACE, PLACE),
    ("contact", CARD, CARD),
    ("dice", DICE, DICE),
    (
        "poll",
        {
            "id": "52",
            "question": "q",
            "options": [{"text": "a", "voter_count": 2}, {"text": "b"}],
            "total_voter_count": 2,
            "is_closed": True,
            "is_anonymous": True,
            "type": "quiz",
            "allows_multiple_answers": True,
        },
        {
            "poll_id": "52",
            "question": "q",
            "options": [{"text": "a", "voter_count": 2}, {"text": "b"}],
            "total_voter_count": 2,
            "is_closed": True,
            "is_anonymous": True,
            "is_quiz": True,
            "allows_multiple_answers": True,
        },
    ),
    ("story", {"chat": {"id": -3}, "id": 4}, {"chat_id": -3, "story_id": 4}),
    (
        "checklist",
        {
            "title": "t",
            "tasks": [{"id": 1, "text": "a", "completion_date": 9}],
        },
        {
            "title": "t",
            "tasks": [{"task_id": 1, "text": "a", "completion_time": {"seconds": 9}}],
        },
    ),
    ("game", {"title": "t", "description": "d"}, {"title": "t", "description": "d"}),
    ("invoice", INVOICE, INVOICE),
    (
        "paid_media",
        {"star_count": 5, "paid_media": [{"type": "preview"}, {"type": "x"}]},
        {"star_count": 5, "media_count": 2},
    ),
    (
        "live_photo",
        file(duration=4, photo=[file("p", width=3, height=2)]),
        {"photo": FILE | {"file_id": "p", "file_unique_id": "u-p"}, "video": FILE},
    ),
    ("successful_payment", PAYMENT, PAYMENT),
    ("refunded_payment", PAYMENT, PAYMENT),
]


class TestContent:
    """What a message carries."""

    @pytest.mark.parametrize(("name", "sent", "received"), ATTACHMENTS)
    def test_attachments_reach_the_contract_whole(
        self, name: str, sent: object, received: dict[str, Any]
    ) -> None:
        """Every field of the contract is filled from its field in Telegram's JSON."""
        filled: dict[str, Any] = {name: received}
        message = content(read_message(**{name: sent}))
        assert message == IncomingMessage(message_id=5, **filled)

    def test_of_a_photo_the_largest_size_is_taken(self) -> None:
        sizes = [file("s", width=9, height=9), file("l", width=90, height=80)]
        for photo in (sizes, sizes[::-1]):
            taken = content(read_message(photo=photo)).photo
            assert (taken.file.file_id, taken.width, taken.height) == ("l", 90, 80)

    @pytest.mark.parametrize(
        ("newer", "older", "wins"),
        [
            ({"animation": file("a")}, {"document": file("a")}, "animation"),
            ({"venue": {"location": POINT}}, {"location": POINT}, "venue"),
            ({"live_photo": file("a")}, {"photo": [file("p")]}, "live_photo"),
        ],
    )
    def test_what_telegram_sends_twice_arrives_once(
        self, newer: dict[str, Any], older: dict[str, Any], wins: str
    ) -> None:
        """Old names stand beside the new ones, in any order."""
        assert attachment(read_message(**newer, **older)) == wins
        assert attachment(read_message(**older, **newer)) == wins

    @pytest.mark.parametrize(
        "kind",
        ["poll", "story", "checklist", "game", "invoice", "paid_media", "giveaway",
         "giveaway_winners", "rich_message", "live_photo"],
    )  # fmt: skip
    def test_content_of_a_shape_that_is_not_known_is_named(self, kind: str) -> None:
        """A service can at least say that it does not understand."""
        message = content(read_message(**{kind: {"anything": [1]}}))
        assert message.other.type == kind

    @pytest.mark.parametrize(
        "fact",
        ["migrate_to_chat_id", "new_chat_members", "pinned_message",
         "giveaway_created"],
    )  # fmt: skip
    def test_service_messages_are_no_messages(self, fact: str) -> None:
        update = read_message(**{fact: {}})
        assert isinstance(update, ServiceMessage)
        assert not update.bypasses_limits

    @pytest.mark.parametrize("name", sorted(SERVICE_CONTENTS))
    def test_what_a_service_message_tells_of_has_a_name(self, name: str) -> None:
        """Every content of Bot API 10.3; a route may ask for it by that name."""
        update = read_message(
            **{name: {"anything": 1}}, reply_markup={}, sender_tag="x"
        )
        assert isinstance(update, ServiceMessage)
        assert (update.update_type, update.trigger_name) == ("message", name)
        assert json.loads(bytes(update.payload)) == {"anything": 1}
        assert update.message_payload is not None
        assert json.loads(bytes(update.message_payload))[name] == {"anything": 1}
        assert not update.bypasses_limits

    def test_a_content_of_the_future_is_named_by_its_field(self) -> None:
        """What is known to be no content is passed over, and a text is a text."""
        new = {"has_protected_content": True, "hologram_shared": {"beam": 1}}
        update = read_message(**new, new_chat_participant={})
        assert update.trigger_name == "hologram_shared"
        assert json.loads(bytes(update.payload)) == {"beam": 1}
        assert read_message(**new, text="hi").trigger_name is None
        assert read_message(has_protected_content=True).trigger_name is None

    @pytest.mark.parametrize("kind", ["successful_payment", "refunded_payment"])
    def test_a_payment_has_a_name_of_its_own(self, kind: str) -> None:
        """A route may ask for it by that name; without one it is a message."""
        update = read_message(**{kind: PAYMENT})
        assert (update.update_type, update.trigger_name, update.bypasses_limits) == (
            "message",
            kind,
            True,
        )
        assert json.loads(bytes(update.payload)) == PAYMENT
        assert attachment(update) == kind

    @pytest.mark.parametrize("part", sorted(PAYMENT))
    def test_a_payment_that_cannot_be_read_is_malformed(self, part: str) -> None:
        """Its money is there: a person has to look at it."""
        with pytest.raises(MalformedUpdate):
            read_message(successful_payment=PAYMENT | {part: [1]})

    def test_a_caption_is_the_text_of_its_photo(self) -> None:
        message = content(reader().parse(FILES["message_photo_caption"], ARRIVED))
        assert message.text == "Broken lid, see the corner. More: example.com/r/7"
        assert [(e.type, e.offset, e.length) for e in message.entities] == [
            ("url", 34, 15)
        ]

    def test_a_caption_alone_is_a_message(self) -> None:
        """Of an attachment that was invented later the words are kept."""
        message = content(read_message(caption="look", hologram={"id": 1}))
        assert message.text == "look"

    def test_entities_keep_all_they_have(self) -> None:
        """Links, mentions, languages and custom emoji."""
        place = {"offset": 1, "length": 2}
        message = content(
            read_message(
                text="some text",
                entities=[
                    place | {"type": "text_link", "url": "https://example.com"},
                    place | {"type": "text_mention", "user": PERSON},
                    place | {"type": "pre", "language": "python"},
                    place | {"type": "custom_emoji", "custom_emoji_id": "54"},
                ],
            )
        )
        assert [
            (e.type, e.url, e.user_id, e.language, e.custom_emoji_id)
            for e in message.entities
        ] == [
            ("text_link", "https://example.com", 0, "", ""),
            ("text_mention", "", ANNA, "", ""),
            ("pre", "", 0, "python", ""),
            ("custom_emoji", "", 0, "", "54"),
        ]

    def test_offsets_stay_in_utf16_units(self) -> None:
        """They are Telegram's own, and so is the text they point into."""
        message = content(
            reader().parse(FILES["message_group_entities_emoji"], ARRIVED)
        )
        units = message.text.encode("utf-16-le")
        bold = next(e for e in message.entities if e.type == "bold")
        marked = units[bold.offset * 2 : (bold.offset + bold.length) * 2]
        assert marked.decode("utf-16-le") == "\N{MATHEMATICAL SCRIPT CAPITAL X}=bold"

    def test_replies_and_albums_are_reported(self) -> None:
        """Which message is answered, and which album a photo is part of."""
        contact = content(reader().parse(FILES["message_contact"], ARRIVED))
        assert contact.reply_to_message_id == 1199
        item = content(reader().parse(FILES["message_album_item"], ARRIVED))
        assert item.media_group_id == "14000000000000123"

    def test_edits_are_not_heard_twice(self) -> None:
        """Only what is new is a message; an edit has none."""
        edit = reader().parse(FILES["edited_message"], ARRIVED)
        assert isinstance(edit, OtherUpdate)


DEEP = 100_000
TOO_HIGH = {"emoji": "d", "value": 2**31}


class TestReferences:
    """What a message says of other messages."""

    @pytest.mark.parametrize(
        ("origin", "expected"),
        [
            (
                {"type": "user", "date": 9, "sender_user": PERSON},
                MessageOrigin(
                    type="user",
                    send_time=Timestamp(seconds=9),
                    sender_user=User(id=ANNA, first_name="Anna"),
                ),
            ),
            (
                {"type": "hidden_user", "date": 9, "sender_user_name": "A."},
                MessageOrigin(
                    type="hidden_user",
                    send_time=Timestamp(seconds=9),
                    sender_user_name="A.",
                ),
            ),
            (
                {"type": "chat", "date": 9, "sender_chat": {"id": -5, "type": "group"}},
                MessageOrigin(
                    type="chat",
                    send_time=Timestamp(seconds=9),
                    sender_chat=Chat(id=-5, type=CHAT_TYPE_GROUP),
                ),
            ),
            (
                {
                    "type": "channel",
                    "date": 9,
                    "chat": {"id": NEWS, "type": "channel", "title": "News"},
                    "message_id": 3,
                    "author_signature": "B.",
                },
                MessageOrigin(
                    type="channel",
                    send_time=Timestamp(seconds=9),
                    sender_chat=Chat(id=NEWS, type=CHAT_TYPE_CHANNEL, title="News"),
                    message_id=3,
                    author_signature="B.",
                ),
            ),
            ({"type": 7}, MessageOrigin()),
            ("somewhere", MessageOrigin()),
        ],
        ids=["user", "hidden user", "chat", "channel", "strange", "no object"],
    )
    def test_a_forwarded_message_is_marked(
        self, origin: object, expected: MessageOrigin
    ) -> None:
        """Also if its origin cannot be read."""
        message = content(read_message(text="hi", forward_origin=origin))
        assert message.HasField("forward_origin")
        assert message.forward_origin == expected

    @pytest.mark.parametrize("mark", [{"forward_origin": {}}, {"forward_date": 9}])
    @pytest.mark.parametrize(
        "text", ["/pay 5", "/pay@marmot_desk_bot", "/pay@other_bot"]
    )
    def test_a_forwarded_command_is_none(
        self, text: str, mark: dict[str, object]
    ) -> None:
        """Whoever forwards a message did not write it."""
        update = read_message(text=text, **mark)
        assert command_of(update) is None
        assert content(update).text == text

    @pytest.mark.parametrize(
        ("bot", "command"), [(7400000001, ("pay", "5", False)), (9, None)]
    )
    def test_only_this_bot_writes_commands_for_a_user(
        self, bot: int, command: tuple[str, str, bool] | None
    ) -> None:
        """A result of another bot's inline mode may look like something else."""
        via = {"id": bot, "is_bot": True, "first_name": "B"}
        update = read_message(text="/pay 5", via_bot=via)
        assert command_of(update) == command
        assert content(update).via_bot.id == bot
        assert command_of(read_message(text="/pay 5", via_bot="B")) is None

    def test_the_answered_message_comes_along(self) -> None:
        """Its text or attachment, who sent it and when; not what that one answers."""
        photo = {"message_id": 4, "chat": PRIVATE, "date": 2, "from": PERSON}
        photo |= {
            "photo": [file("p")],
            "caption": "this",
            "reply_to_message": dict(photo),
        }
        message = content(read_message(text="translate", reply_to_message=photo))
        answered = message.reply_to_message
        assert message.reply_to_message_id == answered.content.message_id == 4
        assert (answered.content_type, answered.content.text) == ("photo", "this")
        assert answered.content.photo.file.file_id == "p"
        assert answered.from_user == User(id=ANNA, first_name="Anna")
        assert answered.send_time.seconds == 2
        assert not answered.content.HasField("reply_to_message")

    @pytest.mark.parametrize(
        ("answered", "kind"),
        [
            ({"text": "hi"}, "text"),
            ({"giveaway": {}}, "giveaway"),
            ({"new_chat_members": []}, "new_chat_members"),
            ({"hologram_shared": {}}, "hologram_shared"),
            ({"date": 0}, ""),
            ({"successful_payment": {}}, "successful_payment"),
            ({"entities": "strange"}, None),
        ],
    )
    def test_whatever_is_answered_is_named(
        self, answered: dict[str, object], kind: str | None
    ) -> None:
        """A message that is gone or strange has its number at least."""
        answered = {"message_id": 4, "chat": PRIVATE, "date": 2} | answered
        message = content(read_message(text="hi", reply_to_message=answered))
        assert message.reply_to_message_id == 4
        assert message.reply_to_message.content.message_id == 4
        assert message.reply_to_message.content_type == (kind or "")

    def test_a_quote_and_a_message_elsewhere_are_reported(self) -> None:
        """An answer to a message of another chat names that chat."""
        bold = {"type": "bold", "offset": 0, "length": 2}
        quote = {"text": "hi", "entities": [bold], "position": 7, "is_manual": True}
        elsewhere = {
            "origin": {"type": "user", "date": 9, "sender_user": PERSON},
            "chat": CHAT,
            "message_id": 3,
            "document": file(),
            "animation": file(),
        }
        fields = {"quote": quote, "external_reply": elsewhere}
        message = content(read_message(text="hi", **fields))
        assert message.quote == TextQuote(
            text="hi",
            entities=[MessageEntity(type="bold", offset=0, length=2)],
            position=7,
            is_manual=True,
        )
        reply = message.external_reply
        assert reply.origin.sender_user.id == ANNA
        assert (reply.chat.id, reply.message_id, reply.attachment_type) == (
            FANS,
            3,
            "animation",
        )

    def test_bots_and_receivers_are_reported(self) -> None:
        """Whose inline mode wrote it, and who alone can see it."""
        bot = {"id": 9, "is_bot": True, "first_name": "B", "username": "gif_bot"}
        fields = {"via_bot": bot, "ephemeral_message_id": 8, "receiver_user": PERSON}
        message = content(read_message(text="hi", message_id=0, **fields))
        assert message.via_bot == User(
            id=9, is_bot=True, first_name="B", username="gif_bot"
        )
        assert (message.message_id, message.ephemeral_message_id) == (0, 8)
        assert message.receiver_user.id == ANNA

    @pytest.mark.parametrize(
        "name", ["quote", "external_reply", "via_bot", "receiver_user"]
    )
    @pytest.mark.parametrize("strange", [None, 1, [], {}])
    def test_what_cannot_be_read_is_left_out(self, name: str, strange: object) -> None:
        message = content(read_message(text="hi", **{name: strange}))
        assert message == content(read_message(text="hi"))


def add_nulls(value: Any) -> Any:  # noqa: ANN401 - any JSON
    """Add each optional field that an object lacks, as null."""
    if isinstance(value, list):
        return [add_nulls(each) for each in value]
    if not isinstance(value, dict):
        return value
    optional = (
        "text",
        "from",
        "photo",
        "poll",
        "username",
        "title",
        "entities",
        "date",
    )
    absent = {name: None for name in optional if name not in value}
    return {name: add_nulls(part) for name, part in value.items()} | absent


class TestNulls:
    """A field that is null is as good as absent."""

    @pytest.mark.parametrize("name", FILES)
    def test_an_update_with_nulls_reads_as_one_without(self, name: str) -> None:
        """Telegram sends none, but what passes updates on may."""
        plain = json.loads(FILES[name])
        if name == "unknown_future_update":
            return
        (kind,) = plain.keys() - {"update_id"}
        changed = plain | {kind: add_nulls(plain[kind])}
        expected = reader().parse(FILES[name], ARRIVED)
        update = reader().parse(json.dumps(changed).encode(), ARRIVED)
        assert update.context == expected.context
        assert (update.update_type, update.trigger_name) == (
            expected.update_type,
            expected.trigger_name,
        )
        assert type(update) is type(expected)
        assert attachment(update) == attachment(expected)
        assert command_of(update) == command_of(expected)
        if isinstance(expected, ButtonPress):
            assert press_of(update).callback_data == expected.callback_data
        assert update.decode_payload() == expected.decode_payload()

    def test_a_text_may_speak_of_null(self) -> None:
        text = ': null, "x": null'
        message = content(read_message(text=text, reply_to_message=None))
        assert message.text == ': null, "x": null'

    def test_a_null_in_place_of_what_is_needed_is_malformed(self) -> None:
        with pytest.raises(MalformedUpdate):
            read(message=None)
        with pytest.raises(MalformedUpdate):
            read_message(chat=None)


class TestEphemeral:
    """What only its user sees in a group."""

    MESSAGE: ClassVar[dict[str, Any]] = {
        "message_id": 0,
        "ephemeral_message_id": 8,
        "chat": {"id": -1001, "type": "supergroup"},
        "from": PERSON,
        "date": 1,
    }

    def test_a_command_is_known_as_ephemeral(self) -> None:
        assert read(message={**self.MESSAGE, "text": "/x"}).ephemeral_message_id == 8

    def test_a_press_is_known_as_ephemeral(self) -> None:
        """By the message under which the button is."""
        query = {"id": "q", "from": PERSON, "data": "a", "message": self.MESSAGE}
        assert read(callback_query=query).ephemeral_message_id == 8


class TestMalformed:
    """What is not an update."""

    @pytest.mark.parametrize(
        "junk",
        [
            b"",
            b"{",
            b"null",
            b"[]",
            b'"update"',
            b"{}",
            b'{"update_id":"7"}',
            b'{"update_id":7.5}',
            b'{"update_id":true}',
            b'{"update_id":null}',
            b'{"update_id":0}',
            b'{"update_id":-7}',
            b'{"update_id":9007199254740992}',
            b'{"update_id":' + b"9" * 5000 + b"}",
            b'{"update_id":7} {}',
            b'{"update_id":7,"hologram":"\xff',
            b'{"update_id":7\xff}',
            b'{"update_id":7,"hologram":' + b"[" * DEEP + b"]" * DEEP + b"}",
            b'{"update_id":7,"message":' + b'{"a":' * DEEP + b"1" + b"}" * DEEP + b"}",
        ],
    )
    def test_junk_is_malformed(self, junk: bytes) -> None:
        with pytest.raises(MalformedUpdate):
            reader().parse(junk, ARRIVED)

    def test_what_is_not_utf8_is_replaced(self) -> None:
        """The data of a button is chosen by whoever presses it, and not checked."""
        body = (
            b'{"update_id":7,"callback_query":{"id":"q","data":"a\xff\xc3(",'
            b'"from":{"id":5},"inline_message_id":"AA"}}'
        )
        press = press_of(reader().parse(body, ARRIVED))
        assert press.callback_query_id == "q"
        assert press.callback_data == "a\ufffd\ufffd("
        update = reader().parse(b'{"update_id":7,"hologram":"\xff"}', ARRIVED)
        assert (update.update_type, bytes(update.payload)) == (
            "unknown",
            '"\ufffd"'.encode(),
        )

    def test_the_largest_number_is_taken(self) -> None:
        """Numbers below 2**53 survive every JSON library."""
        update = reader().parse(b'{"update_id":9007199254740991}', ARRIVED)
        assert update.update_id == 2**53 - 1

    @pytest.mark.parametrize(
        "broken",
        [
            {"message": 1},
            {"message": {"message_id": 1}},
            {"message": {"message_id": "1", "chat": PRIVATE}},
            {"message": {"message_id": 1, "chat": {"id": 2**63}}},
            {"message": {"message_id": 1, "chat": PRIVATE, "text": 5}},
            {"message": {"message_id": 1, "chat": PRIVATE, "date": 2**60}},
            {"message": {"message_id": 1, "chat": PRIVATE, "photo": {}}},
            {"message": {"message_id": 1, "chat": PRIVATE, "dice": TOO_HIGH}},
            {"callback_query": {"id": "1"}},
            {"inline_query": {"from": {"id": -1}}},
            {"my_chat_member": {"chat": PRIVATE, "from": PERSON}},
            {"poll": {}},
        ],
    )
    def test_a_known_kind_of_a_strange_shape_is_malformed(
        self, broken: dict[str, Any]
    ) -> None:
        """It cannot be answered in any sensible way."""
        with pytest.raises(MalformedUpdate):
            read(**broken)

    def test_the_error_does_not_quote_the_user(self) -> None:
        """What somebody wrote is in no error."""
        with pytest.raises(MalformedUpdate) as caught:
            read(message={"text": "my secret", "date": "my secret"})
        assert "secret" not in str(caught.value)
        assert caught.value.__suppress_context__

    @given(st.binary(max_size=300))
    def test_any_bytes_are_an_update_or_malformed(self, junk: bytes) -> None:
        assert_update_or_malformed(junk)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["id", "type", "x", "date"]), inner, max_size=4
        )
    ),
    max_leaves=8,
)
KINDS = sorted(
    {row.kind for row in [*TABLE.values(), *(row for _, row in OTHER_KINDS)]}
)


def assert_update_or_malformed(junk: bytes) -> None:
    """Read it; any other error than Malformed fails the test."""
    try:
        update = reader().parse(junk, ARRIVED)
    except MalformedUpdate:
        return
    assert update.ordering_key
    assert 0 < update.update_id < 2**53
    assert update.context.SerializeToString()
    with contextlib.suppress(MalformedUpdate):
        if (details := update.decode_payload()) is not None:
            details.SerializeToString()


@given(st.dictionaries(st.sampled_from([*KINDS, "x"]), JSON, max_size=3), JSON)
@example({"message": {}}, 7)
def test_any_json_object_is_an_update_or_malformed(
    parts: dict[str, object], update_id: object
) -> None:
    """Whatever stands under whatever key."""
    for number in (7, update_id):
        assert_update_or_malformed(json.dumps({"update_id": number} | parts).encode())


@given(st.text(max_size=30), JSON)
def test_any_unknown_kind_keeps_its_name_and_the_bytes_that_came(
    name: str, content: object
) -> None:
    """A route for what Telegram invents next year gets all of it."""
    assume(name not in {*KINDS, "update_id"})
    value = json.dumps(content, separators=(" , ", " : "))
    posted = f'{{"update_id": 7, {json.dumps(name)}: {value}}}'.encode()
    update = reader().parse(posted, ARRIVED)
    assert (update.update_type, update.trigger_name) == ("unknown", name)
    assert bytes(update.payload) == value.encode()
    assert update.ordering_key


@given(st.data())
def test_a_mutated_real_update_is_an_update_or_malformed(data: st.DataObject) -> None:
    """Any part dropped or replaced, in any real update."""
    update = json.loads(data.draw(st.sampled_from(sorted(FILES.values()))))
    for _ in range(data.draw(st.integers(1, 3))):
        parent, key = data.draw(st.sampled_from(places(update)))
        if data.draw(st.booleans()):
            parent[key] = data.draw(JSON)
        else:
            del parent[key]
        if not update:
            break
    assert_update_or_malformed(json.dumps(update).encode())


def places(value: dict[Any, Any] | list[Any]) -> list[tuple[Any, Any]]:
    """List all parts of a JSON value, each as its container and its key."""
    keys = list(value) if isinstance(value, dict) else list(range(len(value)))
    found = [(value, key) for key in keys]
    for key in keys:
        if isinstance(value[key], dict | list):
            found += places(value[key])
    return found


@pytest.mark.parametrize("part", ["poll", "successful_payment"])
def test_depth_is_malformed_or_read_at_every_level(part: str) -> None:
    """A part that is read later is read at another depth of the program's stack."""
    for depth in range(800, 1000):
        nested = b"[" * depth + b"]" * depth
        message = body().replace(b'"message": {', b'"message": {"%b": {"x": %b}, ')
        with contextlib.suppress(MalformedUpdate):
            reader().parse(message % (part.encode(), nested), ARRIVED)
