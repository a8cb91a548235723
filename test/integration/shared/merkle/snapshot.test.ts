import { execFileSync } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import { memoryCas } from "../../../../shared/cas/memory-cas.ts";
import { digestKey, emptyDigest } from "../../../../shared/digest.ts";
import { limits } from "../../../../shared/limits.ts";
import { buildTree } from "../../../../shared/merkle/build-tree.ts";
import { layOutTree } from "../../../../shared/merkle/lay-out.ts";
import { loadTree } from "../../../../shared/merkle/load-tree.ts";
import { scanTree } from "../../../../shared/merkle/scan.ts";
import type { TreeNode } from "../../../../shared/merkle/tree-entry.ts";
import { uploadSnapshot } from "../../../../shared/merkle/upload-tree.ts";
import { blobOf, bytesOf, noise, textBlob } from "../../../support/blobs.ts";
import { failure } from "../../../support/codes.ts";
import { tempDir } from "../../../support/temp-dir.ts";

const plain = (text: string): TreeNode => ({ kind: "file", digest: textBlob(text).digest, executable: false });

/** A folder with one of everything. */
function sample(): string {
  const dir = tempDir();
  mkdirSync(join(dir, "src", "deep"), { recursive: true });
  mkdirSync(join(dir, "empty"));
  writeFileSync(join(dir, "README"), "read me");
  writeFileSync(join(dir, "src", "run.sh"), "#!/bin/sh", { mode: 0o755 });
  writeFileSync(join(dir, "src", "deep", "big"), noise(limits.smallBlobBytes * 10));
  writeFileSync(join(dir, "src", "nothing"), "");
  symlinkSync("../src/run.sh", join(dir, "src", "link"));
  return dir;
}

describe("a scan", () => {
  test("finds files, executables, symlinks and empty directories, sorted", async () => {
    const dir = sample();
    const { entries, files, tree } = await scanTree(dir);
    const script = textBlob("#!/bin/sh").digest;
    const big = blobOf(noise(limits.smallBlobBytes * 10)).digest;
    expect(entries).toEqual([
      { path: "README", node: plain("read me") },
      { path: "empty", node: { kind: "directory", digest: emptyDigest } },
      { path: "src/deep/big", node: { kind: "file", digest: big, executable: false } },
      { path: "src/link", node: { kind: "symlink", target: "../src/run.sh" } },
      { path: "src/nothing", node: plain("") },
      { path: "src/run.sh", node: { kind: "file", digest: script, executable: true } },
    ]);
    expect(files.get(digestKey(script))).toBe(join(dir, "src", "run.sh"));
    expect(tree).toEqual(buildTree(entries));
  });

  test("leaves out what is ignored, and directories that this leaves empty", async () => {
    const dir = sample();
    const asked: string[] = [];
    const ignore = (path: string, isDirectory: boolean) => {
      asked.push(isDirectory ? `${path}/` : path);
      return path === "README" || path === "src/deep/big" || path === "empty";
    };
    const { entries } = await scanTree(dir, { ignore });
    expect(entries.map((entry) => entry.path)).toEqual(["src/link", "src/nothing", "src/run.sh"]);
    expect(asked.sort()).toEqual(
      ["README", "empty/", "src/", "src/deep/", "src/deep/big", "src/link", "src/nothing", "src/run.sh"].sort(),
    );
  });

  test.each([
    ["/etc/passwd", "is absolute"],
    ["../../outside", "leads out of the tree"],
  ])("refuses a symlink to %s", async (target, why) => {
    const dir = tempDir();
    mkdirSync(join(dir, "a"));
    symlinkSync(target, join(dir, "a", "link"));
    const { message } = await failure("invalid_argument", () => scanTree(dir));
    expect(message).toContain("a/link");
    expect(message).toContain(why);
  });

  test("refuses a socket and a pipe, and says which", async () => {
    const dir = tempDir();
    execFileSync("mkfifo", [join(dir, "pipe")]);
    expect((await failure("invalid_argument", () => scanTree(dir))).message).toContain('"pipe" is a named pipe');
    rmSync(join(dir, "pipe"));
    const server = createServer().listen(join(dir, "socket"));
    onTestFinished(() => void server.close());
    expect((await failure("invalid_argument", () => scanTree(dir))).message).toContain('"socket" is a socket');
    expect((await scanTree(dir, { ignore: (path) => path === "socket" })).entries).toEqual([]);
  });

  test("says that the directory is not there", async () => {
    await failure("not_found", () => scanTree(join(tempDir(), "absent")));
  });

  test("stops when it is cancelled", async () => {
    await failure("canceled", () => scanTree(sample(), { signal: AbortSignal.abort() }));
  });
});

describe("an upload", () => {
  test("sends what is missing, once, and tells how far it is", async () => {
    const cas = memoryCas();
    const snapshot = await scanTree(sample());
    const progress: number[] = [];
    const sent = await uploadSnapshot(cas, snapshot, { onProgress: ({ sent }) => progress.push(sent.bytes) });
    expect(sent.blobs).toBe(6); // root, src, src/deep; README, run.sh, big
    expect(progress.at(-1)).toBe(sent.bytes);
    expect(await loadTree(cas, snapshot.tree.root)).toEqual(snapshot.entries);
    for (const { node } of snapshot.entries) {
      if (node.kind === "file") expect((await bytesOf(cas.read(node.digest))).byteLength).toBe(node.digest.sizeBytes);
    }
    expect(await uploadSnapshot(cas, snapshot)).toEqual({ blobs: 0, bytes: 0 });
  });

  test.each(["README", "src/deep/big"])("says that %s has changed since the scan", async (path) => {
    const dir = sample();
    const cas = memoryCas();
    const snapshot = await scanTree(dir);
    const bytes = readFileSync(join(dir, path));
    writeFileSync(join(dir, path), bytes.fill(0, 0, 1));
    const { message } = await failure("aborted", () => uploadSnapshot(cas, snapshot));
    expect(message).toContain(`${path} has changed since it was scanned`);
  });

  test.each(["README", "src/deep/big"])("says that %s has vanished since the scan", async (path) => {
    const dir = sample();
    const snapshot = await scanTree(dir);
    rmSync(join(dir, path));
    const { message } = await failure("aborted", () => uploadSnapshot(memoryCas(), snapshot));
    expect(message).toContain(`${path} has vanished`);
  });
});

describe("a layout", () => {
  test("gives back the folder that was scanned", async () => {
    const cas = memoryCas();
    const snapshot = await scanTree(sample());
    await uploadSnapshot(cas, snapshot);
    const target = join(tempDir(), "new", "place");
    await layOutTree(cas, snapshot.tree.root, target);
    expect((await scanTree(target)).entries).toEqual(snapshot.entries);
  });

  test("writes files that are nobody else's, also of equal contents", async () => {
    const cas = memoryCas();
    const big = blobOf(noise(limits.smallBlobBytes * 2));
    const node: TreeNode = { kind: "file", digest: big.digest, executable: false };
    const tree = buildTree([
      { path: "a", node },
      { path: "b", node: { ...node, executable: true } },
    ]);
    await cas.writeMany([...tree.directories.values(), big]);
    const target = tempDir();
    await layOutTree(cas, tree.root, target);
    expect(statSync(join(target, "a")).nlink).toBe(1);
    expect(statSync(join(target, "b")).mode & 0o111).not.toBe(0);
    writeFileSync(join(target, "a"), "changed");
    expect(readFileSync(join(target, "b")).equals(big.data)).toBe(true);
  });

  test("refuses a directory that has something in it, and leaves that alone", async () => {
    const cas = memoryCas();
    const { root } = buildTree([]);
    const target = tempDir();
    writeFileSync(join(target, "mine"), "precious");
    await failure("failed_precondition", () => layOutTree(cas, root, target));
    expect(readdirSync(target)).toEqual(["mine"]);
  });

  test("refuses a tree whose symlink leads out, and writes nothing", async () => {
    const cas = memoryCas();
    const tree = buildTree([{ path: "a/evil", node: { kind: "symlink", target: "../../.ssh" } }]);
    await cas.writeMany([...tree.directories.values()]);
    const target = join(tempDir(), "out");
    await failure("invalid_argument", () => layOutTree(cas, tree.root, target));
    expect(existsSync(target)).toBe(false);
  });

  test("names all missing files and writes nothing", async () => {
    const cas = memoryCas();
    const tree = buildTree(["a", "b"].map((path) => ({ path, node: plain(path) })));
    await cas.writeMany([...tree.directories.values()]);
    const target = join(tempDir(), "out");
    const { message } = await failure("failed_precondition", () => layOutTree(cas, tree.root, target));
    for (const text of ["a", "b"]) expect(message).toContain(digestKey(textBlob(text).digest));
    expect(existsSync(target)).toBe(false);
  });

  test("takes back what it wrote when it fails half way", async () => {
    const cas = memoryCas();
    const big = blobOf(noise(limits.smallBlobBytes * 2));
    const tree = buildTree([
      { path: "big", node: { kind: "file", digest: big.digest, executable: false } },
      { path: "small", node: plain("small") },
    ]);
    await cas.writeMany([...tree.directories.values(), big, textBlob("small")]);
    const target = join(tempDir(), "out");
    const failing = {
      ...cas,
      read: () => {
        throw new Error("the disk is gone");
      },
    };
    await expect(layOutTree(failing, tree.root, target)).rejects.toThrow("the disk is gone");
    expect(existsSync(target)).toBe(false);
  });
});
