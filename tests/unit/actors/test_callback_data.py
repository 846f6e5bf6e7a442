"""Buttons that stand for more than fits into them."""

from botgateway.chat.v1.context_pb2 import RequestContext
from botgateway.chat.v1.reply_pb2 import (
    CallbackTarget,
    InlineAnswer,
    InlineKeyboard,
    InlineKeyboardButton,
    InlineKeyboardRow,
    InlineQueryResult,
    OutgoingMessage,
    Reply,
)
from hypothesis import given
from hypothesis import strategies as st

from gateway.actors.replies.callback_data import (
    expand_callback_data,
    prepare_callback_data,
)
from gateway.actors.replies.user_notices import UNKNOWN_COMMAND_TEXT
from gateway.domain.update import ButtonPress, OtherUpdate, Update
from gateway.domain.user_state import UserState, decode_user_state, encode_user_state
from tests.factories import build_accepted, build_button_press
from tests.support.fakes import FakeServices
from tests.unit.actors.harness import Harness

LONG = "CONNECT:" + "x" * 100


def reply_with(*buttons: InlineKeyboardButton) -> Reply:
    """Make a reply with one keyboard."""
    keyboard = InlineKeyboard(
        rows=[InlineKeyboardRow(buttons=[button]) for button in buttons]
    )
    return Reply(messages=[OutgoingMessage(text="a", inline_keyboard=keyboard)])


def data_of(reply: Reply) -> list[str]:
    """Return the data of all buttons of the first message."""
    rows = reply.messages[0].inline_keyboard.rows
    return [button.callback_data for row in rows for button in row.buttons]


def prepared(state: UserState, *data: str) -> list[str]:
    """Return what buttons with this data get."""
    reply = reply_with(
        *(InlineKeyboardButton(text="A", callback_data=each) for each in data)
    )
    prepare_callback_data(reply, build_button_press("A:1"), state, FakeServices())
    return data_of(reply)


def expanded(data: str, state: UserState) -> str | None:
    """Return the data that the press of a button with this data stands for."""
    return expand_callback_data(build_button_press(data), state).callback_data


def test_data_that_fits_stays_as_it_is() -> None:
    """Up to 64 bytes, and nothing is kept for it."""
    state = UserState()
    fitting = ["CONNECT:1", "x" * 64, "ö" * 32, "~x", ""]
    assert prepared(state, *fitting) == fitting
    assert state == UserState()


@given(st.lists(st.text(min_size=1, max_size=260), max_size=4))
def test_every_button_stands_for_its_data(data: list[str]) -> None:
    """After the state was stored and read again, too."""
    state = UserState()
    keys = prepared(state, *data)
    stored = decode_user_state(encode_user_state(state))
    for key, each in zip(keys, data, strict=True):
        assert len(key.encode()) <= 64
        assert expanded(key, stored) == each


def test_a_repetition_has_the_same_buttons_and_takes_no_more_room() -> None:
    """What is made again after a crash replaces what was sent before."""
    state = UserState()
    assert prepared(state, LONG, LONG) == prepared(state, LONG, LONG)
    assert prepared(UserState(), LONG) == prepared(state, LONG)
    assert len(state.callback_payloads) == 1


def test_data_over_the_contracts_limit_is_not_kept() -> None:
    """It stays, so that composing the reply reports it."""
    state = UserState()
    assert prepared(state, "x" * 1025, "ö" * 513) == ["x" * 1025, "ö" * 513]
    assert state == UserState()


def test_one_reply_never_drives_out_its_own_buttons() -> None:
    """What has no room beside them is left for the report; older data goes."""
    state = UserState()
    (old,) = prepared(state, LONG)
    data = [str(number) * 1000 for number in range(6)]
    keys = prepared(state, *data)
    assert keys[4:] == data[4:]
    for key, each in zip(keys[:4], data[:4], strict=True):
        assert expanded(key, state) == each
    assert expanded(old, state) == old
    assert prepared(state, LONG) == [old]


def test_a_button_names_its_rpc() -> None:
    """What is put together may be long; what names no rpc is left as it is."""
    short = CallbackTarget(method="A.B", parameters={"id": "7"})
    long = CallbackTarget(method="A.B", parameters={"id": "7" * 70})
    reply = reply_with(
        InlineKeyboardButton(text="A", callback_target=short),
        InlineKeyboardButton(text="B", callback_target=long),
        InlineKeyboardButton(text="C", callback_target=CallbackTarget(method="NoSuch")),
    )
    state = UserState()
    prepare_callback_data(reply, build_button_press("A:1"), state, FakeServices())
    first, second, third = data_of(reply)
    assert first == "A.B:7"
    assert expanded(second, state) == "A.B:" + "7" * 70
    assert third == ""
    last = reply.messages[0].inline_keyboard.rows[2].buttons[0]
    assert last.WhichOneof("action") == "callback_target"


def test_buttons_of_inline_results_are_prepared_too() -> None:
    """The user who chose the result can press them."""
    message = reply_with(InlineKeyboardButton(text="A", callback_data=LONG)).messages[0]
    result = InlineQueryResult(result_id="1", message=message)
    reply = Reply(inline_answer=InlineAnswer(results=[result]))
    state = UserState()
    prepare_callback_data(reply, build_button_press("A:1"), state, FakeServices())
    shown = reply.inline_answer.results[0].message.inline_keyboard.rows[0].buttons[0]
    assert expanded(shown.callback_data, state) == LONG


def other(
    kind: str, context: RequestContext, reply_chat_id: int | None = None
) -> OtherUpdate:
    """Make an update of another kind in the same place."""
    return OtherUpdate(
        update_id=1,
        update_type=kind,
        ordering_key="7",
        context=context,
        trigger_name=kind,
        reply_chat_id=reply_chat_id,
    )


def test_signed_data_is_bound_to_the_place_of_its_button() -> None:
    """The chat to which the messages go; inline messages have none."""
    update = build_button_press("A:1")
    assert update.context.chat_id == 7
    business = build_button_press("A:1")
    business.context.business_connection_id = "b"
    for answered, place in (
        (update, "7:"),
        (business, "7:b"),
        (other("chat_join_request", business.context, reply_chat_id=9), "9:"),
        (other("guest_message", update.context), ""),
    ):
        reply = reply_with(InlineKeyboardButton(text="A", callback_data="PAY"))
        message = reply.messages[0]
        result = InlineQueryResult(result_id="1", message=message)
        reply.inline_answer.results.append(result)
        prepare_callback_data(reply, answered, UserState(), FakeServices())
        assert data_of(reply) == [f"PAY~{place}"]
        shown = (
            reply.inline_answer.results[0].message.inline_keyboard.rows[0].buttons[0]
        )
        assert shown.callback_data == "PAY~"


def test_data_that_does_not_fit_with_its_signature_is_kept_with_it() -> None:
    """Without the signature the button would call nothing."""
    state = UserState()
    data = f"PAY{'x' * 60}"
    (key,) = prepared(state, data)
    assert len(key) <= 64
    assert expanded(key, state) == f"{data}~7:"
    most = f"PAY{'x' * 1021}"
    (key,) = prepared(state, most)
    assert expanded(key, state) == f"{most}~7:"


def test_data_without_room_is_not_left_unsigned() -> None:
    """It stays too long, so that composing the reply reports it."""
    data = [f"PAY{number}{'x' * 1000}" for number in range(4)]
    *_, last = prepared(UserState(), *data, f"PAY{'x' * 60}")
    assert last == f"PAY{'x' * 60}~7:"


async def test_a_long_button_reaches_its_route() -> None:
    """From the reply over the state and the press to the service."""
    harness = Harness()
    answers: list[Reply] = []

    async def answer(update: Update) -> Reply:
        if isinstance(update, ButtonPress):
            return Reply()
        reply = reply_with(InlineKeyboardButton(text="A", callback_data=LONG))
        answers.append(reply)
        return reply

    harness.services.answer = answer
    await harness.serve(build_accepted(1))
    (key,) = data_of(answers[0])
    await harness.serve(build_accepted(2, callback_data=key))
    route, update, _ = harness.services.calls[-1]
    assert isinstance(update, ButtonPress)
    assert (route, update.callback_data) == ("CONNECT:", LONG)
    # Another user, such as a member of the same group, has no such data.
    await harness.serve(build_accepted(3, callback_data=key, user=8))
    assert harness.turns.outcomes == ["done", "done", "unknown"]
    assert harness.messenger.texts[-1] == UNKNOWN_COMMAND_TEXT
