"""What is marked in a text is what TDLib marks in it."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.sandbox.server import Simulator
from gateway.sandbox.simulator.validation.found_entities import add_found, find_entities
from tests import tdlib
from tests.integration.sandbox.bot import Bot

TEXT = """
    hello ü 😀 文 /start /start@my_bot /x/y a/b <b> #tag #1 #tag@user ##a #a#b #ü²
    $USD $usd $1INCH $$A $USD@user @user @gif @ab a@b @user_1. @user@x x@y.com
    me.too+1@mail.example.org x@y.c http://a.b https://example.com/p?q=1#f
    HTTP://A.B http://a.b: (http://a.b/c) http://a.b/(c) sftp://a.b shttp://a.b
    xhttp://a.b/c ftp://a.b tonsite://a.ton tg://resolve?domain=a ton://x tg://a#.
    example.com www.example.org. example.nothing t.me/a 1.2.3.4 1.2.3.256 01.2.3.4
    1.2.3 a..b -a.com a-.com a_b.com a.b_c.com xn--a.xn--b1 a.com:80 a.com:0
    a.com:99999 a.com? a.com#x a.com/# user:pass@a.com mailto:x@y.com ünser.de
    «a.com» a.com, a.com—b http://localhost http://a.b»!
"""
WORDS = TEXT.split()
JOINTS = (" ", "\n", ", ", ". ", " (", ") ", "! ", ": ")

texts = st.lists(
    st.tuples(st.sampled_from(WORDS), st.sampled_from(JOINTS)), min_size=1, max_size=6
).map(lambda pairs: "".join(word + joint for word, joint in pairs))


def found(text: str) -> list[tuple[int, int, str]]:
    """Find what TDLib would find too, which phone numbers are not."""
    return [
        (each["offset"], each["length"], each["type"])
        for each in find_entities(text)
        if each["type"] != "phone_number"
    ]


@given(texts)
def test_the_same_is_marked_as_tdlib_marks(text: str) -> None:
    """In texts of all that there is to find, and of much that looks like it."""
    assert found(text) == tdlib.find_entities(text)


@pytest.mark.parametrize("word", WORDS)
def test_each_word_is_marked_as_tdlib_marks_it(word: str) -> None:
    assert found(word) == tdlib.find_entities(word)


def test_every_kind_is_among_the_words() -> None:
    """Else the comparison would compare less than it seems to."""
    kinds = {kind for word in WORDS for _, _, kind in tdlib.find_entities(word)}
    assert kinds == {"mention", "hashtag", "cashtag", "bot_command", "url", "email"}


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("Call +43 660 1234567 now", [(5, 15)]),
        ("+12025550123.", [(0, 12)]),
        ("+1 (202) 555-0123", [(0, 17)]),
        ("a+12025550123 +123 1+12025550123", []),
    ],
)
def test_phone_numbers_are_marked(text: str, numbers: list[tuple[int, int]]) -> None:
    """Those with a plus sign; Telegram's servers find more."""
    assert [
        (each["offset"], each["length"])
        for each in find_entities(text)
        if each["type"] == "phone_number"
    ] == numbers


def mark(kind: str, offset: int, length: int) -> dict[str, Any]:
    """Make an entity."""
    return {"type": kind, "offset": offset, "length": length}


def test_nothing_is_found_in_code_and_links() -> None:
    """What is bold may hold a link."""
    text = "a.com b.com @user"
    given_marks = [mark("code", 0, 5), mark("bold", 6, 11)]
    assert add_found(text, given_marks) == [
        mark("code", 0, 5),
        mark("bold", 6, 11),
        mark("url", 6, 5),
        mark("mention", 12, 5),
    ]


async def test_texts_of_users_and_of_the_bot_are_marked(
    simulator: Simulator, bot: Bot
) -> None:
    url = [mark("url", 0, 5)]
    await simulator.user_actions.say(1001, "a.com")
    await simulator.user_actions.attach(1001, "photo", "a.com")
    await bot.result(
        "sendMessage", chat_id=1001, text="<i>a.com</i>", parse_mode="HTML"
    )
    said, photo, answered = simulator.messages(1001)
    assert said["entities"] == url
    assert photo["caption_entities"] == url
    assert answered["entities"] == [mark("italic", 0, 5), *url]
