import { spawn } from "node:child_process";
import { appendFile, mkdir, readdir, readFile, rm, stat, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { expect, onTestFinished, test } from "vitest";
import { diskCasSchema, openDiskCas } from "../../../../shared/cas/disk-cas.ts";
import { verifyingCas } from "../../../../shared/cas/verifying-cas.ts";
import type { Digest } from "../../../../shared/digest.ts";
import { limits } from "../../../../shared/limits.ts";
import { openSqlite } from "../../../../shared/sqlite/open.ts";
import { casConformance } from "../../../conformance/cas.ts";
import { blobOf, bytesOf, noise, numberedBlob, pieces, textBlob } from "../../../support/blobs.ts";
import { failure } from "../../../support/codes.ts";
import { fakeClock } from "../../../support/fake-clock.ts";
import { tempDir } from "../../../support/temp-dir.ts";

/** Opens the store of a folder; `close` may be called to open it again. */
async function openIn(dir: string, clock = fakeClock()) {
  const sqlite = await openSqlite({ path: join(dir, "cas.sqlite"), schema: [diskCasSchema] });
  const cas = await openDiskCas({ dir: join(dir, "cas"), sqlite, clock });
  let closing: Promise<void> | undefined;
  const close = () => {
    closing ??= cas.close().then(() => sqlite.close());
    return closing;
  };
  onTestFinished(close);
  return { cas, sqlite, close };
}

casConformance("disk", async () => (await openIn(tempDir())).cas);

casConformance("verifying disk", async () => {
  const { cas } = await openIn(tempDir());
  return verifyingCas(cas, { quarantine: cas.quarantine, onCorrupt: () => expect.unreachable("nothing is corrupt") });
});

const small = textBlob("a small blob");
const large = blobOf(noise(limits.smallBlobBytes * 2));
const segmentOf = (dir: string) => join(dir, "cas", "segments", "00000001.seg");
const fileOf = (dir: string, { hash, sizeBytes }: Digest) =>
  join(dir, "cas", "blobs", hash.slice(0, 2), `${hash}-${sizeBytes}`);

test("a restart finds everything again", async () => {
  const dir = tempDir();
  const first = await openIn(dir);
  await first.cas.writeMany([small, large]);
  await first.close();
  const { cas } = await openIn(dir);
  expect(await cas.findMissing([small.digest, large.digest])).toEqual([]);
  expect(await bytesOf(cas.read(small.digest))).toEqual(small.data);
  expect(Buffer.compare(await bytesOf(cas.read(large.digest)), large.data)).toBe(0);
});

test("small blobs fill one segment after the other", async () => {
  const dir = tempDir();
  const { cas, close } = await openIn(dir);
  const count = Math.ceil((limits.casSegmentBytes * 1.2) / limits.smallBlobBytes);
  const blobs = Array.from({ length: count }, (_, n) => blobOf(noise(limits.smallBlobBytes, String(n))));
  await cas.writeMany(blobs);
  await close();
  const names = await readdir(join(dir, "cas", "segments"));
  expect(names).toEqual(["00000001.seg", "00000002.seg"]);
  for (const name of names) {
    expect((await stat(join(dir, "cas", "segments", name))).size).toBeLessThanOrEqual(limits.casSegmentBytes);
  }
  const again = await openIn(dir);
  const found = await again.cas.readMany(blobs.map((blob) => blob.digest));
  expect(found.size).toBe(count);
});

test("what a killed process was writing is cut off, and the next blobs go where it stood", async () => {
  const dir = tempDir();
  const first = await openIn(dir);
  await first.cas.writeMany([small]);
  await first.close();
  await appendFile(segmentOf(dir), "torn");
  await writeFile(join(dir, "cas", "segments", "00000002.seg"), "never indexed");
  const { cas } = await openIn(dir);
  expect((await stat(segmentOf(dir))).size).toBe(small.digest.sizeBytes);
  expect(await readdir(join(dir, "cas", "segments"))).toEqual(["00000001.seg"]);
  const next = textBlob("the next");
  await cas.writeMany([next]);
  expect(await bytesOf(cas.read(next.digest))).toEqual(next.data);
  expect(await bytesOf(cas.read(small.digest))).toEqual(small.data);
});

test("what was acknowledged survives kill -9, whole; what was not is absent or whole", async () => {
  const dir = tempDir();
  const script = join(import.meta.dirname, "fixtures", "write-blobs.ts");
  const writer = spawn(process.execPath, [script, dir], { stdio: ["ignore", "pipe", "inherit"] });
  const acknowledged: number[] = [];
  for await (const line of createInterface({ input: writer.stdout })) {
    acknowledged.push(Number(line));
    if (acknowledged.length === 300) writer.kill("SIGKILL");
  }
  const { cas: disk } = await openIn(dir);
  const onCorrupt = () => expect.unreachable("a blob is not whole");
  const cas = verifyingCas(disk, { quarantine: disk.quarantine, onCorrupt });
  expect(acknowledged.length).toBeGreaterThanOrEqual(300);
  expect(await cas.findMissing(acknowledged.map((n) => numberedBlob(n).digest))).toEqual([]);
  for (let n = 0; n < acknowledged.length + 100; n++) {
    const { digest, data } = numberedBlob(n);
    if ((await cas.findMissing([digest])).length > 0) continue;
    expect(Buffer.compare(await bytesOf(cas.read(digest)), data)).toBe(0);
  }
});

test("unfinished uploads of a killed process are removed at start", async () => {
  const dir = tempDir();
  await mkdir(join(dir, "cas", "temp"), { recursive: true });
  await writeFile(join(dir, "cas", "temp", "1"), "half");
  const { cas } = await openIn(dir);
  expect(await readdir(join(dir, "cas", "temp"))).toEqual([]);
  await cas.write(large.digest, pieces(large.data));
  expect(await readdir(join(dir, "cas", "temp"))).toEqual([]);
});

test("a refused upload leaves no file behind", async () => {
  const dir = tempDir();
  const { cas } = await openIn(dir);
  await failure("invalid_argument", () => cas.write(large.digest, pieces(noise(large.digest.sizeBytes, "wrong"))));
  expect(await readdir(join(dir, "cas", "temp"))).toEqual([]);
  await expect(stat(fileOf(dir, large.digest))).rejects.toThrow("ENOENT");
});

test("a turned byte on disk is found, set aside, and healed by writing the blob again", async () => {
  const dir = tempDir();
  const { cas: disk } = await openIn(dir);
  const corrupt: Digest[] = [];
  const cas = verifyingCas(disk, { quarantine: disk.quarantine, onCorrupt: (digest) => corrupt.push(digest) });
  await cas.writeMany([small, large]);
  for (const path of [segmentOf(dir), fileOf(dir, large.digest)]) {
    const bytes = await readFile(path);
    bytes.writeUInt8(bytes.readUInt8(5) ^ 1, 5);
    await writeFile(path, bytes);
  }
  for (const { digest } of [small, large]) await failure("data_loss", () => bytesOf(cas.read(digest)));
  expect(corrupt).toEqual([small.digest, large.digest]);
  expect(await cas.findMissing([small.digest, large.digest])).toEqual([small.digest, large.digest]);
  expect(await readdir(join(dir, "cas", "quarantine"))).toHaveLength(1);
  await cas.writeMany([small, large]);
  for (const { digest, data } of [small, large]) {
    expect(Buffer.compare(await bytesOf(cas.read(digest)), data)).toBe(0);
  }
});

test("a blob whose file is gone or short is data loss, not silence, and is missing from then on", async () => {
  const dir = tempDir();
  const { cas: disk } = await openIn(dir);
  const cas = verifyingCas(disk, { quarantine: disk.quarantine, onCorrupt: () => {} });
  const other = blobOf(noise(limits.smallBlobBytes * 2, "other"));
  await cas.writeMany([small, large, other]);
  await rm(fileOf(dir, large.digest));
  await truncate(fileOf(dir, other.digest), 7);
  await truncate(segmentOf(dir), 3);
  for (const { digest } of [small, large, other]) {
    await failure("data_loss", () => bytesOf(cas.read(digest)));
    expect(await cas.findMissing([digest])).toEqual([digest]);
  }
});

test("the last use of a blob survives a restart, to the hour", async () => {
  const dir = tempDir();
  const clock = fakeClock();
  const first = await openIn(dir, clock);
  await first.cas.writeMany([small, large]);
  const written = Math.floor(clock.nowMs() / 1000);
  clock.advance(limits.lastUsePrecisionMs * 3);
  const used = Math.floor(clock.nowMs() / 1000);
  await first.cas.findMissing([small.digest]);
  const rows = await first.sqlite.query("SELECT size, used_at FROM cas_blob ORDER BY size");
  expect(rows).toEqual([
    { size: small.digest.sizeBytes, used_at: used },
    { size: large.digest.sizeBytes, used_at: written },
  ]);
});

test("a closed store says so", async () => {
  const { cas, close } = await openIn(tempDir());
  await close();
  await failure("unavailable", () => cas.findMissing([small.digest]));
});
