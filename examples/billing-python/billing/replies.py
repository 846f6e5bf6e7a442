"""The replies of the service."""

from botgateway.chat.v1.reply_pb2 import (
    MEDIA_TYPE_PHOTO,
    CallbackAnswer,
    CallbackTarget,
    InlineAnswer,
    InlineKeyboard,
    InlineKeyboardButton,
    InlineKeyboardRow,
    InlineQueryResult,
    Media,
    OutgoingMessage,
    Reply,
    Upload,
)

from billing.chart import draw_chart
from billing.ledger import Invoice


def build_invoice(invoice: Invoice, *, is_paid: bool) -> Reply:
    """Show an invoice, with a button unless it is paid."""
    message = OutgoingMessage(text=_describe(invoice))
    if is_paid:
        message.text += " It is paid."
    else:
        target = CallbackTarget(
            method="BillingService.PayInvoice",
            parameters={"number": str(invoice.number)},
        )
        button = InlineKeyboardButton(text="Pay", callback_target=target)
        row = InlineKeyboardRow(buttons=[button])
        message.inline_keyboard.CopyFrom(InlineKeyboard(rows=[row]))
    return Reply(messages=[message])


def build_payment(number: int, *, is_new: bool) -> Reply:
    """Confirm a payment in the message with the button."""
    if not is_new:
        text = "You have paid this invoice already."
        return Reply(callback_answer=CallbackAnswer(text=text, show_alert=True))
    message = OutgoingMessage(text=f"Invoice {number} is paid. Thank you!", edit=True)
    return Reply(messages=[message], callback_answer=CallbackAnswer(text="Paid"))


def build_chart(invoice: Invoice) -> Reply:
    """Show an invoice as a picture."""
    picture = Upload(content=draw_chart(invoice), file_name="invoice.png")
    media = Media(type=MEDIA_TYPE_PHOTO, upload=picture)
    return Reply(messages=[OutgoingMessage(text=_describe(invoice), media=[media])])


def build_results(invoices: list[Invoice]) -> Reply:
    """Offer invoices to be sent into any chat."""
    results = [
        InlineQueryResult(
            result_id=str(invoice.number),
            title=f"Invoice {invoice.number}",
            description=f"{invoice.total} EUR",
            message=OutgoingMessage(text=_describe(invoice)),
        )
        for invoice in invoices
    ]
    return Reply(inline_answer=InlineAnswer(results=results, is_personal=True))


def list_lines(invoice: Invoice) -> list[str]:
    """Return the lines of an explanation."""
    lines = [f"{item.title}: {item.price} EUR\n" for item in invoice.items]
    return [f"Invoice {invoice.number}\n", *lines, f"Total: {invoice.total} EUR"]


def _describe(invoice: Invoice) -> str:
    return f"Invoice {invoice.number}: {invoice.total} EUR."
