import { getEventListeners } from "node:events";
import fc from "fast-check";
import { expect, test, vi } from "vitest";
import { MillraceError } from "../../../shared/errors.ts";
import { type RetryOptions, retry, retryDelayMs } from "../../../shared/retry.ts";
import { fakeClock } from "../../support/fake-clock.ts";

const away = new MillraceError("unavailable", "the server is away");

function setup(options: Partial<RetryOptions> = {}) {
  const clock = fakeClock();
  const stop = new AbortController();
  const all: RetryOptions = {
    clock,
    random: () => 0.5,
    signal: stop.signal,
    baseMs: 100,
    maxMs: 1_000,
    attemptsMax: 5,
    ...options,
  };
  return { clock, stop, options: all };
}

test("tries again after longer and longer waits until it succeeds", async () => {
  const { clock, options } = setup();
  const at: number[] = [];
  const result = retry(async (attempt) => {
    at.push(clock.monotonicMs());
    if (attempt < 4) throw away;
    return "done";
  }, options);
  for (const [attempts, waitMs] of [50, 100, 200].entries()) {
    await vi.waitUntil(() => at.length === attempts + 1, 10_000);
    await Promise.resolve();
    clock.advance(waitMs);
  }
  expect(await result).toBe("done");
  expect(at).toEqual([0, 50, 150, 350]);
});

test("the last error is thrown when the attempts are used up, with their number and its code", async () => {
  const { options } = setup({ attemptsMax: 3, random: () => 0, clock: immediateClock() });
  const operation = vi.fn().mockRejectedValue(away);
  await expect(retry(operation, options)).rejects.toMatchObject({
    code: "unavailable",
    message: "after 3 attempts: the server is away",
  });
  expect(operation.mock.calls).toEqual([[1], [2], [3]]);
});

test("an error that trying again cannot mend is thrown as it is", async () => {
  const { options } = setup();
  const wrong = new MillraceError("invalid_argument", "wrong");
  await expect(retry(() => Promise.reject(wrong), options)).rejects.toBe(wrong);
  await expect(retry(() => Promise.reject(away), { ...options, isRetryable: () => false })).rejects.toBe(away);
});

test("aborting ends the wait with canceled and leaves nothing behind", async () => {
  const { options, stop } = setup();
  const result = retry(() => Promise.reject(away), options);
  await vi.waitUntil(() => getEventListeners(stop.signal, "abort").length === 1, 10_000);
  stop.abort();
  await expect(result).rejects.toMatchObject({ code: "canceled" });
  expect(getEventListeners(stop.signal, "abort")).toHaveLength(0);
});

test("no wait leaves its bounds, however many attempts failed", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 5_000 }),
      fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
      (failures, random) => {
        const delayMs = retryDelayMs(failures, { baseMs: 100, maxMs: 30_000, random: () => random });
        expect(delayMs).toBeGreaterThanOrEqual(0);
        expect(delayMs).toBeLessThan(30_000);
        expect(delayMs).toBeLessThanOrEqual(100 * 2 ** (failures - 1));
      },
    ),
  );
});

function immediateClock() {
  return { ...fakeClock(), after: (_: number, call: () => void) => (queueMicrotask(call), () => undefined) };
}
