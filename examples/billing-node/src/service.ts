// The rpcs.

import {
  type handleUnaryCall,
  type ServerWritableStream,
  type ServiceError,
  status,
} from "@grpc/grpc-js";
import {
  type BillingServiceServer,
  DrawInvoiceResponse,
  type ExplainInvoiceRequest,
  ExplainInvoiceResponse,
  GetInvoiceResponse,
  PayInvoiceResponse,
  RemindLaterResponse,
  SearchInvoicesResponse,
} from "../generated/acme/billing/v1/billing_service.js";
import type { RequestContext } from "../generated/botgateway/chat/v1/context.js";
import { buildRefusal } from "./errors.js";
import { type Invoice, type Ledger, UnknownInvoice } from "./ledger.js";
import type { Reminders } from "./reminders.js";
import {
  buildChart,
  buildInvoice,
  buildPayment,
  buildResults,
  buildText,
  listLines,
} from "./replies.js";

interface InvoiceRequest {
  context?: RequestContext | undefined;
  number?: number | undefined;
}

interface Found {
  context: RequestContext;
  userId: number;
  invoice: Invoice;
}

/**
 * Returns the rpcs.
 *
 * @param ledger has the invoices.
 * @param reminders sends reminders; undefined if the gateway serves no deliveries.
 */
export function buildService(
  ledger: Ledger,
  reminders: Reminders | undefined,
): BillingServiceServer {
  function find({ context, number }: InvoiceRequest): Found {
    const userId = context?.telegramUserId;
    if (context === undefined || userId === undefined) {
      const text = "Only people have invoices. Write to me in person.";
      throw buildRefusal(status.INVALID_ARGUMENT, text);
    }
    try {
      return { context, userId, invoice: ledger.find(number) };
    } catch (error) {
      if (!(error instanceof UnknownInvoice)) throw error;
      const text = `There is no invoice ${number}. Your newest one is /invoice.`;
      throw buildRefusal(status.NOT_FOUND, text);
    }
  }

  function explain(call: ServerWritableStream<ExplainInvoiceRequest, ExplainInvoiceResponse>) {
    try {
      for (const piece of listLines(find(call.request).invoice)) {
        call.write(ExplainInvoiceResponse.fromPartial({ piece }));
      }
      call.end();
    } catch (error) {
      call.emit("error", error);
    }
  }

  return {
    getInvoice: answer((request) => {
      const { userId, invoice } = find(request);
      const reply = buildInvoice(invoice, ledger.isPaid(userId, invoice.number));
      return GetInvoiceResponse.fromPartial({ reply });
    }),
    payInvoice: answer((request) => {
      const { context, userId, invoice } = find(request);
      const isNew = ledger.pay(userId, invoice.number, context.requestId);
      return PayInvoiceResponse.fromPartial({ reply: buildPayment(invoice.number, isNew) });
    }),
    explainInvoice: explain,
    drawInvoice: answer((request) =>
      DrawInvoiceResponse.fromPartial({ reply: buildChart(find(request).invoice) }),
    ),
    remindLater: answer(async (request) => {
      const { context, invoice } = find(request);
      if (reminders === undefined) {
        const text = "I cannot remind you at the moment.";
        throw buildRefusal(status.FAILED_PRECONDITION, text);
      }
      await reminders.schedule(context, invoice.number);
      return RemindLaterResponse.fromPartial({ reply: buildText("I will remind you.") });
    }),
    searchInvoices: answer((request) => {
      const found = ledger.search(request.query?.query ?? "");
      return SearchInvoicesResponse.fromPartial({ reply: buildResults(found) });
    }),
  };
}

/** Returns an rpc that answers with what a function returns or throws. */
function answer<Request, Response>(
  act: (request: Request) => Response | Promise<Response>,
): handleUnaryCall<Request, Response> {
  return async (call, callback) => {
    try {
      callback(null, await act(call.request));
    } catch (error) {
      callback(error as ServiceError);
    }
  };
}
