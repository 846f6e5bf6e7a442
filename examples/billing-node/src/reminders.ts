// Reminders: messages that the service sends on its own initiative.
//
// The gateway stores them durably and sends each one when its time has come. A call whose outcome
// is unknown is repeated with the same idempotency key: nobody is reminded twice.

import { setTimeout as sleep } from "node:timers/promises";
import { credentials, Metadata, type ServiceError, status } from "@grpc/grpc-js";
import type { RequestContext } from "../generated/botgateway/chat/v1/context.js";
import {
  DeliveryServiceClient,
  SendRequest,
} from "../generated/botgateway/delivery/v1/delivery_service.js";

const ATTEMPTS = 3;
const ATTEMPT_MS = 800;
const PAUSE_MS = 100;
const REPEATABLE = new Set([status.UNAVAILABLE, status.DEADLINE_EXCEEDED]);

export class Reminders {
  readonly #client: DeliveryServiceClient;
  readonly #delayMs: number;
  readonly #metadata = new Metadata();

  /**
   * @param target the address of the gateway's Delivery service.
   * @param delayMs the time between the request of a user and the reminder.
   * @param token identifies this service to the gateway; undefined if it asks for none.
   */
  constructor(target: string, delayMs: number, token: string | undefined) {
    this.#client = new DeliveryServiceClient(target, credentials.createInsecure());
    this.#delayMs = delayMs;
    if (token) this.#metadata.set("authorization", `Bearer ${token}`);
  }

  /** Reminds the user of an invoice later. */
  async schedule(context: RequestContext, number: number): Promise<void> {
    const sentAt = context.sendTime?.getTime() ?? 0;
    const request = SendRequest.fromPartial({
      recipient: {
        bot: String(context.bot?.id ?? ""),
        telegramUserId: context.telegramUserId,
      },
      messages: [{ text: `Remember to pay invoice ${number}.` }],
      // The same when the gateway repeats the request of the user.
      idempotencyKey: `remind/${context.requestId}`,
      // From the time of the request, so that a repeated call has the same content.
      options: { notBefore: new Date(sentAt + this.#delayMs) },
    });
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.#send(request);
      } catch (error) {
        const { code } = error as ServiceError;
        if (attempt === ATTEMPTS || !REPEATABLE.has(code)) throw error;
      }
      await sleep(PAUSE_MS);
    }
  }

  close(): void {
    this.#client.close();
  }

  #send(request: SendRequest): Promise<void> {
    const options = { deadline: Date.now() + ATTEMPT_MS };
    return new Promise((resolve, reject) => {
      this.#client.send(request, this.#metadata, options, (error) =>
        error ? reject(error) : resolve(),
      );
    });
  }
}
