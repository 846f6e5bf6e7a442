"""Whatever a service replies, a strict simulator of the Bot API takes the calls."""

from typing import Any

import pytest
from botgateway.chat.v1.context_pb2 import (
    CHAT_TYPE_CHANNEL,
    CHAT_TYPE_PRIVATE,
    CHAT_TYPE_SUPERGROUP,
)
from botgateway.chat.v1.reply_pb2 import (
    ButtonStyle,
    CallbackTarget,
    ForceReply,
    InlineKeyboard,
    InlineKeyboardButton,
    InlineKeyboardRow,
    LinkPreviewOptions,
    LinkPreviewSize,
    OutgoingMessage,
    Reply,
    ReplyKeyboard,
    ReplyKeyboardButton,
    ReplyKeyboardRow,
)
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.domain.update import ButtonPress, Update, UserMessage
from gateway.sandbox.simulator.delivery.deliveries import UpdateDelivery
from gateway.sandbox.simulator.delivery.webhook_sender import DeliveryTiming
from gateway.sandbox.simulator.methods import BotApiMethods
from gateway.sandbox.simulator.state.callback_queries import (
    CallbackQueries,
    CallbackQuery,
)
from gateway.sandbox.simulator.state.chats import Chats
from gateway.sandbox.simulator.state.event_stream import EventStream
from gateway.sandbox.simulator.state.update_log import UpdateLog
from gateway.sandbox.simulator.state.users import Accounts, Users
from gateway.sandbox.simulator.state.webhook import Webhook
from gateway.sandbox.simulator.validation.rules import ApiError
from gateway.telegram.bot_api.responses import build_error, parse_response
from gateway.telegram.outbound.degrade import degrade
from gateway.telegram.outbound.renderer import render
from tests.factories import build_button_press, build_update
from tests.unit.telegram.rendering import MEDIA
from tests.unit.telegram.texts import TEXTS

BOT = {"id": 1, "is_bot": True, "first_name": "Bot", "username": "a_bot"}
USER, GROUP = 4711, -1001


class Telegram:
    """A strict simulator with one user, one group, and a message in each chat."""

    def __init__(self) -> None:
        events = EventStream()
        people = Users(events, Accounts(10))
        people.add("Ann", "en", USER)
        chats = Chats(people, events)
        chats.groups.add(GROUP)
        keyboard = {"inline_keyboard": [[{"text": "old", "callback_data": "old"}]]}
        shown = {"text": "old text", "reply_markup": keyboard}
        self.shown = {
            chat: chats.show(BOT, chat, shown)["message_id"] for chat in (USER, GROUP)
        }
        self._presses = CallbackQueries(events, strict=True)
        webhook = Webhook()
        self._methods = BotApiMethods(
            BOT,
            users=people,
            chats=chats,
            callback_queries=self._presses,
            webhook=webhook,
            deliveries=UpdateDelivery(
                webhook, UpdateLog(events), events, DeliveryTiming()
            ),
            events=events,
            strict=True,
        )

    def press(self, chat: int) -> str:
        """Return the id of a press of a button."""
        return self._presses.add(CallbackQuery(USER, chat, self.shown.get(chat, 0)))

    def call(self, method: str, parameters: dict[str, Any]) -> str:
        """Carry a call out. Returns the words of a refusal; empty: it was taken."""
        assert self._methods.find(method) == method
        try:
            self._methods.call(method, parameters)
        except ApiError as refused:
            return refused.description
        return ""


URLS = st.sampled_from(
    [
        *("https://example.com", "tg://user?id=1", "http://1.2.3.4/x", "https://[::1]"),
        *("", "example.com", "https://localhost", "https://a.b:x", "http://a b.c", "x"),
    ]
) | st.text(max_size=12).map(lambda text: f"https://{text}")
STYLES = st.sampled_from(ButtonStyle.values())
SHORT = st.text(max_size=4)
BUTTONS = st.one_of(
    st.builds(
        InlineKeyboardButton,
        text=SHORT,
        callback_data=st.text(max_size=70),
        style=STYLES,
    ),
    st.builds(
        InlineKeyboardButton,
        text=SHORT,
        url=URLS,
        icon_custom_emoji_id=st.text(max_size=4),
    ),
    st.builds(InlineKeyboardButton, text=SHORT, web_app_url=URLS, style=STYLES),
    st.builds(
        InlineKeyboardButton,
        text=SHORT,
        callback_target=st.builds(CallbackTarget, method=SHORT),
    ),
    st.builds(InlineKeyboardButton, text=SHORT),
)
REPLY_BUTTONS = st.one_of(
    st.builds(ReplyKeyboardButton, text=SHORT, style=STYLES),
    st.builds(ReplyKeyboardButton, text=SHORT, request_contact=st.booleans()),
    st.builds(
        ReplyKeyboardButton, text=SHORT, request_location=st.booleans(), style=STYLES
    ),
    st.builds(ReplyKeyboardButton, text=SHORT, web_app_url=URLS),
)
PLACEHOLDERS = SHORT | st.text(min_size=60, max_size=70)
KEYBOARDS = st.builds(
    InlineKeyboard,
    rows=st.lists(
        st.builds(InlineKeyboardRow, buttons=st.lists(BUTTONS, max_size=3)), max_size=3
    ),
)
REPLY_KEYBOARDS = st.builds(
    ReplyKeyboard,
    rows=st.lists(
        st.builds(ReplyKeyboardRow, buttons=st.lists(REPLY_BUTTONS, max_size=3)),
        max_size=3,
    ),
    is_persistent=st.booleans(),
    one_time_keyboard=st.booleans(),
    input_field_placeholder=PLACEHOLDERS,
    selective=st.booleans(),
)
MARKUPS: st.SearchStrategy[dict[str, Any]] = st.one_of(
    st.just({}),
    KEYBOARDS.map(lambda keyboard: {"inline_keyboard": keyboard}),
    REPLY_KEYBOARDS.map(lambda keyboard: {"reply_keyboard": keyboard}),
    st.booleans().map(lambda remove: {"remove_keyboard": remove}),
    st.builds(
        ForceReply, input_field_placeholder=PLACEHOLDERS, selective=st.booleans()
    ).map(lambda force: {"force_reply": force}),
)
PREVIEWS = st.none() | st.builds(
    LinkPreviewOptions,
    is_disabled=st.booleans(),
    url=URLS,
    size=st.sampled_from(LinkPreviewSize.values()),
    show_above_text=st.booleans(),
)


@st.composite
def messages(draw: st.DrawFn) -> OutgoingMessage:
    """Make any message in plain text: what cannot be parsed has its own tests."""
    return OutgoingMessage(
        text=draw(TEXTS),
        edit=draw(st.booleans()),
        media=draw(MEDIA),
        reply_to_message_id=draw(st.sampled_from([0, 0, 1, 7, -1, 2**40])),
        disable_notification=draw(st.booleans()),
        protect_content=draw(st.booleans()),
        link_preview_options=draw(PREVIEWS),
        **draw(MARKUPS),
    )


CONTEXTS = st.sampled_from(
    [
        {"chat_id": USER, "chat_type": CHAT_TYPE_PRIVATE},
        {"chat_id": USER, "chat_type": CHAT_TYPE_PRIVATE, "message_thread_id": 3},
        {
            "chat_id": USER,
            "chat_type": CHAT_TYPE_PRIVATE,
            "business_connection_id": "b",
        },
        {"chat_id": GROUP, "chat_type": CHAT_TYPE_SUPERGROUP},
        {"chat_id": GROUP, "chat_type": CHAT_TYPE_CHANNEL},
        {},
    ]
)


# Python strips U+0085, but Telegram does not.
LABEL = "\x85"


@given(CONTEXTS, st.booleans(), st.lists(messages(), max_size=3))
@example(
    {"chat_id": USER, "chat_type": CHAT_TYPE_PRIVATE},
    False,
    [
        OutgoingMessage(
            text="a",
            inline_keyboard=InlineKeyboard(
                rows=[
                    InlineKeyboardRow(
                        buttons=[
                            InlineKeyboardButton(text=LABEL, url="https://example.com")
                        ]
                    )
                ]
            ),
        ),
        OutgoingMessage(
            text="a",
            reply_keyboard=ReplyKeyboard(
                rows=[ReplyKeyboardRow(buttons=[ReplyKeyboardButton(text=LABEL)])]
            ),
        ),
    ],
)
def test_no_call_is_refused_whatever_a_service_replies(
    place: dict[str, Any], pressed: bool, sent: list[OutgoingMessage]
) -> None:
    """Except that an edit changes nothing, which counts as success."""
    telegram = Telegram()
    chat = place.get("chat_id", 0)
    update: Update
    if pressed:
        update = build_update(
            ButtonPress,
            callback_query_id=telegram.press(chat),
            message_id=telegram.shown.get(chat),
            inline_message_id=None if chat else "AAQ",
            **place,
        )
    else:
        update = build_update(UserMessage, **place)
    for call in render(update, Reply(messages=sent), lambda _: None):
        refused = telegram.call(call.method, call.parameters)
        assert not refused or "message is not modified" in refused


@pytest.mark.parametrize("gone", [True, False])
def test_an_edit_of_what_is_gone_is_taken_as_a_new_message(gone: bool) -> None:
    """The way round a refusal ends at a call that is taken."""
    telegram = Telegram()
    update = build_button_press(
        user=USER,
        callback_query_id=telegram.press(USER),
        message_id=99 if gone else telegram.shown[USER],
    )
    message = OutgoingMessage(
        text="new", edit=True, protect_content=True, reply_to_message_id=55
    )
    call = render(update, Reply(messages=[message]), lambda _: None)[-1]
    said = telegram.call(call.method, call.parameters)
    assert bool(said) == gone
    if gone:
        body = b'{"ok":false,"error_code":400,"description":"%s"}' % said.encode()
        error = build_error(call.method, parse_response(400, "", body))
        amended = degrade(call, error.part)  # type: ignore[attr-defined]  # a Rejected
        assert amended is not None
        assert telegram.call(amended.method, amended.parameters) == ""
