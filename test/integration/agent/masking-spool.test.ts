import { appendFileSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { expect, onTestFinished, test } from "vitest";
import { openSpool } from "../../../agent/logs/spool.ts";
import { maskingSpool } from "../../../agent/secrets/masking-spool.ts";
import { masking } from "../../../shared/masking/masking.ts";
import { leaksIn, secretCorpus, tracesOf } from "../../support/secret-corpus.ts";
import { tempDir } from "../../support/temp-dir.ts";

const corpus = Object.values(secretCorpus());
const hidden = masking(corpus.map((value, index) => ({ name: `s${index}`, value: Buffer.from(value) })));
const inForms = corpus.flatMap((value) => [
  `${value}\n`,
  `${Buffer.from(value).toString("base64").replaceAll(/.{76}/g, "$&\n")}\n`,
  `${JSON.stringify({ value })} ${encodeURIComponent(value)}\n`,
  `${JSON.stringify(JSON.stringify({ value }))} ${encodeURIComponent(encodeURIComponent(value))}\n`,
  `<a>${value.replaceAll(/[^a-z0-9]/g, (each) => `&amp;#x${each.charCodeAt(0).toString(16)};`)}</a>\n`,
  `> ${Buffer.from(value).toString("base64").replaceAll(/.{64}/g, "$&\n> ")}\n`,
  `${Buffer.from(value).toString("hex")}\n`,
  "nothing to see here\n",
]);
const noMarker = "";

async function open(text: string) {
  const path = join(tempDir(), "spool");
  writeFileSync(path, text);
  const spool = maskingSpool(await openSpool(path, () => undefined), { now: () => hidden }, path);
  onTestFinished(() => spool.close());
  return { path, spool };
}

test("wherever a reader goes on, it finds the same bytes", async () => {
  const text = inForms.join("");
  const { path, spool } = await open(text);
  const stream = hidden.stream();
  const whole = Buffer.concat([stream.push(Buffer.from(text)), stream.end()]);
  const reads = fc.array(fc.tuple(fc.nat(whole.byteLength), fc.integer({ min: 1, max: 5_000 })), {
    minLength: 1,
    maxLength: 6,
  });
  await fc.assert(
    fc.asyncProperty(reads, async (places) => {
      for (const [offset, limit] of places) {
        const found = Buffer.from(await spool.read(offset, limit));
        expect(found.toString("latin1")).toBe(whole.subarray(offset, offset + found.byteLength).toString("latin1"));
      }
    }),
  );
  await spool.seal(Number.MAX_SAFE_INTEGER, noMarker);
  expect(readFileSync(path).equals(whole)).toBe(true);
  expect(Buffer.from(await spool.read(0, whole.byteLength)).equals(whole)).toBe(true);
});

test("what is read while the file is being masked gives nothing away", async () => {
  const { path, spool } = await open("begin\n");
  const first = corpus.at(-1) ?? "";
  // The reader holds back half of a secret, when the rest comes with megabytes behind it.
  appendFileSync(path, first.slice(0, 40));
  const parts = [await spool.read(0, 1_000)];
  appendFileSync(path, first.slice(40) + inForms.join("").repeat(40));
  let at = parts[0]?.byteLength ?? 0;
  const sealed = spool.seal(Number.MAX_SAFE_INTEGER, noMarker);
  const end = readFileSync(path).byteLength;
  while (at < end) {
    const part = await spool.read(at, 64 * 1024);
    parts.push(part);
    at += part.byteLength;
  }
  await sealed;
  const read = Buffer.concat(parts);
  expect(read.equals(readFileSync(path))).toBe(true);
  expect(leaksIn(read, corpus.flatMap(tracesOf))).toEqual([]);
});

test("a log that is cut in the midst of a secret shows none of it, and keeps its marker", async () => {
  const secret = corpus[0] ?? "";
  const marker = "\ncut\n";
  const { path, spool } = await open(`before ${secret} and after`);
  const kept = "before ".length + 12;
  await spool.seal(kept + marker.length, marker);
  expect(readFileSync(path, "utf8")).toBe(`before ${"*".repeat(12)}${marker}`);
});

test("a task that truncates its output hides what is new as well", async () => {
  const secret = corpus[0] ?? "";
  const { path, spool } = await open(`old ${secret}.`);
  const before = Buffer.from(await spool.read(0, 1_000)).toString();
  expect(before).toBe(`old ${"*".repeat(secret.length)}.`);
  writeFileSync(path, `new ${secret}.`.slice(0, 12));
  const after = Buffer.from(await spool.read(before.length, 1_000)).toString();
  appendFileSync(path, `new ${secret}.`.slice(12));
  const rest = Buffer.from(await spool.read(before.length + after.length, 1_000)).toString();
  expect(after + rest).toBe(`new ${"*".repeat(secret.length)}.`);
});

test("what is named while the task prints is hidden from then on, also when half of it was read before", async () => {
  const path = join(tempDir(), "spool");
  writeFileSync(path, "one tok");
  let known = masking([]);
  const spool = maskingSpool(await openSpool(path, () => undefined), { now: () => known }, path);
  onTestFinished(() => spool.close());
  const parts = [await spool.read(0, 1_000)];
  known = masking([{ name: "s", value: Buffer.from("token-0123456789") }]);
  appendFileSync(path, "en-0123456789, token-01234");
  parts.push(await spool.read(7, 1_000));
  appendFileSync(path, "56789 two");
  parts.push(await spool.read(7 + (parts[1]?.byteLength ?? 0), 1_000));
  await spool.seal(Number.MAX_SAFE_INTEGER, noMarker);
  expect(Buffer.concat(parts).toString()).toBe(`one tok${"*".repeat(13)}, ${"*".repeat(16)} two`);
  expect(readFileSync(path, "utf8")).toBe(`one ${"*".repeat(16)}, ${"*".repeat(16)} two`);
});
