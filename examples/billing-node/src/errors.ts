// Errors with a text for the user.

import { BinaryWriter } from "@bufbuild/protobuf/wire";
import { Metadata, type ServiceError, status } from "@grpc/grpc-js";

const LOCALIZED_MESSAGE = "type.googleapis.com/google.rpc.LocalizedMessage";

/**
 * Returns the error that ends an rpc with a text that the gateway shows to the user.
 *
 * The gateway reads it from the details of the status, a google.rpc.Status with a
 * google.rpc.LocalizedMessage; it never shows the message of the status itself.
 */
export function buildRefusal(code: status, text: string): ServiceError {
  const message = new BinaryWriter().uint32(10).string("en").uint32(18).string(text);
  const detail = new BinaryWriter()
    .uint32(10)
    .string(LOCALIZED_MESSAGE)
    .uint32(18)
    .bytes(message.finish());
  const details = new BinaryWriter()
    .uint32(8)
    .int32(code)
    .uint32(18)
    .string(status[code])
    .uint32(26)
    .bytes(detail.finish());
  const metadata = new Metadata();
  metadata.set("grpc-status-details-bin", Buffer.from(details.finish()));
  return Object.assign(new Error(status[code]), { code, details: status[code], metadata });
}
