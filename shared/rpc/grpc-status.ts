import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { anyPack } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";
import { Metadata, type ServiceError, type StatusObject } from "@grpc/grpc-js";
import { StatusSchema } from "../../proto/gen/google/rpc/status_pb.ts";
import { toConnectError } from "./connect-error.ts";

/** What Connect takes where it takes headers. */
export type HeadersInput = ConstructorParameters<typeof Headers>[0];

const detailsKey = "grpc-status-details-bin";

/** Protobuf-es gives Uint8Array, grpc-js wants Buffer: the same bytes, not a copy. */
export function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** Metadata as Headers; binary values as base64, as in HTTP. */
export function headersFromMetadata(metadata: Metadata): Headers {
  const headers = new Headers();
  for (const key of Object.keys(metadata.getMap())) {
    for (const value of metadata.get(key)) {
      headers.append(key, typeof value === "string" ? value : value.toString("base64"));
    }
  }
  return headers;
}

export function metadataFromHeaders(init: HeadersInput | undefined): Metadata {
  const metadata = new Metadata();
  new Headers(init).forEach((value, key) => {
    metadata.add(key, key.endsWith("-bin") ? Buffer.from(value, "base64") : value);
  });
  return metadata;
}

/** What grpc-js sends for an error: code, message, and the google.rpc details in their trailer. */
export function grpcStatusOf(error: unknown, trailer: Headers): Error & StatusObject {
  const failure = toConnectError(error);
  const metadata = metadataFromHeaders(trailer);
  if (failure.details.length > 0) {
    const details = failure.details.map((detail) =>
      "desc" in detail
        ? anyPack(detail.desc, create(detail.desc, detail.value))
        : { typeUrl: `type.googleapis.com/${detail.type}`, value: detail.value },
    );
    const status = create(StatusSchema, { code: failure.code, message: failure.rawMessage, details });
    metadata.set(detailsKey, asBuffer(toBinary(StatusSchema, status)));
  }
  const code: number = failure.code;
  return Object.assign(new Error(failure.rawMessage), {
    code,
    details: failure.rawMessage,
    metadata,
  });
}

/** What a client of grpc-js caught, as the error of Connect, details included. */
export function connectErrorOf(error: ServiceError): ConnectError {
  // grpc-js tells what it found out about the name, also when that was nothing.
  const message = (error.details || error.message).replace(/ Resolution note: $/, "");
  const failure = new ConnectError(message, codeOf(error), undefined, undefined, error);
  const packed = error.metadata?.get(detailsKey)[0];
  if (packed instanceof Uint8Array) {
    failure.details = fromBinary(StatusSchema, packed).details.map((detail) => ({
      type: detail.typeUrl.slice(detail.typeUrl.lastIndexOf("/") + 1),
      value: detail.value,
    }));
  }
  return failure;
}

function codeOf(error: ServiceError): Code {
  const code: number = error.code;
  // How grpc-js tells of a server that went away in the midst of an answer and closed what was open in good order.
  if (code === Code.Internal && error.details.endsWith("(Call ended without gRPC status)")) return Code.Unavailable;
  return code in Code ? code : Code.Unknown;
}
