"""A reply is cut to what is worked on, and the surplus can still be seen."""

from botgateway.chat.v1.reply_pb2 import (
    InlineAnswer,
    InlineKeyboard,
    InlineKeyboardButton,
    InlineKeyboardRow,
    InlineQueryResult,
    LabeledPrice,
    Media,
    OutgoingMessage,
    Reply,
    ReplyKeyboard,
    ReplyKeyboardButton,
    ReplyKeyboardRow,
    ShippingAnswer,
    ShippingOption,
)

from gateway.domain import reply_limits
from gateway.domain.reply_limits import cut_reply


def test_an_ordinary_reply_stays_as_it_is() -> None:
    row = InlineKeyboardRow(
        buttons=[InlineKeyboardButton(text="a", callback_data="b")] * 100
    )
    reply = Reply(
        messages=[
            OutgoingMessage(
                text="x" * 4096, inline_keyboard=InlineKeyboard(rows=[row])
            ),
            *[OutgoingMessage(text="x" * 4096)] * 99,
        ]
    )
    same = Reply()
    same.CopyFrom(reply)
    cut_reply(reply)
    assert reply == same


def test_one_message_too_many_is_left() -> None:
    """The renderer reports what is over the limit, however much it was."""
    reply = Reply(messages=[OutgoingMessage()] * 5000)
    cut_reply(reply)
    assert len(reply.messages) == reply_limits.MAX_MESSAGES + 1


def test_all_texts_together_are_limited() -> None:
    """One long text, or many that are not so long."""
    reply = Reply(messages=[OutgoingMessage(text="x" * 50_000)] * 100)
    cut_reply(reply)
    lengths = [len(message.text) for message in reply.messages]
    assert lengths[:9] == [50_000] * 8 + [9601]
    assert sum(lengths) == reply_limits.MAX_TEXT + 92


def test_buttons_are_cut_over_all_rows() -> None:
    row = InlineKeyboardRow(buttons=[InlineKeyboardButton(text="a")] * 60)
    reply_row = ReplyKeyboardRow(buttons=[ReplyKeyboardButton(text="a")] * 900)
    reply = Reply(
        messages=[
            OutgoingMessage(inline_keyboard=InlineKeyboard(rows=[row] * 3)),
            OutgoingMessage(
                inline_keyboard=InlineKeyboard(rows=[InlineKeyboardRow()] * 3000)
            ),
            OutgoingMessage(reply_keyboard=ReplyKeyboard(rows=[reply_row])),
        ]
    )
    cut_reply(reply)
    first, second, third = reply.messages
    assert [len(row.buttons) for row in first.inline_keyboard.rows] == [60, 41, 1]
    assert len(second.inline_keyboard.rows) == 101
    assert [len(row.buttons) for row in third.reply_keyboard.rows] == [101]


def test_files_results_and_options_are_cut() -> None:
    """A result's message is cut like any other."""
    price = LabeledPrice(label="a")
    reply = Reply(
        messages=[OutgoingMessage(media=[Media(file_id="a")] * 4000)],
        inline_answer=InlineAnswer(
            results=[InlineQueryResult(message=OutgoingMessage(text="x" * 40_000))]
            * 4000
        ),
        shipping_answer=ShippingAnswer(
            options=[ShippingOption(prices=[price] * 4000)] * 101
        ),
    )
    cut_reply(reply)
    assert len(reply.messages[0].media) == 101
    results = reply.inline_answer.results
    assert [len(result.message.text) for result in results] == [32_769] * 51
    options = reply.shipping_answer.options
    assert [len(option.prices) for option in options] == [101] * 101
