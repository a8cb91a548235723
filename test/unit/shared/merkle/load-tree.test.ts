import { create, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { describe, expect, test } from "vitest";
import { DirectorySchema } from "../../../../proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import { PreconditionFailureSchema } from "../../../../proto/gen/google/rpc/error_details_pb.ts";
import { memoryCas } from "../../../../shared/cas/memory-cas.ts";
import { type Digest, digestKey, digestToMessage, emptyDigest } from "../../../../shared/digest.ts";
import { limits } from "../../../../shared/limits.ts";
import { buildTree } from "../../../../shared/merkle/build-tree.ts";
import { loadTree } from "../../../../shared/merkle/load-tree.ts";
import { blobOf, store, textBlob } from "../../../support/blobs.ts";
import { failure } from "../../../support/codes.ts";

const digest = digestToMessage(textBlob("x").digest);
const directory = (init: MessageInitShape<typeof DirectorySchema>) =>
  blobOf(toBinary(DirectorySchema, create(DirectorySchema, init)));

describe("a stored tree is refused", () => {
  test.each<[string, MessageInitShape<typeof DirectorySchema>, string]>([
    ["a name with a slash", { files: [{ name: "a/b", digest }] }, 'contains "/"'],
    ["..", { files: [{ name: "..", digest }] }, "lead elsewhere"],
    ["an empty name", { files: [{ name: "", digest }] }, "is empty"],
    [
      "a name twice in a list",
      {
        files: [
          { name: "a", digest },
          { name: "a", digest },
        ],
      },
      "twice",
    ],
    ["a name in two lists", { files: [{ name: "a", digest }], symlinks: [{ name: "a", target: "b" }] }, "twice"],
    [
      "an unsorted list",
      {
        files: [
          { name: "b", digest },
          { name: "a", digest },
        ],
      },
      "unsorted",
    ],
    ["a file without a digest", { files: [{ name: "a" }] }, "is not set"],
    ["a symlink without a target", { symlinks: [{ name: "a" }] }, "target is empty"],
  ])("for %s", async (_, init, why) => {
    const cas = memoryCas();
    const blob = directory(init);
    await store(cas, blob);
    const { message } = await failure("invalid_argument", () => loadTree(cas, blob.digest));
    expect(message).toContain(why);
  });

  test("for bytes that are no Directory", async () => {
    const cas = memoryCas();
    const [root] = await store(cas, textBlob("not a message"));
    await failure("invalid_argument", () => loadTree(cas, root as Digest));
  });

  test("for being too deep", async () => {
    const cas = memoryCas();
    let root = emptyDigest;
    for (let depth = 0; depth <= limits.treeDepth; depth++) {
      const level = directory({ directories: [{ name: "d", digest: digestToMessage(root) }] });
      await store(cas, level);
      root = level.digest;
    }
    await failure("invalid_argument", () => loadTree(cas, root));
  });

  test("for unfolding without end, though it is small", async () => {
    const cas = memoryCas();
    let level = directory({ files: [{ name: "f", digest }] });
    for (let depth = 0; depth < 40; depth++) {
      await store(cas, level);
      const child = digestToMessage(level.digest);
      level = directory({ directories: ["a", "b"].map((name) => ({ name, digest: child })) });
    }
    await store(cas, level);
    const { message } = await failure("invalid_argument", () => loadTree(cas, level.digest));
    expect(message).toContain("entries");
  });

  test("for Directories that claim to be more together than a tree may have, before they are read", async () => {
    const cas = memoryCas();
    const child = (i: number) => ({ hash: i.toString(16).padStart(64, "0"), sizeBytes: limits.directoryBytes });
    const count = limits.treeBytes / limits.directoryBytes;
    const root = directory({
      directories: Array.from({ length: count }, (_, i) => ({
        name: `d${i + 100}`,
        digest: digestToMessage(child(i)),
      })),
    });
    await store(cas, root);
    const { message } = await failure("invalid_argument", () => loadTree(cas, root.digest));
    expect(message).toContain("all of them 256.0 MiB");
  });

  test("for claiming a huge Directory, which is not even read", async () => {
    const root = { hash: "0".repeat(64), sizeBytes: limits.directoryBytes + 1 };
    await failure("invalid_argument", () => loadTree({ readMany: () => expect.unreachable("it was read") }, root));
  });
});

test("all missing directories are named at once, as REAPI clients understand it", async () => {
  const cas = memoryCas();
  const [lost, other] = [textBlob("lost").digest, textBlob("other").digest];
  const tree = buildTree([
    { path: "a/lost", node: { kind: "directory", digest: lost } },
    { path: "other", node: { kind: "directory", digest: other } },
  ]);
  await cas.writeMany([...tree.directories.values()]);
  const error = await failure("failed_precondition", () => loadTree(cas, tree.root));
  expect(error.message).toContain(digestKey(lost));
  expect(error.message).toContain(digestKey(other));
  const violations = [other, lost].map((each) => ({ type: "MISSING", subject: `blobs/${digestKey(each)}` }));
  expect(error.details).toEqual([{ desc: PreconditionFailureSchema, value: { violations } }]);
});
