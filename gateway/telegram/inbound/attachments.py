"""Attachments that few messages have: from Telegram's JSON to the contract.

They are read only where there is one. One of a shape that is not known here is named
and otherwise left out, so that a message never goes astray over it. Payments are the
exception: nobody may take one for something else.
"""

from collections.abc import Callable, Sequence
from typing import Any

from botgateway.chat.v1 import message_pb2 as contract
from google.protobuf.timestamp_pb2 import Timestamp
from msgspec import MsgspecError, Raw, Struct
from msgspec.json import Decoder

from gateway.domain.errors import MalformedUpdate
from gateway.telegram.inbound.content import File
from gateway.telegram.inbound.payments import PAYMENTS, Payment, contract_payment
from gateway.telegram.inbound.rich_text import plain_text
from gateway.telegram.inbound.schema import Chat, Date, Int32, Int64


class _Option(Struct):
    text: str
    voter_count: Int32 = 0


class _Poll(Struct):
    id: str
    question: str
    options: tuple[_Option, ...]
    total_voter_count: Int32 = 0
    is_closed: bool = False
    is_anonymous: bool = False
    type: str = ""
    allows_multiple_answers: bool = False


class _Story(Struct):
    chat: Chat
    id: Int64


class _Task(Struct):
    id: Int64
    text: str
    completion_date: Date = 0


class _Checklist(Struct):
    title: str
    tasks: tuple[_Task, ...]


class _Game(Struct):
    title: str
    description: str = ""


class _Invoice(Struct):
    title: str
    description: str
    currency: str
    total_amount: Int64


class _PaidMedia(Struct):
    star_count: Int64
    paid_media: tuple[Raw, ...]


class _RichMessage(Struct):
    blocks: list[Any]


class _LivePhoto(File, kw_only=True):
    photo: tuple[File, ...] = ()


def rare_attachment(kind: str, json: Raw) -> dict[str, Any]:
    """Give an attachment under its name in the contract.

    Args:
        kind: one of `RARE`, which is its name in the message.
        json: what stands under it.

    Raises:
        Malformed: a payment has a part of a wrong type.
    """
    reader = _READERS.get(kind)
    if reader is not None:
        decoder, convert = reader
        try:
            return {kind: convert(decoder.decode(json))}
        except (MsgspecError, RecursionError):
            if kind in PAYMENTS:
                raise MalformedUpdate("a payment cannot be read") from None
    return {"other": contract.OtherAttachment(kind=kind)}


def contract_file(file: File) -> contract.File:
    """Give a file as services see it."""
    return contract.File(
        file_id=file.file_id,
        file_unique_id=file.file_unique_id,
        size_bytes=file.file_size,
        mime_type=file.mime_type,
        file_name=file.file_name,
    )


def largest(sizes: Sequence[File]) -> File:
    """Give the largest size of a photo, of which there is at least one."""
    return max(sizes, key=lambda size: size.width * size.height)


def _poll(poll: _Poll) -> contract.Poll:
    return contract.Poll(
        poll_id=poll.id,
        question=poll.question,
        options=[
            contract.PollOption(text=option.text, voters=option.voter_count)
            for option in poll.options
        ],
        total_voters=poll.total_voter_count,
        closed=poll.is_closed,
        anonymous=poll.is_anonymous,
        quiz=poll.type == "quiz",
        several_answers=poll.allows_multiple_answers,
    )


def _story(story: _Story) -> contract.Story:
    return contract.Story(chat_id=story.chat.id, story_id=story.id)


def _checklist(checklist: _Checklist) -> contract.Checklist:
    return contract.Checklist(
        title=checklist.title, tasks=[_task(task) for task in checklist.tasks]
    )


def _task(task: _Task) -> contract.ChecklistTask:
    done = task.completion_date
    return contract.ChecklistTask(
        task_id=task.id,
        text=task.text,
        completion_time=Timestamp(seconds=done) if done else None,
    )


def _game(game: _Game) -> contract.Game:
    return contract.Game(title=game.title, description=game.description)


def _invoice(invoice: _Invoice) -> contract.Invoice:
    return contract.Invoice(
        title=invoice.title,
        description=invoice.description,
        currency=invoice.currency,
        total_amount=invoice.total_amount,
    )


def _paid_media(media: _PaidMedia) -> contract.PaidMedia:
    return contract.PaidMedia(star_count=media.star_count, count=len(media.paid_media))


def _rich_message(message: _RichMessage) -> contract.RichMessage:
    return contract.RichMessage(text=plain_text(message.blocks))


def _live_photo(photo: _LivePhoto) -> contract.LivePhoto:
    still = contract_file(largest(photo.photo)) if photo.photo else None
    return contract.LivePhoto(photo=still, video=contract_file(photo))


_READERS: dict[str, tuple[Decoder[Any], Callable[[Any], object]]] = {
    "poll": (Decoder(_Poll), _poll),
    "story": (Decoder(_Story), _story),
    "checklist": (Decoder(_Checklist), _checklist),
    "game": (Decoder(_Game), _game),
    "invoice": (Decoder(_Invoice), _invoice),
    "paid_media": (Decoder(_PaidMedia), _paid_media),
    "live_photo": (Decoder(_LivePhoto), _live_photo),
    "rich_message": (Decoder(_RichMessage), _rich_message),
    "successful_payment": (Decoder(Payment), contract_payment),
    "refunded_payment": (Decoder(Payment), contract_payment),
}

RARE = (*_READERS, "giveaway", "giveaway_winners")
"""What a message may carry besides what `messages.py` converts, by Telegram's names."""
