// Run where the package is installed: its modules are found, encode, and name the client.

import { Reply } from "botgateway-contracts/botgateway/chat/v1/reply.js";
import { DeliveryServiceClient } from "botgateway-contracts/botgateway/delivery/v1/delivery_service.js";
import { Route } from "botgateway-contracts/botgateway/route/v1/route.js";

const reply = Reply.fromPartial({ messages: [{ text: "hello" }] });
const [message] = Reply.decode(Reply.encode(reply).finish()).messages;
if (message?.text !== "hello") throw new Error("a reply is not what it was");
if (DeliveryServiceClient.serviceName !== "botgateway.delivery.v1.DeliveryService")
  throw new Error("the client is another one");
if (Route.fromPartial({ command: "/start" }).command !== "/start")
  throw new Error("a route is not what it was");
