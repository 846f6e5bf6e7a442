// Sends a message to a user on a service's own initiative, and waits for its end.
//
//     npm install
//     npm start -- localhost:50050 u-1 order-4711-shipped "Your order was shipped."
//
// The token of the caller is DELIVERY_TOKEN in the environment, if the gateway asks for one.
// PROTOS is the folder with the contracts; see ../README.md.

import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import * as grpc from "@grpc/grpc-js";
import * as loader from "@grpc/proto-loader";

const PROTOS = process.env.PROTOS ?? join(import.meta.dirname, "../../../proto");
const ATTEMPT_MS = 2_000;
const PATIENCE_MS = 60_000;
const FIRST_DELAY_MS = 100;
const MAX_DELAY_MS = 5_000;

// After these it is unknown whether the delivery was stored, or it certainly was not. Either
// way the same request with the same key is safe: it sends nothing twice.
const REPEATABLE = new Set([
  grpc.status.UNAVAILABLE,
  grpc.status.DEADLINE_EXCEEDED,
  grpc.status.RESOURCE_EXHAUSTED,
]);

const OPEN_STATES = new Set([
  "DELIVERY_STATE_ACCEPTED",
  "DELIVERY_STATE_SCHEDULED",
  "DELIVERY_STATE_SENDING",
]);

interface SendRequest {
  recipient: { internal_user_id: string };
  messages: { text: string }[];
  idempotency_key: string;
}

interface SendResponse {
  delivery_id: string;
  is_repeated: boolean;
}

interface GetResponse {
  status: { state: string; reason: string };
}

class DeliveryClient {
  readonly #client: grpc.Client;
  readonly #metadata = new grpc.Metadata();
  readonly #service: grpc.ServiceDefinition;

  constructor(target: string, token: string | undefined) {
    const definition = loader.loadSync("botgateway/delivery/v1/delivery_service.proto", {
      includeDirs: [PROTOS],
      keepCase: true,
      enums: String,
      longs: String,
      defaults: true,
    });
    this.#service = definition[
      "botgateway.delivery.v1.DeliveryService"
    ] as grpc.ServiceDefinition;
    this.#client = new grpc.Client(target, grpc.credentials.createInsecure());
    if (token) this.#metadata.set("authorization", `Bearer ${token}`);
  }

  async send(request: SendRequest): Promise<SendResponse> {
    const end = Date.now() + PATIENCE_MS;
    for (let delay = FIRST_DELAY_MS; ; delay = Math.min(2 * delay, MAX_DELAY_MS)) {
      try {
        return await this.#call<SendResponse>("Send", request);
      } catch (error) {
        const status = (error as grpc.ServiceError).code;
        if (!REPEATABLE.has(status) || Date.now() > end) throw error;
      }
      await sleep(delay * (0.5 + Math.random() / 2));
    }
  }

  get(deliveryId: string): Promise<GetResponse> {
    return this.#call<GetResponse>("Get", { delivery_id: deliveryId });
  }

  close(): void {
    this.#client.close();
  }

  #call<Response>(method: string, request: object): Promise<Response> {
    const rpc = this.#service[method];
    return new Promise((resolve, reject) => {
      this.#client.makeUnaryRequest(
        rpc.path,
        rpc.requestSerialize,
        rpc.responseDeserialize,
        request,
        this.#metadata,
        { deadline: Date.now() + ATTEMPT_MS },
        (error, response) => (error ? reject(error) : resolve(response as Response)),
      );
    });
  }
}

async function main(target: string, userId: string, key: string, text: string): Promise<number> {
  const client = new DeliveryClient(target, process.env.DELIVERY_TOKEN);
  try {
    const sent = await client.send({
      recipient: { internal_user_id: userId },
      messages: [{ text }],
      idempotency_key: key,
    });
    console.log(`stored as ${sent.delivery_id}${sent.is_repeated ? " (was stored before)" : ""}`);
    for (;;) {
      const { status } = await client.get(sent.delivery_id);
      if (!OPEN_STATES.has(status.state)) {
        console.log(status.state, status.reason);
        return status.state === "DELIVERY_STATE_SENT" ? 0 : 1;
      }
      await sleep(200);
    }
  } catch (error) {
    const { code, details } = error as grpc.ServiceError;
    console.error(`refused: ${grpc.status[code]}: ${details}`);
    return 1;
  } finally {
    client.close();
  }
}

const [target, userId, key, text] = process.argv.slice(2);
if (text === undefined) {
  console.error("usage: speak-first.ts HOST:PORT INTERNAL_USER_ID KEY TEXT");
  process.exit(2);
}
process.exitCode = await main(target, userId, key, text);
