import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import fc from "fast-check";
import { expect, test } from "vitest";
import { ReadResponseSchema, WriteRequestSchema } from "../../../../proto/gen/google/bytestream/bytestream_pb.ts";
import { GetRunRequestSchema } from "../../../../proto/gen/millrace/v1/run_pb.ts";
import { encodeMessage } from "../../../../shared/rpc/encode-message.ts";

const data = fc.oneof(
  fc.uint8Array(),
  fc.integer({ min: 0, max: 70_000 }).map((size) => new Uint8Array(size).fill(7)),
);

test("a chunk that is read is written as protobuf-es writes it", () => {
  fc.assert(
    fc.property(data, (bytes) => {
      const message = create(ReadResponseSchema, { data: bytes });
      expect(encodeMessage(ReadResponseSchema, message).equals(toBinary(ReadResponseSchema, message))).toBe(true);
    }),
  );
});

test("a chunk that is sent is written as protobuf-es writes it, whatever its offset", () => {
  const fields = {
    resourceName: fc.string({ unit: "binary", maxLength: 300 }).filter((text) => text.isWellFormed()),
    writeOffset: fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
    finishWrite: fc.boolean(),
    data,
  };
  fc.assert(
    fc.property(fc.record(fields), (init) => {
      const message = create(WriteRequestSchema, init);
      expect(encodeMessage(WriteRequestSchema, message).equals(toBinary(WriteRequestSchema, message))).toBe(true);
    }),
  );
});

test("fields of a newer version are kept", () => {
  const unknown = Buffer.from([0xf8, 0x01, 0x05]); // field 31, the number 5
  const message = fromBinary(
    ReadResponseSchema,
    Buffer.concat([toBinary(ReadResponseSchema, create(ReadResponseSchema, { data: new Uint8Array([1]) })), unknown]),
  );
  expect(encodeMessage(ReadResponseSchema, message).includes(unknown)).toBe(true);
});

test("every other message is what protobuf-es makes of it", () => {
  const message = create(GetRunRequestSchema, { run: "run_1" });
  expect(encodeMessage(GetRunRequestSchema, message).equals(toBinary(GetRunRequestSchema, message))).toBe(true);
});
