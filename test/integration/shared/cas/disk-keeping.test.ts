import { spawn } from "node:child_process";
import { cpSync, existsSync, globSync, mkdirSync, statSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { text } from "node:stream/consumers";
import fc from "fast-check";
import { expect, onTestFinished, test } from "vitest";
import type { Blob } from "../../../../shared/cas/cas.ts";
import { type DiskCas, diskCasSchema, openDiskCas } from "../../../../shared/cas/disk-cas.ts";
import { blobFile } from "../../../../shared/cas/disk-layout.ts";
import { type Digest, digestKey } from "../../../../shared/digest.ts";
import { MillraceError } from "../../../../shared/errors.ts";
import { limits } from "../../../../shared/limits.ts";
import { openSqlite } from "../../../../shared/sqlite/open.ts";
import type { Sqlite } from "../../../../shared/sqlite/sqlite.ts";
import { blobOf, bytesOf, noise, numberedBlob, pieces } from "../../../support/blobs.ts";
import { failure } from "../../../support/codes.ts";
import { exitOf } from "../../../support/exit-of.ts";
import { type FakeClock, fakeClock } from "../../../support/fake-clock.ts";
import { runs } from "../../../support/property-runs.ts";
import { tempDir } from "../../../support/temp-dir.ts";

const never = new AbortController().signal;
const promiseMs = 60_000;

/** Opens the store of a folder; `close` may be called to open it again. */
async function openIn(dir: string, clock = fakeClock(), around = (sqlite: Sqlite) => sqlite) {
  const sqlite = await openSqlite({ path: join(dir, "cas.sqlite"), schema: [diskCasSchema] });
  const cas = await openDiskCas({ dir: join(dir, "cas"), sqlite: around(sqlite), clock, promiseMs });
  let closing: Promise<void> | undefined;
  const close = () => (closing ??= cas.close().then(() => sqlite.close()));
  onTestFinished(close);
  return { cas, close, clock };
}

async function idleOf(cas: DiskCas): Promise<Digest[]> {
  const found: Digest[] = [];
  for await (const blobs of cas.idle(never)) found.push(...blobs.map(({ digest }) => digest));
  return found;
}

/** What the files of the store take. */
function bytesOnDisk(dir: string): number {
  const files = [...globSync("cas/segments/*", { cwd: dir }), ...globSync("cas/blobs/*/*", { cwd: dir })];
  return files.reduce((sum, file) => sum + statSync(join(dir, file)).size, 0);
}

async function expectReadable(cas: DiskCas, blobs: readonly Blob[]): Promise<void> {
  expect(await cas.findMissing(blobs.map(({ digest }) => digest))).toEqual([]);
  const found = await cas.readMany(blobs.map(({ digest }) => digest));
  for (const { digest, data } of blobs) {
    expect(Buffer.compare(found.get(digestKey(digest)) ?? Buffer.alloc(0), data), digestKey(digest)).toBe(0);
  }
}

const small = (n: number) => blobOf(noise(10_000 + n, `small ${n}`));
const large = (n: number) => blobOf(noise(limits.smallBlobBytes + 1 + n, `large ${n}`));

test("a blob that was idle for the bound can be removed, its file too; one that somebody was told of cannot", async () => {
  const dir = tempDir();
  const { cas, clock } = await openIn(dir);
  const [asked, read, written, left] = [small(1), large(2), small(3), large(4)];
  await cas.writeMany([asked, read, written, left]);
  clock.advance(promiseMs);
  await cas.findMissing([asked.digest]);
  await bytesOf(cas.read(read.digest));
  await cas.write(written.digest, pieces(written.data));
  clock.advance(1_000);
  const all = [asked, read, written, left].map(({ digest }) => digest);
  expect(await idleOf(cas)).toEqual([left.digest]);
  expect(await cas.remove(all)).toEqual({ blobs: 1, bytes: left.digest.sizeBytes });
  expect(await cas.findMissing(all)).toEqual([left.digest]);
  expect(existsSync(join(dir, "cas", blobFile(left.digest)))).toBe(false);
  await expectReadable(cas, [asked, read, written]);
});

test("a restart takes no promise back, although it knows the last uses to the hour only", async () => {
  const dir = tempDir();
  const clock = fakeClock();
  const first = await openIn(dir, clock);
  await first.cas.writeMany([small(1)]);
  clock.advance(limits.lastUsePrecisionMs - 1_000);
  await first.cas.findMissing([small(1).digest]);
  await first.close();
  const { cas } = await openIn(dir, clock);
  expect(await idleOf(cas)).toEqual([]);
  clock.advance(promiseMs + 2_000);
  expect(await idleOf(cas)).toEqual([small(1).digest]);
});

test("compaction gives the room of removed blobs back, while others read", async () => {
  const dir = tempDir();
  const { cas, clock, close } = await openIn(dir);
  const blobs = Array.from({ length: 400 }, (_, n) => small(n));
  await cas.writeMany(blobs);
  clock.advance(promiseMs + 1_000);
  const kept = blobs.filter((_, n) => n % 4 === 0);
  const before = cas.usage().diskBytes;
  const reading = new AbortController();
  await cas.findMissing(kept.map(({ digest }) => digest));
  const reader = (async () => {
    while (!reading.signal.aborted) await expectReadable(cas, kept);
  })();
  await cas.remove(blobs.map(({ digest }) => digest));
  const won = await cas.compact({ liveShareMax: 0.5, signal: never });
  reading.abort();
  await reader;
  expect(won).toBeGreaterThan(before * 0.7);
  expect(cas.usage()).toEqual({ diskBytes: bytesOnDisk(dir), blobs: kept.length });
  await expectReadable(cas, kept);
  await close();
  const again = await openIn(dir, clock);
  await expectReadable(again.cas, kept);
  expect(again.cas.usage()).toEqual({ diskBytes: bytesOnDisk(dir), blobs: kept.length });
});

test("compaction that is killed at any step loses no blob, and the next one finishes it", async () => {
  const dir = tempDir();
  const first = await openIn(dir);
  const blobs = Array.from({ length: 1_200 }, (_, n) => small(n));
  await first.cas.writeMany(blobs);
  first.clock.advance(promiseMs + 1_000);
  const kept = blobs.filter((_, n) => n % 2 === 0);
  await first.cas.findMissing(kept.map(({ digest }) => digest));
  await first.cas.remove(blobs.map(({ digest }) => digest));
  await first.close();

  const script = join(import.meta.dirname, "fixtures", "compact.ts");
  const compact = async (copy: string, ...at: string[]) => {
    const child = spawn(process.execPath, [script, copy, ...at], { stdio: ["ignore", "pipe", "inherit"] });
    const [output] = await Promise.all([text(child.stdout), exitOf(child)]);
    return output;
  };
  const copyOf = () => {
    const copy = join(tempDir(), "copy");
    cpSync(dir, copy, { recursive: true });
    return copy;
  };
  const whole = copyOf();
  const { writes, bytes } = JSON.parse(await compact(whole)) as { writes: number; bytes: number };
  expect(writes).toBeGreaterThanOrEqual(2);
  expect(bytes).toBeGreaterThan(0);
  for (const copy of [
    whole,
    ...(await Promise.all(
      Array.from({ length: writes }, (_, index) => index + 1).flatMap((at) =>
        ["before", "after"].map(async (when) => {
          const killed = copyOf();
          expect(await compact(killed, String(at), when)).toBe("");
          return killed;
        }),
      ),
    )),
  ]) {
    const { cas, close } = await openIn(copy);
    await expectReadable(cas, kept);
    await cas.compact({ liveShareMax: 0.9, signal: never });
    await expectReadable(cas, kept);
    expect(cas.usage()).toEqual({ diskBytes: bytesOnDisk(copy), blobs: kept.length });
    expect(cas.usage().diskBytes).toBe(kept.reduce((sum, { digest }) => sum + digest.sizeBytes, 0));
    await close();
  }
});

test("a blob that is written while it is being removed is there afterwards, or was told to be missing", async () => {
  const dir = tempDir();
  const removing = Promise.withResolvers<void>();
  const release = Promise.withResolvers<void>();
  let isSlow = false;
  const { cas, clock } = await openIn(dir, fakeClock(), (sqlite) => ({
    ...sqlite,
    async write(statements) {
      if (isSlow && statements[0]?.sql.startsWith("DELETE")) {
        removing.resolve();
        await release.promise;
      }
      return await sqlite.write(statements);
    },
  }));
  const blob = large(1);
  await cas.writeMany([blob]);
  clock.advance(promiseMs + 1_000);
  isSlow = true;
  const removed = cas.remove([blob.digest]);
  await removing.promise;
  expect(await cas.findMissing([blob.digest])).toEqual([blob.digest]);
  const rewritten = cas.writeMany([blob]);
  release.resolve();
  await Promise.all([removed, rewritten]);
  await expectReadable(cas, [blob]);
});

test("a removal that the disk refuses leaves the bytes, which a restart believes to be there", async () => {
  const dir = tempDir();
  const first = await openIn(dir, fakeClock(), (sqlite) => ({
    ...sqlite,
    async write(statements) {
      if (statements[0]?.sql.startsWith("DELETE")) throw new MillraceError("resource_exhausted", "no room for a page");
      return await sqlite.write(statements);
    },
  }));
  await first.cas.writeMany([small(1), small(2), large(3)]);
  first.clock.advance(promiseMs + 1_000);
  await failure("resource_exhausted", async () => first.cas.remove(await idleOf(first.cas)));
  await first.cas.compact({ liveShareMax: 0.9, signal: never });
  await first.close();
  const { cas } = await openIn(dir);
  await expectReadable(cas, [small(1), small(2), large(3)]);
});

test("files that a killed process left without a row go, and those that are being stored stay", async () => {
  const dir = tempDir();
  const { cas } = await openIn(dir);
  await cas.writeMany([large(1)]);
  const orphan = join(dir, "cas", blobFile(large(2).digest));
  mkdirSync(dirname(orphan), { recursive: true });
  writeFileSync(orphan, "left");
  const storing = cas.writeMany([large(3)]);
  await cas.compact({ liveShareMax: 0.5, signal: never });
  await storing;
  expect(existsSync(orphan)).toBe(false);
  await expectReadable(cas, [large(1), large(3)]);
});

/** One step of a store's life. */
type Step =
  | { readonly kind: "write" | "find" | "read"; readonly blobs: readonly number[] }
  | { readonly kind: "advance"; readonly ms: number }
  | { readonly kind: "collect" | "compact" | "restart" };

const blobNumbers = fc.array(fc.nat({ max: 30 }), { minLength: 1, maxLength: 8 });
const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.oneof(
    fc.record({ kind: fc.constantFrom("write", "find", "read"), blobs: blobNumbers } as const),
    fc.record({ kind: fc.constant("advance"), ms: fc.constantFrom(1_000, 30_000, 61_000) } as const),
    fc.record({ kind: fc.constantFrom("collect", "compact", "restart") } as const),
  ),
  { minLength: 5, maxLength: 30 },
);

test("whatever is done, what was promised can be read, and the store knows what it takes", async () => {
  await fc.assert(
    fc.asyncProperty(steps, async (life) => {
      const dir = tempDir();
      const clock = fakeClock();
      let opened = await openIn(dir, clock);
      /** When somebody was last told that it is there. */
      const promised = new Map<number, number>();
      for (const step of life) {
        opened = await take(step, { opened, promised, clock, dir });
        const kept = [...promised].filter(([, atMs]) => clock.nowMs() - atMs <= promiseMs - 1_000);
        await expectPresent(
          opened.cas,
          kept.map(([n]) => numberedBlob(n)),
        );
        expect(opened.cas.usage().diskBytes).toBe(bytesOnDisk(dir));
      }
      await opened.close();
    }),
    { numRuns: runs(8) },
  );
});

interface Life {
  readonly opened: Awaited<ReturnType<typeof openIn>>;
  readonly promised: Map<number, number>;
  readonly clock: FakeClock;
  readonly dir: string;
}

async function take(step: Step, { opened, promised, clock, dir }: Life): Promise<Life["opened"]> {
  const { cas } = opened;
  switch (step.kind) {
    case "write":
      await cas.writeMany(step.blobs.map(numberedBlob));
      for (const n of step.blobs) promised.set(n, clock.nowMs());
      return opened;
    case "find": {
      const missing = new Set((await cas.findMissing(step.blobs.map((n) => numberedBlob(n).digest))).map(digestKey));
      for (const n of step.blobs) if (!missing.has(digestKey(numberedBlob(n).digest))) promised.set(n, clock.nowMs());
      return opened;
    }
    case "read": {
      const found = await cas.readMany(step.blobs.map((n) => numberedBlob(n).digest));
      for (const n of step.blobs) if (found.has(digestKey(numberedBlob(n).digest))) promised.set(n, clock.nowMs());
      return opened;
    }
    case "advance":
      clock.advance(step.ms);
      return opened;
    case "collect":
      await cas.remove(await idleOf(cas));
      return opened;
    case "compact":
      await cas.compact({ liveShareMax: 0.9, signal: never });
      return opened;
    case "restart":
      await opened.close();
      return await openIn(dir, clock);
    default:
      step satisfies never;
      return opened;
  }
}

/** Looks without asking: to ask would be one more promise. */
async function expectPresent(cas: DiskCas, blobs: readonly Blob[]): Promise<void> {
  const found = await cas.beginRanking().readMany(blobs.map(({ digest }) => digest));
  for (const { digest, data } of blobs) {
    expect(Buffer.compare(found.get(digestKey(digest)) ?? Buffer.alloc(0), data), digestKey(digest)).toBe(0);
  }
}
