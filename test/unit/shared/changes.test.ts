import { getEventListeners } from "node:events";
import { expect, test } from "vitest";
import { changes } from "../../../shared/changes.ts";

test("an announcement wakes all who wait, and ends at once the wait for one that was missed", async () => {
  const news = changes();
  const { signal } = new AbortController();
  const seen = news.version();
  const waits = [news.after(seen, signal), news.after(seen, signal)];
  expect(news.waiting()).toBe(2);
  news.announce();
  await Promise.all(waits);
  await news.after(seen, signal);
  expect(news.waiting()).toBe(0);
});

test("aborting ends the wait, and nothing stays behind on either side", async () => {
  const news = changes();
  const stop = new AbortController();
  const wait = news.after(news.version(), stop.signal);
  stop.abort();
  await wait;
  expect(news.waiting()).toBe(0);
  await news.after(news.version(), stop.signal);

  const { signal } = new AbortController();
  const woken = news.after(news.version(), signal);
  news.announce();
  await woken;
  expect(getEventListeners(signal, "abort")).toHaveLength(0);
});
