"""Media become calls that Telegram takes: nothing is lost, and all of it in order."""

from itertools import pairwise
from typing import Any

import pytest
from botgateway.chat.v1.reply_pb2 import (
    MEDIA_TYPE_ANIMATION,
    MEDIA_TYPE_AUDIO,
    MEDIA_TYPE_DOCUMENT,
    MEDIA_TYPE_PHOTO,
    MEDIA_TYPE_STICKER,
    MEDIA_TYPE_UNSPECIFIED,
    MEDIA_TYPE_VIDEO,
    MEDIA_TYPE_VOICE,
    TEXT_FORMAT_HTML,
    Media,
    MediaType,
    OutgoingMessage,
    Reply,
    Upload,
)
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.bot_api_call import BotApiCall
from gateway.domain.errors import RejectedPart
from gateway.sandbox.simulator.albums import album
from gateway.sandbox.simulator.validation.rules import Upload as Received
from gateway.telegram.outbound.degrade import degrade
from gateway.telegram.outbound.media import MAX_PHOTO_BYTES, MAX_UPLOAD_BYTES
from gateway.telegram.outbound.renderer import render
from tests.unit.telegram.rendering import CHAT, OK_BUTTON, OK_MARKUP, keyboard
from tests.unit.telegram.rendering import build_message_update as update

PHOTOS = [Media(type=MEDIA_TYPE_PHOTO, file_id=f"photo-{n}") for n in range(25)]
KINDS = st.sampled_from(
    [
        MEDIA_TYPE_PHOTO,
        MEDIA_TYPE_VIDEO,
        MEDIA_TYPE_DOCUMENT,
        MEDIA_TYPE_AUDIO,
        MEDIA_TYPE_VOICE,
        MEDIA_TYPE_ANIMATION,
        MEDIA_TYPE_STICKER,
    ]
)


def sent(*messages: OutgoingMessage) -> tuple[list[BotApiCall], list[str]]:
    """Compose a reply; return the calls and what was reported."""
    reported: list[str] = []
    return render(update(), Reply(messages=messages), reported.append), reported


def sources(calls: list[BotApiCall]) -> list[tuple[str, str]]:
    """List the files of calls in their order, each with its kind."""
    found = []
    for call in calls:
        if call.method == "sendMediaGroup":
            for item in call.parameters["media"]:
                name = item["media"].removeprefix("attach://")
                file = call.files.get(name)
                found.append((item["type"], file.file_name if file else name))
        elif call.method != "sendMessage":
            kind = call.method.removeprefix("send").lower()
            file = call.files.get(kind)
            found.append((kind, file.file_name if file else call.parameters[kind]))
    return found


@given(
    st.lists(st.tuples(KINDS, st.booleans()), max_size=40),
    st.sampled_from(["", "Look", "x" * 1024, "x" * 1025]),
    st.booleans(),
)
def test_albums_lose_nothing_keep_the_order_and_are_legal(
    files: list[tuple["MediaType.ValueType", bool]], text: str, buttons: bool
) -> None:
    """By the strict rules of the simulator, which are those of the documentation."""
    media = [
        Media(type=kind, upload=Upload(content=b"x", file_name=f"file-{number}"))
        if uploaded
        else Media(type=kind, file_id=f"file-{number}")
        for number, (kind, uploaded) in enumerate(files)
    ]
    message = OutgoingMessage(text=text, media=media, album=True)
    if buttons:
        message.inline_keyboard.CopyFrom(keyboard(OK_BUTTON))
    calls, reported = sent(message)
    names = [MediaType.Name(kind).removeprefix("MEDIA_TYPE_") for kind, _ in files]
    expected = [(name.lower(), f"file-{n}") for n, name in enumerate(names)]
    assert sources(calls) == expected
    for call in calls:
        if call.method == "sendMediaGroup":
            received = {
                name: Received("id", file.file_name, "", len(file.content))
                for name, file in call.files.items()
            }
            album(call.parameters | received)
    single = [call for call in calls if call.method != "sendMediaGroup"]
    for one, other in pairwise(expected):
        # Neighbours that could be an album are not both alone, but for the eleventh.
        if {one[0], other[0]} <= {"photo", "video"}:
            alone = [sources([call]) for call in single if call.method != "sendMessage"]
            assert [one] not in alone or [other] not in alone
    texts = [
        part.get("caption") or part.get("text", "")
        for call in calls
        for part in call.parameters.get("media", [call.parameters])
    ]
    assert "".join(texts) == text
    placed = [call for call in calls if "reply_markup" in call.parameters]
    lost = {"album_with_keyboard", "message_empty"} & set(reported)
    assert len(placed) + len(lost) == int(buttons) or not (files or text)


def test_a_caption_is_under_the_first_of_an_album() -> None:
    """That is where Telegram shows it for the whole."""
    message = OutgoingMessage(
        text="<b>We</b>", format=TEXT_FORMAT_HTML, media=PHOTOS[:2], album=True
    )
    (call,), reported = sent(message)
    assert call.method == "sendMediaGroup"
    assert call.parameters == {
        "chat_id": CHAT,
        "media": [
            {
                "type": "photo",
                "media": "photo-0",
                "caption": "<b>We</b>",
                "parse_mode": "HTML",
            },
            {"type": "photo", "media": "photo-1"},
        ],
    }
    assert not reported
    amended = degrade(call, RejectedPart.FORMAT)
    assert amended
    assert amended.parameters["media"][0] == {
        "type": "photo",
        "media": "photo-0",
        "caption": "<b>We</b>",
    }
    assert degrade(amended, RejectedPart.FORMAT) is None


@pytest.mark.parametrize(("text", "buttons"), [("x" * 1025, False), ("Yes?", True)])
def test_what_an_album_cannot_show_follows_it(text: str, buttons: bool) -> None:
    """A text that is too long, and buttons with their text."""
    message = OutgoingMessage(text=text, media=PHOTOS[:3], album=True)
    if buttons:
        message.inline_keyboard.CopyFrom(keyboard(OK_BUTTON))
    (group, follows), reported = sent(message)
    assert "caption" not in group.parameters["media"][0]
    assert follows.parameters["text"] == text
    assert follows.parameters.get("reply_markup") == (OK_MARKUP if buttons else None)
    assert not reported


def test_buttons_without_a_text_cannot_stand_under_an_album() -> None:
    """There is nothing that could have them."""
    message = OutgoingMessage(
        media=PHOTOS[:2], album=True, inline_keyboard=keyboard(OK_BUTTON)
    )
    (call,), reported = sent(message)
    assert "reply_markup" not in call.parameters
    assert reported == ["album_with_keyboard"]


@pytest.mark.parametrize(
    ("count", "sizes"), [(1, [1]), (10, [10]), (11, [10, 1]), (25, [10, 10, 5])]
)
def test_more_than_ten_make_several_albums(count: int, sizes: list[int]) -> None:
    """One that is left over goes alone."""
    calls, _ = sent(OutgoingMessage(media=PHOTOS[:count], album=True))
    assert [len(call.parameters.get("media", [1])) for call in calls] == sizes
    methods = ["sendMediaGroup" if size > 1 else "sendPhoto" for size in sizes]
    assert [call.method for call in calls] == methods


@pytest.mark.parametrize(
    ("kind", "mime_type", "name"),
    [
        (MEDIA_TYPE_PHOTO, None, "photo.jpg"),
        (MEDIA_TYPE_VOICE, None, "voice.ogg"),
        (MEDIA_TYPE_UNSPECIFIED, None, "file"),
        (MEDIA_TYPE_DOCUMENT, "application/pdf", "file.pdf"),
    ],
)
def test_an_upload_has_a_name(
    kind: "MediaType.ValueType", mime_type: str | None, name: str
) -> None:
    """One that fits, if the service gave none."""
    media = Media(type=kind, upload=Upload(content=b"abc", mime_type=mime_type or ""))
    (call,), _ = sent(OutgoingMessage(text="Here", media=[media]))
    ((field, file),) = call.files.items()
    assert call.method.lower() == f"send{field}"
    assert (file.content, file.file_name, file.mime_type) == (b"abc", name, mime_type)
    assert call.parameters == {"chat_id": CHAT, "caption": "Here"}


@pytest.mark.parametrize(
    ("kind", "limit"),
    [(MEDIA_TYPE_PHOTO, MAX_PHOTO_BYTES), (MEDIA_TYPE_DOCUMENT, MAX_UPLOAD_BYTES)],
)
def test_an_upload_over_the_limit_is_left_out(
    kind: "MediaType.ValueType", limit: int
) -> None:
    """Telegram would refuse it, after all of it was sent."""
    for size, fault in ((limit, []), (limit + 1, ["upload_too_large"])):
        media = Media(type=kind, upload=Upload(content=bytes(size)))
        calls, reported = sent(OutgoingMessage(text="Here", media=[media]))
        assert reported == fault
        assert [bool(call.files) for call in calls] == [not fault]


def test_nothing_of_a_file_is_in_what_a_call_looks_like() -> None:
    """A call may end up in a log."""
    secret: Any = Upload(content=b"canary")
    (call,), _ = sent(OutgoingMessage(media=[Media(upload=secret)]))
    assert "canary" not in repr(call)


def test_an_empty_file_is_no_file() -> None:
    """Telegram refuses it."""
    media = [Media(upload=Upload(file_name="empty"))]
    calls, reported = sent(OutgoingMessage(text="Here", media=media))
    assert [call.method for call in calls] == ["sendMessage"]
    assert reported == ["media_without_source"]


@pytest.mark.parametrize("url", ["a.jpg", "ftp://example.com/a.jpg", "http://x/a"])
def test_a_bad_address_does_not_cost_the_rest_of_an_album(url: str) -> None:
    """Telegram would refuse all of it."""
    media = [PHOTOS[0], Media(type=MEDIA_TYPE_PHOTO, url=url), PHOTOS[1]]
    [call], reported = sent(OutgoingMessage(text="Here", media=media, album=True))
    assert [each["media"] for each in call.parameters["media"]] == [
        "photo-0",
        "photo-1",
    ]
    assert reported == ["media_url_invalid"]


@pytest.mark.parametrize(
    "file_id",
    ["file:///etc/passwd", "http://169.254.169.254/", "a.b", "ä", "a b", "a\n"],
)
def test_a_file_id_is_nothing_but_an_id(file_id: str) -> None:
    """A Bot API server of one's own would send its files, or fetch the address."""
    media = Media(type=MEDIA_TYPE_PHOTO, file_id=file_id)
    calls, reported = sent(OutgoingMessage(text="Look", media=[media]))
    assert [call.method for call in calls] == ["sendMessage"]
    assert reported == ["media_file_id_invalid"]


@pytest.mark.parametrize("local_server", [True, False])
def test_a_local_server_is_not_sent_to_private_addresses(*, local_server: bool) -> None:
    """It stands in the operator's network; Telegram's own servers do not."""
    near = Media(type=MEDIA_TYPE_PHOTO, url="http://169.254.169.254/latest.jpg")
    far = Media(type=MEDIA_TYPE_PHOTO, url="https://example.com/far.jpg")
    reply = Reply(messages=[OutgoingMessage(text="Look", media=[near, far])])
    reported: list[str] = []
    calls = render(update(), reply, reported.append, local_server=local_server)
    urls = [call.parameters["photo"] for call in calls]
    assert urls == ([far.url] if local_server else [near.url, far.url])
    assert reported == (["media_url_private"] if local_server else [])
