"""Keyboards of every kind, as they stand in the calls."""

from typing import Any

import pytest
from botgateway.chat.v1.context_pb2 import (
    CHAT_TYPE_CHANNEL,
    CHAT_TYPE_SUPERGROUP,
)
from botgateway.chat.v1.reply_pb2 import (
    BUTTON_STYLE_DANGER,
    BUTTON_STYLE_PRIMARY,
    BUTTON_STYLE_SUCCESS,
    ButtonStyle,
    CallbackTarget,
    ForceReply,
    InlineKeyboard,
    InlineKeyboardButton,
    InlineKeyboardRow,
    Media,
    OutgoingMessage,
    ReplyKeyboard,
    ReplyKeyboardButton,
    ReplyKeyboardRow,
)

from gateway.domain.update import Update
from tests.unit.telegram.rendering import build_message_update, build_press, composed

TEA = ReplyKeyboardButton(text="Tea")
APP = "https://example.com/app"


def rows(*buttons: ReplyKeyboardButton) -> ReplyKeyboard:
    """Make a reply keyboard with one button a row."""
    return ReplyKeyboard(
        rows=[ReplyKeyboardRow(buttons=[button]) for button in buttons]
    )


def markup(
    update: Update | None = None,
    **fields: Any,  # noqa: ANN401 - any field of a message
) -> tuple[Any, list[str]]:
    """Send a message with a markup; give it as it is sent, and what was reported."""
    message = OutgoingMessage(text="Hi", **fields)
    calls, reported = composed(update or build_message_update(), message)
    return calls[-1][1].get("reply_markup"), reported


class TestReplyKeyboard:
    """A keyboard in the place of the letters."""

    def test_its_buttons_are_sent_in_their_rows(self) -> None:
        """As large as it has to be, and nothing that was not asked for."""
        keyboard = ReplyKeyboard(
            rows=[
                ReplyKeyboardRow(buttons=[TEA, ReplyKeyboardButton(text="Coffee")]),
                ReplyKeyboardRow(),
                ReplyKeyboardRow(
                    buttons=[ReplyKeyboardButton(text="No", style=BUTTON_STYLE_DANGER)]
                ),
            ]
        )
        sent, reported = markup(reply_keyboard=keyboard)
        assert sent == {
            "keyboard": [
                [{"text": "Tea"}, {"text": "Coffee"}],
                [{"text": "No", "style": "danger"}],
            ],
            "resize_keyboard": True,
        }
        assert reported == []

    def test_each_of_its_options_has_its_parameter(self) -> None:
        keyboard = rows(TEA)
        keyboard.is_persistent = keyboard.one_time_keyboard = keyboard.selective = True
        keyboard.input_field_placeholder = "Tea?"
        sent, _ = markup(reply_keyboard=keyboard)
        del sent["keyboard"]
        assert sent == {
            "resize_keyboard": True,
            "is_persistent": True,
            "one_time_keyboard": True,
            "input_field_placeholder": "Tea?",
            "selective": True,
        }

    def test_each_action_of_its_buttons_has_its_field(self) -> None:
        """In a private chat; an action that is not wanted leaves a plain button."""
        keyboard = rows(
            ReplyKeyboardButton(text="A", request_contact=True),
            ReplyKeyboardButton(text="B", request_location=True),
            ReplyKeyboardButton(text="C", web_app_url=APP),
            ReplyKeyboardButton(text="D", request_contact=False),
        )
        sent, reported = markup(reply_keyboard=keyboard)
        assert sent["keyboard"] == [
            [{"text": "A", "request_contact": True}],
            [{"text": "B", "request_location": True}],
            [{"text": "C", "web_app": {"url": APP}}],
            [{"text": "D"}],
        ]
        assert reported == []

    @pytest.mark.parametrize(
        ("button", "fault"),
        [
            (ReplyKeyboardButton(text=" "), "button_without_text"),
            (
                ReplyKeyboardButton(text="A", request_contact=True),
                "button_request_outside_private_chat",
            ),
            (
                ReplyKeyboardButton(text="A", request_location=True),
                "button_request_outside_private_chat",
            ),
            (
                ReplyKeyboardButton(text="A", web_app_url=APP),
                "button_web_app_outside_private_chat",
            ),
        ],
    )
    def test_a_bad_button_is_left_out(
        self, button: ReplyKeyboardButton, fault: str
    ) -> None:
        """And the keyboard, if it has no other one."""
        group = build_message_update(chat_type=CHAT_TYPE_SUPERGROUP)
        sent, reported = markup(group, reply_keyboard=rows(button, TEA))
        assert (sent["keyboard"], reported) == ([[{"text": "Tea"}]], [fault])
        sent, reported = markup(group, reply_keyboard=rows(button))
        assert (sent, reported) == (None, [fault, "reply_keyboard_empty"])

    @pytest.mark.parametrize("url", ["", "http://example.com", "https://localhost"])
    def test_a_web_app_needs_an_address_of_the_web(self, url: str) -> None:
        """Telegram would refuse the whole message."""
        button = ReplyKeyboardButton(text="A", web_app_url=url)
        sent, reported = markup(reply_keyboard=rows(button, TEA))
        assert (sent["keyboard"], reported) == (
            [[{"text": "Tea"}]],
            ["button_url_invalid"],
        )

    def test_it_is_cut_to_what_telegram_takes(self) -> None:
        """Too many buttons, and a placeholder of over 64 characters."""
        keyboard = ReplyKeyboard(
            rows=[ReplyKeyboardRow(buttons=[TEA] * 101)],
            input_field_placeholder="😀" * 33,
        )
        sent, reported = markup(reply_keyboard=keyboard)
        assert [len(row) for row in sent["keyboard"]] == [100]
        assert sent["input_field_placeholder"] == "😀" * 32
        assert reported == ["too_many_buttons", "placeholder_too_long"]


def test_a_keyboard_is_taken_away() -> None:
    assert markup(remove_keyboard=True) == ({"remove_keyboard": True}, [])
    assert markup(remove_keyboard=False) == (None, [])


def test_a_reply_is_forced() -> None:
    """With what it says in the empty field."""
    assert markup(force_reply=ForceReply()) == ({"force_reply": True}, [])
    force = ForceReply(input_field_placeholder="Name", selective=True)
    expected = {
        "force_reply": True,
        "input_field_placeholder": "Name",
        "selective": True,
    }
    assert markup(force_reply=force) == (expected, [])
    sent, reported = markup(force_reply=ForceReply(input_field_placeholder="x" * 65))
    assert len(sent["input_field_placeholder"]) == 64
    assert reported == ["placeholder_too_long"]


@pytest.mark.parametrize(
    "update",
    [
        build_message_update(chat_type=CHAT_TYPE_CHANNEL),
        build_message_update(business_connection_id="b"),
    ],
)
@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("reply_keyboard", rows(TEA)),
        ("remove_keyboard", True),
        ("force_reply", ForceReply()),
    ],
)
def test_where_telegram_takes_no_keyboards_they_are_left_out(
    update: Update, kind: str, value: object
) -> None:
    """In channels and for business accounts; the text arrives."""
    assert markup(update, **{kind: value}) == (None, [f"{kind}_unsupported_here"])


class TestEdit:
    """An edit carries an inline keyboard or none."""

    @pytest.mark.parametrize(
        "fields",
        [
            {"reply_keyboard": rows(TEA)},
            {"remove_keyboard": True},
            {"force_reply": ForceReply()},
        ],
    )
    def test_other_keyboards_are_left_out_of_an_edit(
        self, fields: dict[str, Any]
    ) -> None:
        """The text is edited; without a text there is nothing to do."""
        calls, reported = composed(
            build_press(),
            OutgoingMessage(text="New", edit=True, **fields),
            OutgoingMessage(edit=True, **fields),
        )
        edited = {"chat_id": 4711, "message_id": 12, "text": "New"}
        assert calls[1:] == [("editMessageText", edited)]
        # The second message has nothing left that could be edited.
        assert reported == ["markup_unsupported_in_edit", "message_empty"]
        calls, reported = composed(build_press(), OutgoingMessage(edit=True, **fields))
        assert calls[1:] == []
        assert reported == ["markup_unsupported_in_edit"]

    def test_a_message_in_the_place_of_an_edit_carries_them(self) -> None:
        """There was no message to edit, or its text needs a second message."""
        message = OutgoingMessage(text="New", edit=True, remove_keyboard=True)
        calls, reported = composed(build_message_update(), message)
        assert calls[0][0] == "sendMessage"
        assert calls[0][1]["reply_markup"] == {"remove_keyboard": True}
        message.text = "x" * 5000
        calls, reported = composed(build_press(), message)
        assert [method for method, _ in calls[1:]] == ["editMessageText", "sendMessage"]
        assert "reply_markup" not in calls[1][1]
        assert calls[2][1]["reply_markup"] == {"remove_keyboard": True}
        assert reported == []


class TestInlineButtons:
    """Looks and actions of the buttons under a message."""

    def sent(
        self, button: InlineKeyboardButton, update: Update | None = None
    ) -> tuple[dict[str, Any] | None, list[str]]:
        """Send one button."""
        keyboard = InlineKeyboard(rows=[InlineKeyboardRow(buttons=[button])])
        sent, reported = markup(update, inline_keyboard=keyboard)
        return sent and sent["inline_keyboard"][0][0], reported

    @pytest.mark.parametrize(
        ("style", "name"),
        [
            (BUTTON_STYLE_PRIMARY, "primary"),
            (BUTTON_STYLE_SUCCESS, "success"),
            (BUTTON_STYLE_DANGER, "danger"),
        ],
    )
    def test_a_style_has_its_name(
        self, style: "ButtonStyle.ValueType", name: str
    ) -> None:
        """Bot API: InlineKeyboardButton.style."""
        button = InlineKeyboardButton(text="A", callback_data="x", style=style)
        expected = {"text": "A", "callback_data": "x", "style": name}
        assert self.sent(button) == (expected, [])

    @pytest.mark.parametrize("style", [4, 99])
    def test_what_has_no_style_in_the_bot_api_is_shown_plainly(
        self, style: "ButtonStyle.ValueType"
    ) -> None:
        """The button is worth more than its looks."""
        button = InlineKeyboardButton(text="A", callback_data="x", style=style)
        expected = {"text": "A", "callback_data": "x"}
        assert self.sent(button) == (expected, ["button_style_unsupported"])

    def test_an_icon_is_a_number(self) -> None:
        """Anything else is left out, and the button stays."""
        button = InlineKeyboardButton(
            text="A", callback_data="x", icon_custom_emoji_id="5368324"
        )
        shown = {"text": "A", "callback_data": "x"}
        icon = {"icon_custom_emoji_id": "5368324"}
        assert self.sent(button) == ({**shown, **icon}, [])
        for odd in ("👍", "-1", "٣", "9" * 25):
            button.icon_custom_emoji_id = odd
            assert self.sent(button) == (shown, ["button_icon_invalid"])

    @pytest.mark.parametrize(
        "url",
        [
            "example",
            "ftp://example.com",
            "http://localhost/x",
            "https://example.com:0/",
            "https://u@v@example.com",
            "https://exa|mple.com",
            "tg://t.me/x",
            "https://example.com:port",
            "https://[::1",
            "javascript:alert(1)",
        ],
    )
    def test_a_bad_address_costs_its_button_only(self, url: str) -> None:
        """Telegram would refuse the whole message."""
        assert self.sent(InlineKeyboardButton(text="A", url=url)) == (
            None,
            ["button_url_invalid"],
        )

    def test_a_long_row_goes_on_in_the_next(self) -> None:
        """Telegram's apps show eight buttons in a row; none is lost."""
        button = InlineKeyboardButton(text="A", callback_data="a")
        rows = [
            InlineKeyboardRow(buttons=[button] * 17),
            InlineKeyboardRow(buttons=[button] * 8),
        ]
        sent, reported = markup(inline_keyboard=InlineKeyboard(rows=rows))
        assert sent is not None
        assert [len(row) for row in sent["inline_keyboard"]] == [8, 8, 1, 8]
        assert reported == []

    @pytest.mark.parametrize(
        "url", ["example.com/a", "https://example.com/a b", "TG://user?id=5"]
    )
    def test_an_address_that_telegram_takes_is_taken(self, url: str) -> None:
        """Telegram adds a scheme, and escapes a space."""
        shown = {"text": "A", "url": url}
        assert self.sent(InlineKeyboardButton(text="A", url=url)) == (shown, [])

    def test_a_web_app_is_for_private_chats_of_the_bot(self) -> None:
        """Not for business accounts, and only by HTTPS."""
        button = InlineKeyboardButton(text="A", web_app_url=APP)
        assert self.sent(button) == ({"text": "A", "web_app": {"url": APP}}, [])
        assert self.sent(button, build_message_update(business_connection_id="b")) == (
            None,
            ["button_web_app_outside_private_chat"],
        )
        button.web_app_url = "http://example.com"
        assert self.sent(button) == (None, ["button_url_invalid"])

    def test_a_route_that_was_not_rendered_is_left_out(self) -> None:
        """It names no rpc that could be called."""
        button = InlineKeyboardButton(
            text="A", callback_target=CallbackTarget(method="No.Such")
        )
        assert self.sent(button) == (None, ["button_callback_target_invalid"])


def test_the_markup_is_under_the_last_part_of_media_and_text() -> None:
    message = OutgoingMessage(
        text="x" * 1025, media=[Media(file_id="AgAD")], force_reply=ForceReply()
    )
    calls, _ = composed(build_message_update(), message)
    assert ["reply_markup" in parameters for _, parameters in calls] == [False, True]
