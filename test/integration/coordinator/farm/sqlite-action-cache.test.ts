import { join } from "node:path";
import { create } from "@bufbuild/protobuf";
import { describe, expect, onTestFinished, test } from "vitest";
import type { ActionCacheEntry } from "../../../../coordinator/farm/action-cache/action-cache.ts";
import { completenessCheckingActionCache } from "../../../../coordinator/farm/action-cache/completeness-checking-action-cache.ts";
import { actionCacheSchema, sqliteActionCache } from "../../../../coordinator/farm/action-cache/sqlite-action-cache.ts";
import { ActionResultSchema } from "../../../../proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import { memoryCas } from "../../../../shared/cas/memory-cas.ts";
import { digestKey, digestToMessage } from "../../../../shared/digest.ts";
import { limits } from "../../../../shared/limits.ts";
import { buildTree } from "../../../../shared/merkle/build-tree.ts";
import { closureOf } from "../../../../shared/merkle/closure.ts";
import { encodeTree } from "../../../../shared/merkle/tree-message.ts";
import { openSqlite } from "../../../../shared/sqlite/open.ts";
import { blobOf, store, textBlob } from "../../../support/blobs.ts";
import { failure } from "../../../support/codes.ts";
import { fakeClock } from "../../../support/fake-clock.ts";
import { tempDir } from "../../../support/temp-dir.ts";

async function openIn(dir: string, clock = fakeClock()) {
  const sqlite = await openSqlite({ path: join(dir, "actions.sqlite"), schema: [actionCacheSchema] });
  let closing: Promise<void> | undefined;
  const close = () => {
    closing ??= sqlite.close();
    return closing;
  };
  onTestFinished(close);
  return { sqlite, close, cache: sqliteActionCache({ sqlite, clock }) };
}

const action = textBlob("an action").digest;
const [out, log] = [textBlob("output"), textBlob("log")];
const result = create(ActionResultSchema, {
  outputFiles: [{ path: "out", digest: digestToMessage(out.digest), nodeProperties: { unixMode: 0o640 } }],
  stdoutDigest: digestToMessage(log.digest),
});
const entry: ActionCacheEntry = { result, closure: [out.digest, log.digest], writer: "agent:1" };

describe("the action cache", () => {
  test("gives back what was put, after a restart too, and misses the rest", async () => {
    const dir = tempDir();
    const first = await openIn(dir);
    await first.cache.put(action, entry);
    expect(await first.cache.get(action)).toEqual(entry);
    await first.close();
    const { cache } = await openIn(dir);
    expect(await cache.get(action)).toEqual(entry);
    expect(await cache.get({ ...action, sizeBytes: action.sizeBytes + 1 })).toBeUndefined();
    expect(await cache.get(textBlob("another").digest)).toBeUndefined();
  });

  test("replaces an older entry", async () => {
    const { cache } = await openIn(tempDir());
    await cache.put(action, entry);
    const newer = { ...entry, writer: "token:ci", closure: [] };
    await cache.put(action, newer);
    expect(await cache.get(action)).toEqual(newer);
  });

  test("remembers the last use to the hour", async () => {
    const clock = fakeClock();
    const { cache, sqlite } = await openIn(tempDir(), clock);
    await cache.put(action, entry);
    const usedAt = async () =>
      (await sqlite.query<{ used_at: number }>("SELECT used_at FROM action_result"))[0]?.used_at;
    const written = clock.nowMs();
    clock.advance(limits.lastUsePrecisionMs - 1);
    await cache.get(action);
    expect(await usedAt()).toBe(written);
    clock.advance(1);
    await cache.get(action);
    expect(await usedAt()).toBe(clock.nowMs());
  });

  test("is a miss as soon as one output is gone", async () => {
    const { cache } = await openIn(tempDir());
    const cas = memoryCas();
    const checking = completenessCheckingActionCache(cache, cas);
    await checking.put(action, entry);
    await store(cas, out);
    expect(await checking.get(action)).toBeUndefined();
    await store(cas, log);
    expect(await checking.get(action)).toEqual(entry);
    await cas.quarantine(out.digest);
    expect(await checking.get(action)).toBeUndefined();
  });
});

describe("a closure", () => {
  const tree = buildTree(
    ["a", "b/c"].map((path) => ({ path, node: { kind: "file", digest: textBlob(path).digest, executable: false } })),
  );
  const treeBlob = blobOf(encodeTree(tree));
  const keys = (digests: readonly { hash: string; sizeBytes: number }[]) => digests.map(digestKey).sort();

  test("has files, streams, Trees and what is in them, each once", async () => {
    const cas = memoryCas();
    await store(cas, treeBlob);
    const withTree = create(ActionResultSchema, {
      outputFiles: [{ path: "out", digest: digestToMessage(out.digest) }],
      stdoutDigest: digestToMessage(log.digest),
      stderrDigest: digestToMessage(log.digest),
      outputDirectories: [{ path: "dir", treeDigest: digestToMessage(treeBlob.digest) }],
    });
    const expected = [out.digest, log.digest, treeBlob.digest, textBlob("a").digest, textBlob("b/c").digest];
    expect(keys(await closureOf(cas, withTree))).toEqual(keys(expected));
  });

  test("has the Directories where a result names their root", async () => {
    const cas = memoryCas();
    await cas.writeMany([...tree.directories.values()]);
    const withRoot = create(ActionResultSchema, {
      outputDirectories: [{ path: "dir", rootDirectoryDigest: digestToMessage(tree.root) }],
    });
    const directories = [...tree.directories.values()].map((blob) => blob.digest);
    expect(keys(await closureOf(cas, withRoot))).toEqual(
      keys([...directories, textBlob("a").digest, textBlob("b/c").digest]),
    );
  });

  test("names every Tree that it cannot read", async () => {
    const lost = [treeBlob.digest, textBlob("other tree").digest];
    const broken = create(ActionResultSchema, {
      outputDirectories: lost.map((digest) => ({ path: "dir", treeDigest: digestToMessage(digest) })),
    });
    const { message } = await failure("failed_precondition", () => closureOf(memoryCas(), broken));
    for (const digest of lost) expect(message).toContain(digestKey(digest));
  });
});
