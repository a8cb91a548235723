import { expect, onTestFinished, test } from "vitest";
import { byteStreamService } from "../../../../coordinator/api/grpc/byte-stream-service.ts";
import { casService } from "../../../../coordinator/api/grpc/cas-service.ts";
import { grpcServer, mounted } from "../../../../coordinator/api/grpc/grpc-server.ts";
import { ContentAddressableStorage } from "../../../../proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import { ByteStream } from "../../../../proto/gen/google/bytestream/bytestream_pb.ts";
import { grpcCas } from "../../../../shared/cas/grpc-cas.ts";
import { memoryCas } from "../../../../shared/cas/memory-cas.ts";
import { limits } from "../../../../shared/limits.ts";
import { grpcTransport } from "../../../../shared/rpc/grpc-transport.ts";
import { casConformance } from "../../../conformance/cas.ts";
import { textBlob } from "../../../support/blobs.ts";

/** The services over a store in memory, on a real server; and a client of them. */
async function serve() {
  const base = memoryCas();
  const server = grpcServer([
    mounted(ContentAddressableStorage, casService({ cas: base })),
    mounted(ByteStream, byteStreamService({ cas: base })),
  ]);
  const port = await server.listen("127.0.0.1", 0);
  const transport = grpcTransport({ address: `127.0.0.1:${port}` });
  onTestFinished(async () => {
    transport.close();
    await server.close(0);
  });
  return { base, cas: grpcCas({ transport }) };
}

casConformance("gRPC", async () => (await serve()).cas);

test("asks for more digests than one call takes", async () => {
  const { base, cas } = await serve();
  const blobs = Array.from({ length: limits.findMissingSlice + 50 }, (_, n) => textBlob(String(n)));
  await base.writeMany(blobs.slice(0, -3));
  expect(await cas.findMissing(blobs.map((blob) => blob.digest))).toEqual(blobs.slice(-3).map((blob) => blob.digest));
});
