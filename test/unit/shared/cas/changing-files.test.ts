import { expect, test } from "vitest";
import { changingFiles } from "../../../../shared/cas/changing-files.ts";
import { textBlob } from "../../../support/blobs.ts";

const [a, b] = [textBlob("a").digest, textBlob("b").digest];

test("a blob is stored when its removal is over, however that ends, and others need not wait", async () => {
  const files = changingFiles();
  const done: string[] = [];
  const removal = Promise.withResolvers<void>();
  const removed = files.remove(a, () => removal.promise);
  const stored = files.store(a, async () => void done.push("a"));
  await files.store(b, async () => void done.push("b"));
  expect(done).toEqual(["b"]);
  expect(files.isStored(a)).toBe(false);
  removal.reject(new Error("the disk is gone"));
  await expect(removed).rejects.toThrow("the disk is gone");
  await stored;
  expect(done).toEqual(["b", "a"]);
});

test("while a blob is being stored, by one or by many, it must not be removed", async () => {
  const files = changingFiles();
  const [first, second] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  const storing = [files.store(a, () => first.promise), files.store(a, () => second.promise)];
  expect([files.isStored(a), files.isStored(b)]).toEqual([true, false]);
  first.reject(new Error("no"));
  await expect(storing[0]).rejects.toThrow("no");
  expect(files.isStored(a)).toBe(true);
  second.resolve();
  await storing[1];
  expect(files.isStored(a)).toBe(false);
});
