import { create, toBinary } from "@bufbuild/protobuf";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { describe, expect, onTestFinished, test } from "vitest";
import { actionCacheService } from "../../../../coordinator/api/grpc/action-cache-service.ts";
import { byteStreamService } from "../../../../coordinator/api/grpc/byte-stream-service.ts";
import { capabilitiesService } from "../../../../coordinator/api/grpc/capabilities-service.ts";
import { casService } from "../../../../coordinator/api/grpc/cas-service.ts";
import { grpcServer, mounted } from "../../../../coordinator/api/grpc/grpc-server.ts";
import type { ActionCacheEntry } from "../../../../coordinator/farm/action-cache/action-cache.ts";
import {
  ActionCache,
  ActionResultSchema,
  Capabilities,
  Compressor_Value,
  ContentAddressableStorage,
  DigestFunction_Value,
  DirectorySchema,
} from "../../../../proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import { ByteStream } from "../../../../proto/gen/google/bytestream/bytestream_pb.ts";
import { PreconditionFailureSchema } from "../../../../proto/gen/google/rpc/error_details_pb.ts";
import { memoryCas } from "../../../../shared/cas/memory-cas.ts";
import { digestKey, digestOf, digestToMessage, emptyDigest } from "../../../../shared/digest.ts";
import { limits } from "../../../../shared/limits.ts";
import { buildTree } from "../../../../shared/merkle/build-tree.ts";
import { grpcTransport } from "../../../../shared/rpc/grpc-transport.ts";
import { readName, writeName } from "../../../../shared/rpc/resource-name.ts";
import { blobOf, bytesOf, noise, textBlob } from "../../../support/blobs.ts";
import { failure } from "../../../support/codes.ts";

async function serve() {
  const cas = memoryCas();
  const results = new Map<string, ActionCacheEntry>();
  const actionCache = {
    get: async (action: { hash: string }) => results.get(action.hash),
    put: async (action: { hash: string }, entry: ActionCacheEntry) => void results.set(action.hash, entry),
  };
  const server = grpcServer([
    mounted(Capabilities, capabilitiesService()),
    mounted(ContentAddressableStorage, casService({ cas })),
    mounted(ByteStream, byteStreamService({ cas })),
    mounted(ActionCache, actionCacheService({ actionCache, cas, writer: () => "token:test" })),
  ]);
  const port = await server.listen("127.0.0.1", 0);
  const transport = grpcTransport({ address: `127.0.0.1:${port}` });
  onTestFinished(async () => {
    transport.close();
    await server.close(0);
  });
  return {
    cas,
    results,
    capabilities: createClient(Capabilities, transport),
    store: createClient(ContentAddressableStorage, transport),
    streams: createClient(ByteStream, transport),
    actions: createClient(ActionCache, transport),
  };
}

const blob = textBlob("a blob of some bytes");
const digest = digestToMessage(blob.digest);
const upload = writeName(blob.digest, "00000000-0000-4000-8000-000000000000");

/** The subjects of a MISSING answer. */
function missingOf(error: { cause?: unknown }): string[] {
  const [detail] = ConnectError.from(error.cause).findDetails(PreconditionFailureSchema);
  return detail?.violations.map(({ type, subject }) => `${type} ${subject}`) ?? [];
}

test("capabilities promise what is served, and no execution", async () => {
  const { capabilities } = await serve();
  const { cacheCapabilities, executionCapabilities, highApiVersion } = await capabilities.getCapabilities({});
  expect(cacheCapabilities?.digestFunctions).toEqual([DigestFunction_Value.SHA256]);
  expect(cacheCapabilities?.supportedCompressors).toEqual([Compressor_Value.IDENTITY]);
  expect(Number(cacheCapabilities?.maxBatchTotalSizeBytes)).toBe(limits.batchAdvertisedBytes);
  expect(executionCapabilities?.execEnabled).toBe(false);
  expect(highApiVersion?.major).toBe(2);
});

describe("ByteStream", () => {
  const halves = [
    { resourceName: upload, writeOffset: 0n, data: blob.data.subarray(0, 8), finishWrite: false },
    { writeOffset: 8n, data: blob.data.subarray(8), finishWrite: true },
  ];
  const send = async function* (...requests: object[]) {
    yield* requests;
  };

  test("takes a blob in parts, and answers with its whole size, also when it has it already", async () => {
    const { streams, cas } = await serve();
    for (let time = 0; time < 2; time++) {
      const { committedSize } = await streams.write(send(...halves));
      expect(Number(committedSize)).toBe(blob.digest.sizeBytes);
    }
    expect(await bytesOf(cas.read(blob.digest))).toEqual(blob.data);
  });

  test("takes a last message without data", async () => {
    const { streams, cas } = await serve();
    const [first, second] = halves;
    const end = { writeOffset: BigInt(blob.digest.sizeBytes), finishWrite: true };
    await streams.write(send({ ...first }, { ...second, finishWrite: false }, end));
    expect(await cas.findMissing([blob.digest])).toEqual([]);
  });

  test("takes the empty blob", async () => {
    const { streams } = await serve();
    const resourceName = writeName(emptyDigest, "id");
    expect((await streams.write(send({ resourceName, finishWrite: true }))).committedSize).toBe(0n);
  });

  test.each<[string, object[]]>([
    ["that ends without finish_write", [{ resourceName: upload, data: blob.data }]],
    ["that leaves a gap", [{ ...halves[0] }, { ...halves[1], writeOffset: 9n }]],
    ["that begins in the middle", [{ ...halves[1], resourceName: upload }]],
    ["that is too short", [{ ...halves[0], finishWrite: true }]],
    ["that is too long", [...halves.slice(0, 1), { writeOffset: 8n, data: noise(1_000), finishWrite: true }]],
    ["that is other bytes", [{ resourceName: upload, data: noise(blob.data.byteLength), finishWrite: true }]],
    ["without a name", [{ data: blob.data, finishWrite: true }]],
    ["that is compressed", [{ resourceName: upload.replace("/blobs/", "/compressed-blobs/zstd/"), finishWrite: true }]],
    ["of no message", []],
  ])("refuses an upload %s, and keeps nothing", async (_, requests) => {
    const { streams, cas } = await serve();
    await failure("invalid_argument", () => streams.write(send(...requests)));
    expect(await cas.findMissing([blob.digest])).toEqual([blob.digest]);
  });

  test("reads from an offset up to a limit, where 0 is none", async () => {
    const { streams, cas } = await serve();
    await cas.writeMany([blob]);
    const read = async (
      readOffset: bigint,
      readLimit: bigint,
      resourceName = readName(blob.digest, "any/instance"),
    ) => {
      const chunks: Uint8Array[] = [];
      for await (const { data } of streams.read({ resourceName, readOffset, readLimit })) chunks.push(data);
      return Buffer.concat(chunks).toString();
    };
    expect(await read(0n, 0n)).toBe("a blob of some bytes");
    expect(await read(2n, 4n)).toBe("blob");
    expect(await read(BigInt(blob.digest.sizeBytes), 0n)).toBe("");
    expect(await read(0n, 0n, readName(emptyDigest))).toBe("");
    await failure("out_of_range", () => read(BigInt(blob.digest.sizeBytes + 1), 0n));
    await failure("out_of_range", () => read(-1n, 0n));
    await failure("not_found", () => read(0n, 0n, readName(textBlob("absent").digest)));
    await failure("invalid_argument", () => read(0n, 0n, "nonsense"));
  });

  test("tells what is there of an upload: all or nothing", async () => {
    const { streams, cas } = await serve();
    expect(await streams.queryWriteStatus({ resourceName: upload })).toMatchObject({
      committedSize: 0n,
      complete: false,
    });
    await cas.writeMany([blob]);
    const whole = { committedSize: BigInt(blob.digest.sizeBytes), complete: true };
    expect(await streams.queryWriteStatus({ resourceName: upload })).toMatchObject(whole);
  });
});

describe("ContentAddressableStorage", () => {
  test("answers for each blob of a batch alone", async () => {
    const { store, cas } = await serve();
    const other = textBlob("other");
    const { responses } = await store.batchUpdateBlobs({
      requests: [
        { digest, data: blob.data },
        { digest: digestToMessage(textBlob("wrong").digest), data: blob.data },
        { digest: digestToMessage(other.digest), data: other.data, compressor: Compressor_Value.ZSTD },
        { digest: { hash: "short", sizeBytes: 1n }, data: noise(1) },
      ],
    });
    const codes = Object.fromEntries(responses.map(({ digest: of, status }) => [of?.hash, status?.code ?? 0]));
    expect(codes).toEqual({
      [blob.digest.hash]: 0,
      [textBlob("wrong").digest.hash]: Code.InvalidArgument,
      [other.digest.hash]: Code.InvalidArgument,
      short: Code.InvalidArgument,
    });
    expect(await cas.findMissing([blob.digest])).toEqual([]);
  });

  test("reads a batch with a status for what is absent", async () => {
    const { store, cas } = await serve();
    await cas.writeMany([blob]);
    const absent = digestToMessage(textBlob("absent").digest);
    const { responses } = await store.batchReadBlobs({ digests: [digest, absent] });
    expect(responses.map(({ status }) => status?.code ?? 0)).toEqual([0, Code.NotFound]);
    expect(new Uint8Array(responses[0]?.data ?? [])).toEqual(blob.data);
  });

  test("refuses a batch that no client could take, and a digest function it does not know", async () => {
    const { store } = await serve();
    const huge = { hash: blob.digest.hash, sizeBytes: BigInt(limits.batchReadBytes + 1) };
    await failure("invalid_argument", () => store.batchReadBlobs({ digests: [huge] }));
    const { message } = await failure("invalid_argument", () =>
      store.findMissingBlobs({ blobDigests: [digest], digestFunction: DigestFunction_Value.BLAKE3 }),
    );
    expect(message).toContain("BLAKE3");
  });

  test("takes 100,000 digests in one call", async () => {
    const { store, cas } = await serve();
    await cas.writeMany([blob]);
    const blobDigests = Array.from({ length: limits.findMissingDigests - 1 }, (_, n) => ({
      hash: n.toString(16).padStart(64, "0"),
      sizeBytes: 1n,
    }));
    const { missingBlobDigests } = await store.findMissingBlobs({ blobDigests: [...blobDigests, digest] });
    expect(missingBlobDigests).toHaveLength(blobDigests.length);
  });

  describe("GetTree", () => {
    const leaf = { kind: "file", digest: emptyDigest, executable: false } as const;
    const tree = buildTree(["a/b/c/x", "a/y", "d/z"].map((path) => ({ path, node: leaf })));

    test("gives each directory once, parents first, in pages that can be resumed", async () => {
      const { store, cas } = await serve();
      await cas.writeMany([...tree.directories.values()]);
      const walk = async (pageToken = "") => {
        const hashes: string[] = [];
        const tokens: string[] = [];
        for await (const page of store.getTree({ rootDigest: digestToMessage(tree.root), pageSize: 2, pageToken })) {
          for (const each of page.directories) hashes.push(digestOf(toBinary(DirectorySchema, each)).hash);
          tokens.push(page.nextPageToken);
        }
        return { hashes, tokens };
      };
      const { hashes, tokens } = await walk();
      expect(hashes[0]).toBe(tree.root.hash);
      expect(new Set(hashes).size).toBe(tree.directories.size);
      expect(tokens.at(-1)).toBe("");
      expect(tokens).toHaveLength(Math.ceil(tree.directories.size / 2));
      expect((await walk(tokens[0])).hashes).toEqual(hashes.slice(2));
    });

    test("leaves out a directory that is missing, but not the root", async () => {
      const { store, cas } = await serve();
      const rootDigest = digestToMessage(tree.root);
      const all = async () => {
        let count = 0;
        for await (const page of store.getTree({ rootDigest })) count += page.directories.length;
        return count;
      };
      await failure("not_found", all);
      await cas.writeMany([...tree.directories.values()].filter((each) => each.digest.hash === tree.root.hash));
      expect(await all()).toBe(1);
    });
  });
});

describe("ActionCache", () => {
  const actionDigest = digestToMessage(textBlob("not even an Action").digest);
  const big = blobOf(noise(limits.actionResultInlineBytes + 1));
  const actionResult = create(ActionResultSchema, {
    outputFiles: [
      { path: "out", digest, nodeProperties: { unixMode: 0o640 } },
      { path: "big", digest: digestToMessage(big.digest) },
    ],
    stdoutDigest: digest,
  });

  test("keeps an uploaded result with its writer and closure", async () => {
    const { actions, cas, results } = await serve();
    await cas.writeMany([blob, big]);
    await actions.updateActionResult({ actionDigest, actionResult });
    expect(await actions.getActionResult({ actionDigest })).toEqual(actionResult);
    const [entry] = results.values();
    expect(entry?.writer).toBe("token:test");
    expect(entry?.closure.map(digestKey).sort()).toEqual([blob, big].map((each) => digestKey(each.digest)).sort());
  });

  test("misses what it does not have", async () => {
    const { actions } = await serve();
    await failure("not_found", () => actions.getActionResult({ actionDigest }));
  });

  test("inlines only what is asked for and what fits", async () => {
    const { actions, cas, results } = await serve();
    await cas.writeMany([blob, big]);
    await actions.updateActionResult({ actionDigest, actionResult });
    const inlined = await actions.getActionResult({
      actionDigest,
      inlineStdout: true,
      inlineOutputFiles: ["out", "big"],
    });
    expect(new Uint8Array(inlined.stdoutRaw)).toEqual(blob.data);
    expect(inlined.outputFiles.map((file) => file.contents.byteLength)).toEqual([blob.data.byteLength, 0]);
    expect([...results.values()][0]?.result.stdoutRaw.byteLength).toBe(0);
  });

  test("refuses a result whose outputs are missing, and names them all", async () => {
    const { actions, results } = await serve();
    const error = await failure("failed_precondition", () =>
      actions.updateActionResult({ actionDigest, actionResult }),
    );
    expect(missingOf(error)).toEqual([blob, big].map((each) => `MISSING blobs/${digestKey(each.digest)}`));
    expect(results.size).toBe(0);
  });

  test("refuses the result of a failure, and one that default clients could not receive", async () => {
    const { actions } = await serve();
    await failure("invalid_argument", () =>
      actions.updateActionResult({ actionDigest, actionResult: { exitCode: 1 } }),
    );
    const { message } = await failure("invalid_argument", () =>
      actions.updateActionResult({ actionDigest, actionResult: { stdoutRaw: noise(limits.actionResultBytes) } }),
    );
    expect(message).toContain("inlining");
  });
});
