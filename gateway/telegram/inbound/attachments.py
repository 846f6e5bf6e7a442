"""Converts attachments that are rare in messages to the contract's messages.

They are decoded only if they are present. If an attachment does not have the expected
shape, only its name is kept, so that its message is never lost. Payments are the
exception: a payment must never be mistaken for another attachment.
"""

from collections.abc import Callable, Sequence
from typing import Any

from botgateway.chat.v1 import message_pb2 as contract
from google.protobuf.timestamp_pb2 import Timestamp
from msgspec import MsgspecError, Raw, Struct
from msgspec.json import Decoder

from gateway.domain.errors import MalformedUpdate
from gateway.domain.update import PAYMENT_CONTENTS
from gateway.telegram.inbound.content import File
from gateway.telegram.inbound.payments import Payment, convert_payment
from gateway.telegram.inbound.rich_text import extract_text
from gateway.telegram.inbound.schema import Chat, Date, Int32, Int64


class _PollOption(Struct):
    text: str
    voter_count: Int32 = 0


class _Poll(Struct):
    id: str
    question: str
    options: tuple[_PollOption, ...]
    total_voter_count: Int32 = 0
    is_closed: bool = False
    is_anonymous: bool = False
    type: str = ""
    allows_multiple_answers: bool = False


class _Story(Struct):
    chat: Chat
    id: Int64


class _ChecklistTask(Struct):
    id: Int64
    text: str
    completion_date: Date = 0


class _Checklist(Struct):
    title: str
    tasks: tuple[_ChecklistTask, ...]


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


def decode_rare_attachment(name: str, json: Raw) -> dict[str, Any]:
    """Decode an attachment and convert it to the contract's message.

    Args:
        name: one of `RARE_ATTACHMENTS`, the name of the field in Telegram's message.
        json: the value of that field.

    Returns:
        The attachment by its field in IncomingMessage. The field is `other`, with only
        the name, if the JSON does not have the expected shape.

    Raises:
        MalformedUpdate: a payment has a field of a wrong type.
    """
    decoder_and_converter = _DECODERS.get(name)
    if decoder_and_converter is not None:
        decoder, convert = decoder_and_converter
        try:
            return {name: convert(decoder.decode(json))}
        except (MsgspecError, RecursionError):
            if name in PAYMENT_CONTENTS:
                raise MalformedUpdate("a payment cannot be read") from None
    return {"other": contract.OtherAttachment(type=name)}


def convert_file(file: File) -> contract.File:
    """Convert the description of a file to the contract's; missing parts stay unset."""
    return contract.File(
        file_id=file.file_id,
        file_unique_id=file.file_unique_id,
        size_bytes=file.file_size or None,
        mime_type=file.mime_type or None,
        file_name=file.file_name or None,
    )


def find_largest_size(sizes: Sequence[File]) -> File:
    """Return the largest of the sizes in which Telegram has a photo.

    Args:
        sizes: the sizes, at least one.
    """
    return max(sizes, key=lambda size: size.width * size.height)


def _convert_poll(poll: _Poll) -> contract.Poll:
    return contract.Poll(
        poll_id=poll.id,
        question=poll.question,
        options=[
            contract.PollOption(text=option.text, voter_count=option.voter_count)
            for option in poll.options
        ],
        total_voter_count=poll.total_voter_count,
        is_closed=poll.is_closed,
        is_anonymous=poll.is_anonymous,
        is_quiz=poll.type == "quiz",
        allows_multiple_answers=poll.allows_multiple_answers,
    )


def _convert_story(story: _Story) -> contract.Story:
    return contract.Story(chat_id=story.chat.id, story_id=story.id)


def _convert_checklist(checklist: _Checklist) -> contract.Checklist:
    return contract.Checklist(
        title=checklist.title, tasks=[_convert_task(task) for task in checklist.tasks]
    )


def _convert_task(task: _ChecklistTask) -> contract.ChecklistTask:
    completed_at = task.completion_date
    return contract.ChecklistTask(
        task_id=task.id,
        text=task.text,
        completion_time=Timestamp(seconds=completed_at) if completed_at else None,
    )


def _convert_game(game: _Game) -> contract.Game:
    return contract.Game(title=game.title, description=game.description)


def _convert_invoice(invoice: _Invoice) -> contract.Invoice:
    return contract.Invoice(
        title=invoice.title,
        description=invoice.description,
        currency=invoice.currency,
        total_amount=invoice.total_amount,
    )


def _convert_paid_media(media: _PaidMedia) -> contract.PaidMedia:
    return contract.PaidMedia(
        star_count=media.star_count, media_count=len(media.paid_media)
    )


def _convert_rich_message(message: _RichMessage) -> contract.RichMessage:
    return contract.RichMessage(text=extract_text(message.blocks))


def _convert_live_photo(photo: _LivePhoto) -> contract.LivePhoto:
    still_photo = convert_file(find_largest_size(photo.photo)) if photo.photo else None
    return contract.LivePhoto(photo=still_photo, video=convert_file(photo))


_DECODERS: dict[str, tuple[Decoder[Any], Callable[[Any], object]]] = {
    "poll": (Decoder(_Poll), _convert_poll),
    "story": (Decoder(_Story), _convert_story),
    "checklist": (Decoder(_Checklist), _convert_checklist),
    "game": (Decoder(_Game), _convert_game),
    "invoice": (Decoder(_Invoice), _convert_invoice),
    "paid_media": (Decoder(_PaidMedia), _convert_paid_media),
    "live_photo": (Decoder(_LivePhoto), _convert_live_photo),
    "rich_message": (Decoder(_RichMessage), _convert_rich_message),
    "successful_payment": (Decoder(Payment), convert_payment),
    "refunded_payment": (Decoder(Payment), convert_payment),
}

RARE_ATTACHMENTS = (*_DECODERS, "giveaway", "giveaway_winners")
"""Telegram's names of the attachments that `messages.py` does not convert itself."""
