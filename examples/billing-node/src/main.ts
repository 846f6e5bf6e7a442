// Serves the rpcs and gRPC's health until SIGTERM or SIGINT.
//
// PORT is the port, DELIVERY_TARGET the address of the gateway's Delivery service, and
// DELIVERY_TOKEN the token of this service there, if the gateway asks for one. REMINDER_SECONDS is
// the delay of reminders.

import { Server, ServerCredentials } from "@grpc/grpc-js";
import { HealthImplementation } from "grpc-health-check";
import { BillingServiceService } from "../generated/acme/billing/v1/billing_service.js";
import { Ledger } from "./ledger.js";
import { Reminders } from "./reminders.js";
import { buildService } from "./service.js";

const GRACE_MS = 10_000;
const {
  HOST = "127.0.0.1",
  PORT = "50051",
  DELIVERY_TARGET,
  DELIVERY_TOKEN,
  REMINDER_SECONDS = "86400",
} = process.env;

const reminders = DELIVERY_TARGET
  ? new Reminders(DELIVERY_TARGET, Number(REMINDER_SECONDS) * 1000, DELIVERY_TOKEN)
  : undefined;
const server = new Server();
server.addService(BillingServiceService, buildService(new Ledger(), reminders));
// The gateway watches the empty name and calls only while it is SERVING.
const health = new HealthImplementation({ "": "SERVING" });
health.addToServer(server);

server.bindAsync(`${HOST}:${PORT}`, ServerCredentials.createInsecure(), (error) => {
  if (error) {
    console.error(error.message);
    process.exit(1);
  }
  console.log(`billing listens on ${HOST}:${PORT}`);
});

function stop(): void {
  health.setStatus("", "NOT_SERVING");
  // Running calls may end; those that take longer than the orchestrator waits are cut.
  setTimeout(() => server.forceShutdown(), GRACE_MS).unref();
  server.tryShutdown(() => reminders?.close());
}
process.once("SIGTERM", stop);
process.once("SIGINT", stop);
