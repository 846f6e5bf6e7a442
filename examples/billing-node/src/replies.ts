// The replies of the service.

import { MediaType, type OutgoingMessage, Reply } from "../generated/botgateway/chat/v1/reply.js";
import { drawChart } from "./chart.js";
import { formatPrice, formatTotal, type Invoice } from "./ledger.js";

/** Shows an invoice, with a button unless it is paid. */
export function buildInvoice(invoice: Invoice, isPaid: boolean): Reply {
  if (isPaid) return buildText(`${describe(invoice)} It is paid.`);
  const callbackTarget = {
    method: "BillingService.PayInvoice",
    parameters: { number: String(invoice.number) },
  };
  const inlineKeyboard = { rows: [{ buttons: [{ text: "Pay", callbackTarget }] }] };
  return Reply.fromPartial({ messages: [{ text: describe(invoice), inlineKeyboard }] });
}

/** Confirms a payment in the message with the button. */
export function buildPayment(number: number, isNew: boolean): Reply {
  if (!isNew) {
    const text = "You have paid this invoice already.";
    return Reply.fromPartial({ callbackAnswer: { text, showAlert: true } });
  }
  return Reply.fromPartial({
    messages: [{ text: `Invoice ${number} is paid. Thank you!`, edit: true }],
    callbackAnswer: { text: "Paid" },
  });
}

/** Shows an invoice as a picture. */
export function buildChart(invoice: Invoice): Reply {
  const upload = { content: drawChart(invoice), fileName: "invoice.png" };
  const media = [{ type: MediaType.MEDIA_TYPE_PHOTO, upload }];
  return Reply.fromPartial({ messages: [{ text: describe(invoice), media }] });
}

/** Offers invoices to be sent into any chat. */
export function buildResults(invoices: Invoice[]): Reply {
  const results = invoices.map((invoice) => ({
    resultId: String(invoice.number),
    title: `Invoice ${invoice.number}`,
    description: formatTotal(invoice),
    message: { text: describe(invoice) },
  }));
  return Reply.fromPartial({ inlineAnswer: { results, isPersonal: true } });
}

export function buildText(text: string): Reply {
  const messages: Partial<OutgoingMessage>[] = [{ text }];
  return Reply.fromPartial({ messages });
}

/** Returns the lines of an explanation. */
export function listLines(invoice: Invoice): string[] {
  const items = invoice.items.map(({ title, cents }) => `${title}: ${formatPrice(cents)}\n`);
  return [`Invoice ${invoice.number}\n`, ...items, `Total: ${formatTotal(invoice)}`];
}

function describe(invoice: Invoice): string {
  return `Invoice ${invoice.number}: ${formatTotal(invoice)}.`;
}
