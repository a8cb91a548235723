import { type DescMessage, isMessage, type MessageShape, toBinary } from "@bufbuild/protobuf";
import {
  type ReadResponse,
  ReadResponseSchema,
  type WriteRequest,
  WriteRequestSchema,
} from "../../proto/gen/google/bytestream/bytestream_pb.ts";
import { asBuffer } from "./grpc-status.ts";

/** Tags of the fields: their number, three bits to the left, and how they are written. */
const tags = { resourceName: 0x0a, writeOffset: 0x10, finishWrite: 0x18, data: 0x52 } as const;

/**
 * A message as its bytes, as `toBinary` gives them. The two messages that carry the bytes of streams are written by hand,
 * with one copy of the data: protobuf-es makes three of a chunk of 1 MiB and zeroes what it copies into, which cost a third
 * of the processor time of a transfer, most of it in the garbage collector.
 */
export function encodeMessage<D extends DescMessage>(schema: D, message: MessageShape<D>): Buffer {
  if (message.$unknown === undefined || message.$unknown.length === 0) {
    if (isMessage(message, ReadResponseSchema)) return encodeReadResponse(message);
    if (isMessage(message, WriteRequestSchema) && message.writeOffset >= 0n) return encodeWriteRequest(message);
  }
  return asBuffer(toBinary(schema, message));
}

function encodeReadResponse({ data }: ReadResponse): Buffer {
  return Buffer.concat(data.byteLength === 0 ? [] : [head(data), data]);
}

function encodeWriteRequest({ resourceName, writeOffset, finishWrite, data }: WriteRequest): Buffer {
  const name = Buffer.from(resourceName, "utf8");
  const before: number[] = [];
  if (writeOffset > 0n) before.push(tags.writeOffset, ...varint(writeOffset));
  if (finishWrite) before.push(tags.finishWrite, 1);
  return Buffer.concat([
    ...(name.byteLength === 0 ? [] : [Buffer.from([tags.resourceName, ...varint(BigInt(name.byteLength))]), name]),
    Buffer.from(before),
    ...(data.byteLength === 0 ? [] : [head(data), data]),
  ]);
}

function head(data: Uint8Array): Buffer {
  return Buffer.from([tags.data, ...varint(BigInt(data.byteLength))]);
}

/** Seven bits a byte, the least significant first; the top bit says that more follow. Not for negative numbers. */
function varint(value: bigint): number[] {
  const bytes: number[] = [];
  for (let rest = value; ; rest >>= 7n) {
    if (rest < 0x80n) return [...bytes, Number(rest)];
    bytes.push(Number(rest & 0x7fn) | 0x80);
  }
}
