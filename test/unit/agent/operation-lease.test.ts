import fc from "fast-check";
import { expect, test } from "vitest";
import { operationLease } from "../../../agent/session/operation-lease.ts";
import { limits } from "../../../shared/limits.ts";
import { fakeClock } from "../../support/fake-clock.ts";

function setup(leaseMs = 1_000) {
  const clock = fakeClock();
  const expired: { atMs: number; silentMs: number }[] = [];
  const onExpired = (silentMs: number) => expired.push({ atMs: clock.monotonicMs(), silentMs });
  return { clock, expired, lease: operationLease({ clock, leaseMs, onExpired }) };
}

test("it runs out one lease after the last thing said that was answered, however late the answer came", () => {
  fc.assert(
    fc.property(
      fc.array(fc.record({ pauseMs: fc.nat(1_500), answerMs: fc.nat(1_500), answered: fc.boolean() }), {
        maxLength: 20,
      }),
      (heartbeats) => {
        const { clock, expired, lease } = setup();
        let wordMs = 0;
        for (const { pauseMs, answerMs, answered } of heartbeats) {
          const saidMs = clock.monotonicMs();
          clock.advance(answerMs);
          if (answered) {
            lease.heard(saidMs);
            wordMs = saidMs;
          }
          const before = expired.length;
          const startMs = clock.monotonicMs();
          clock.advance(pauseMs);
          const isDue = startMs + pauseMs >= wordMs + 1_000;
          const isFirst = !expired.slice(0, before).some(({ atMs }) => atMs >= wordMs + 1_000);
          if (isDue && isFirst) expect(expired.length).toBeGreaterThan(before);
          for (const { atMs, silentMs } of expired.slice(before)) {
            expect(silentMs).toBe(atMs - wordMs);
            expect(silentMs).toBeGreaterThanOrEqual(1_000);
          }
        }
      },
    ),
  );
});

test("it begins with the agent: what an earlier start left may not go on for ever without a farm", () => {
  const { clock, expired } = setup();
  clock.advance(999);
  expect(expired).toEqual([]);
  clock.advance(1);
  expect(expired).toEqual([{ atMs: 1_000, silentMs: 1_000 }]);
});

test("what was taken after it ran out is ended, too, while no word comes", () => {
  const { clock, expired } = setup();
  clock.advance(3_500);
  expect(expired.map(({ silentMs }) => silentMs)).toEqual([1_000, 2_000, 3_000]);
});

test("an answer to something said long ago is no word of now", () => {
  const { clock, expired, lease } = setup();
  clock.advance(900);
  lease.heard(100);
  clock.advance(199);
  expect(expired).toEqual([]);
  clock.advance(1);
  expect(expired).toEqual([{ atMs: 1_100, silentMs: 1_000 }]);
  lease.heard(50);
  clock.advance(999);
  expect(expired).toHaveLength(1);
});

test("the coordinator says how long it is, and it ends with the agent", () => {
  const { clock, expired, lease } = setup();
  lease.setLength(5_000);
  clock.advance(4_999);
  expect(expired).toEqual([]);
  lease.close();
  clock.advance(10_000);
  expect(expired).toEqual([]);
});

test("a coordinator that names no length answers no heartbeats: its silence ends nothing, until one does", () => {
  const { clock, expired, lease } = setup();
  lease.setLength(undefined);
  clock.advance(60_000);
  expect(expired).toEqual([]);
  lease.setLength(1_000);
  clock.advance(999);
  expect(expired).toEqual([]);
  clock.advance(1);
  expect(expired).toEqual([{ atMs: 61_000, silentMs: 1_000 }]);
});

test("a machine that was suspended ends its operations one look after it wakes, though its timers stood still", () => {
  const { clock, expired, lease } = setup(30_000);
  lease.heard(0);
  clock.suspend(60_000);
  clock.advance(limits.operationLeaseLookMs);
  expect(expired).toMatchObject([{ silentMs: 60_000 + limits.operationLeaseLookMs }]);
});

test("a word of the farm after the sleep does not undo that the lease has run out in it", () => {
  const { clock, expired, lease } = setup(30_000);
  clock.advance(500);
  clock.suspend(60_000);
  const saidMs = clock.uptimeMs();
  lease.heard(saidMs);
  expect(expired).toMatchObject([{ silentMs: 60_500 }]);
});

test("a machine that was stopped ends its operations as soon as it wakes", () => {
  const { clock, expired } = setup();
  clock.jump(60_000);
  expect(expired).toEqual([{ atMs: 60_000, silentMs: 60_000 }]);
});
