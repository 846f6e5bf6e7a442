"""The rpcs."""
# ruff: noqa: N802 - rpcs have the names of their contract

from collections.abc import AsyncIterator
from typing import TypeAlias

import grpc
from acme.billing.v1.billing_service_pb2 import (
    DrawInvoiceRequest,
    DrawInvoiceResponse,
    ExplainInvoiceRequest,
    ExplainInvoiceResponse,
    GetInvoiceRequest,
    GetInvoiceResponse,
    PayInvoiceRequest,
    PayInvoiceResponse,
    RemindLaterRequest,
    RemindLaterResponse,
    SearchInvoicesRequest,
    SearchInvoicesResponse,
)
from acme.billing.v1.billing_service_pb2_grpc import BillingServiceServicer
from botgateway.chat.v1.reply_pb2 import OutgoingMessage, Reply
from grpc.aio import ServicerContext

from billing import replies
from billing.errors import refuse
from billing.ledger import Invoice, Ledger, UnknownInvoice
from billing.reminders import Reminders

Context: TypeAlias = "ServicerContext[object, object]"
InvoiceRequest: TypeAlias = (
    GetInvoiceRequest
    | PayInvoiceRequest
    | ExplainInvoiceRequest
    | DrawInvoiceRequest
    | RemindLaterRequest
)


class BillingService(BillingServiceServicer):
    """Answers the users of a bot.

    Args:
        ledger: has the invoices.
        reminders: sends reminders; None if the gateway serves no deliveries.
    """

    def __init__(self, ledger: Ledger, reminders: Reminders | None) -> None:
        self._ledger = ledger
        self._reminders = reminders

    async def GetInvoice(
        self, request: GetInvoiceRequest, context: Context
    ) -> GetInvoiceResponse:
        """Show an invoice."""
        invoice = await self._find(request, context)
        user_id = request.context.telegram_user_id
        is_paid = self._ledger.is_paid(user_id, invoice.number)
        return GetInvoiceResponse(reply=replies.build_invoice(invoice, is_paid=is_paid))

    async def PayInvoice(
        self, request: PayInvoiceRequest, context: Context
    ) -> PayInvoiceResponse:
        """Pay an invoice."""
        invoice = await self._find(request, context)
        is_new = self._ledger.pay(
            request.context.telegram_user_id, invoice.number, request.context.request_id
        )
        reply = replies.build_payment(invoice.number, is_new=is_new)
        return PayInvoiceResponse(reply=reply)

    async def ExplainInvoice(
        self, request: ExplainInvoiceRequest, context: Context
    ) -> AsyncIterator[ExplainInvoiceResponse]:
        """Explain an invoice line by line."""
        for line in replies.list_lines(await self._find(request, context)):
            yield ExplainInvoiceResponse(piece=line)

    async def DrawInvoice(
        self, request: DrawInvoiceRequest, context: Context
    ) -> DrawInvoiceResponse:
        """Show an invoice as a picture."""
        invoice = await self._find(request, context)
        return DrawInvoiceResponse(reply=replies.build_chart(invoice))

    async def RemindLater(
        self, request: RemindLaterRequest, context: Context
    ) -> RemindLaterResponse:
        """Remind the user of an invoice later."""
        invoice = await self._find(request, context)
        if self._reminders is None:
            text = "I cannot remind you at the moment."
            await refuse(context, grpc.StatusCode.FAILED_PRECONDITION, text)
        await self._reminders.schedule(request.context, invoice.number)
        reply = Reply(messages=[OutgoingMessage(text="I will remind you.")])
        return RemindLaterResponse(reply=reply)

    async def SearchInvoices(
        self, request: SearchInvoicesRequest, context: Context
    ) -> SearchInvoicesResponse:
        """Find invoices."""
        found = self._ledger.search(request.query.query)
        return SearchInvoicesResponse(reply=replies.build_results(found))

    async def _find(self, request: InvoiceRequest, context: Context) -> Invoice:
        """Return the invoice of a request; ends the rpc if there is none."""
        if not request.context.HasField("telegram_user_id"):
            text = "Only people have invoices. Write to me in person."
            await refuse(context, grpc.StatusCode.INVALID_ARGUMENT, text)
        has_number = isinstance(request, PayInvoiceRequest) or request.HasField(
            "number"
        )
        number = request.number if has_number else None
        try:
            return self._ledger.find(number)
        except UnknownInvoice:
            text = f"There is no invoice {number}. Your newest one is /invoice."
            await refuse(context, grpc.StatusCode.NOT_FOUND, text)
