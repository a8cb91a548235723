import { execFileSync } from "node:child_process";
import { mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { type Header, pack } from "tar-stream";
import { describe, expect, test } from "vitest";
import { memoryCas } from "../../../../shared/cas/memory-cas.ts";
import { digestOf, emptyDigest } from "../../../../shared/digest.ts";
import { limits } from "../../../../shared/limits.ts";
import { buildTree } from "../../../../shared/merkle/build-tree.ts";
import { loadTree } from "../../../../shared/merkle/load-tree.ts";
import { exportTar, importTar } from "../../../../shared/merkle/tar.ts";
import { blobOf, bytesOf, noise, pieces, textBlob } from "../../../support/blobs.ts";
import { failure } from "../../../support/codes.ts";
import { runs } from "../../../support/property-runs.ts";
import { tempDir } from "../../../support/temp-dir.ts";
import { trees } from "../../../support/tree-arbitraries.ts";

type Member = Partial<Header> & { name: string; text?: string };

/** A tar of these members, as a stream. */
function tarOf(...members: Member[]): AsyncIterable<Uint8Array> {
  const archive = pack();
  for (const { text, ...header } of members) archive.entry(header, text ?? "");
  archive.finalize();
  return archive as unknown as AsyncIterable<Uint8Array>;
}

/** The header of a file of which nothing else is sent. */
async function headerOf(name: string, size: number): Promise<Uint8Array> {
  const archive = pack();
  archive.entry({ name, size });
  for await (const chunk of archive as unknown as AsyncIterable<Uint8Array>) return chunk;
  throw new Error("no header");
}

const spools = () => readdirSync(tmpdir()).filter((name) => name.startsWith("millrace-tar-"));

test("a tree that was exported is imported as the same tree", async () => {
  await fc.assert(
    fc.asyncProperty(trees(), fc.integer({ min: 1, max: 5_000 }), async (shape, pieceBytes) => {
      const cas = memoryCas();
      const entries = shape.map(({ path, node }) => {
        const content = textBlob(`contents of ${path}`);
        return { path, node: node.kind === "file" ? { ...node, digest: content.digest } : node };
      });
      const tree = buildTree(entries);
      await cas.writeMany([
        ...tree.directories.values(),
        ...entries.map(({ path }) => textBlob(`contents of ${path}`)),
      ]);
      const tar = await bytesOf(exportTar(cas, tree.root));
      const other = memoryCas();
      expect(await importTar(pieces(tar, pieceBytes), other)).toEqual(tree.root);
      expect(await loadTree(other, tree.root)).toEqual(entries);
      expect(Buffer.compare(await bytesOf(exportTar(other, tree.root)), tar)).toBe(0);
    }),
    { numRuns: runs(50) },
  );
});

test("large files pass through, and leave nothing behind", async () => {
  const cas = memoryCas();
  const large = blobOf(noise(3 * limits.streamChunkBytes + 17));
  const tree = buildTree([
    { path: "big/file", node: { kind: "file", digest: large.digest, executable: true } },
    { path: "big/same", node: { kind: "file", digest: large.digest, executable: false } },
  ]);
  await cas.writeMany([...tree.directories.values(), large]);
  const before = spools();
  const other = memoryCas();
  expect(await importTar(exportTar(cas, tree.root), other)).toEqual(tree.root);
  expect(Buffer.compare(await bytesOf(other.read(large.digest)), large.data)).toBe(0);
  expect(spools()).toEqual(before);
});

test("GNU tar reads what we write, and we read what it writes", async () => {
  const dir = tempDir();
  const cas = memoryCas();
  const long = `${"d".repeat(120)}/${"f".repeat(200)}`;
  mkdirSync(join(dir, "in", "d".repeat(120)), { recursive: true });
  mkdirSync(join(dir, "in", "empty"));
  mkdirSync(join(dir, "out"));
  writeFileSync(join(dir, "in", long), "deep");
  writeFileSync(join(dir, "in", "run.sh"), "#!/bin/sh\n", { mode: 0o755 });
  execFileSync("ln", ["run.sh", "hard"], { cwd: join(dir, "in") });
  execFileSync("ln", ["-s", "run.sh", "soft"], { cwd: join(dir, "in") });
  const root = await importTar(pieces(execFileSync("tar", ["-C", join(dir, "in"), "-c", "."])), cas);
  const script = { kind: "file", digest: textBlob("#!/bin/sh\n").digest, executable: true };
  expect(await loadTree(cas, root)).toEqual([
    { path: long, node: { kind: "file", digest: textBlob("deep").digest, executable: false } },
    { path: "empty", node: { kind: "directory", digest: emptyDigest } },
    { path: "hard", node: script },
    { path: "run.sh", node: script },
    { path: "soft", node: { kind: "symlink", target: "run.sh" } },
  ]);
  execFileSync("tar", ["-C", join(dir, "out"), "-x"], { input: await bytesOf(exportTar(cas, root)) });
  expect(execFileSync("diff", ["-r", "--no-dereference", join(dir, "in"), join(dir, "out")]).toString()).toBe("");
});

describe("a hostile or broken archive is refused", () => {
  test.each<[string, Member[], string]>([
    ["a way out", [{ name: "../evil" }], "lead elsewhere"],
    ["a way out in the middle", [{ name: "a/../../evil" }], "lead elsewhere"],
    ["an absolute name", [{ name: "/etc/passwd" }], "is absolute"],
    ["an absolute symlink", [{ name: "a", type: "symlink", linkname: "/etc" }], "is absolute"],
    ["a symlink that leads out", [{ name: "a/b", type: "symlink", linkname: "../../x" }], "out of the tree"],
    ["a file behind a symlink", [{ name: "a", type: "symlink", linkname: "b" }, { name: "a/c" }], "below the symlink"],
    ["a hard link to what is not there", [{ name: "a", type: "link", linkname: "/etc/passwd" }], "hard link"],
    ["a device", [{ name: "null", type: "character-device" }], "character-device"],
    [
      "a name twice",
      [
        { name: "a", text: "1" },
        { name: "./a", text: "2" },
      ],
      "twice",
    ],
    ["a file that is also a directory", [{ name: "a" }, { name: "a", type: "directory" }], "occurs twice"],
    ["a file that is the root", [{ name: "./", type: "file" }], "is empty"],
  ])("%s", async (_, members, why) => {
    const { message } = await failure("invalid_argument", () => importTar(tarOf(...members), memoryCas()));
    expect(message).toContain(why);
  });

  test("a claimed size beyond all limits", async () => {
    const huge = pieces(await headerOf("huge", limits.archiveBytes + 1));
    const { message } = await failure("invalid_argument", () => importTar(huge, memoryCas()));
    expect(message).toContain(
      '"huge" of the archive makes the archive larger than 4.0 GiB unpacked, which is the most',
    );
  });

  test("an archive cut short anywhere", async () => {
    const tar = await bytesOf(tarOf({ name: "a", text: "hello" }));
    for (const end of [0, 100, 512, 515, 700, 1024]) {
      await failure("invalid_argument", () => importTar(pieces(tar.subarray(0, end)), memoryCas()));
    }
  });

  test("bytes that are no tar", async () => {
    await failure("invalid_argument", () => importTar(pieces(noise(4_096)), memoryCas()));
  });
});

test("a failing source ends the import with its own error, half way through a large file too", async () => {
  const before = spools();
  async function* failing() {
    yield await headerOf("large", limits.smallBlobBytes * 2);
    yield noise(1_000);
    throw new Error("the client went away");
  }
  await expect(importTar(failing(), memoryCas())).rejects.toThrow("the client went away");
  expect(spools()).toEqual(before);
});

test("an import can be cancelled while its source is silent", async () => {
  const abort = new AbortController();
  async function* silent() {
    yield (await bytesOf(tarOf({ name: "a" }))).subarray(0, 512);
    setImmediate(() => abort.abort());
    await new Promise(() => {});
  }
  await failure("canceled", () => importTar(silent(), memoryCas(), abort.signal));
});

test("an export names all that is missing before its first byte", async () => {
  const cas = memoryCas();
  const tree = buildTree(
    ["a", "b"].map((path) => ({ path, node: { kind: "file", digest: textBlob(path).digest, executable: false } })),
  );
  await cas.writeMany([...tree.directories.values()]);
  const { message } = await failure("failed_precondition", () =>
    exportTar(cas, tree.root)[Symbol.asyncIterator]().next(),
  );
  for (const text of ["a", "b"]) expect(message).toContain(digestOf(new TextEncoder().encode(text)).hash);
});

test("a reader of an export may leave early", async () => {
  const cas = memoryCas();
  const large = blobOf(noise(8 * limits.streamChunkBytes));
  const tree = buildTree([{ path: "a", node: { kind: "file", digest: large.digest, executable: false } }]);
  await cas.writeMany([...tree.directories.values(), large]);
  for await (const chunk of exportTar(cas, tree.root)) {
    expect(chunk.byteLength).toBeGreaterThan(0);
    break;
  }
});
