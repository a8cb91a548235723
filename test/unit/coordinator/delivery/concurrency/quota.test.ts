import fc from "fast-check";
import { expect, test } from "vitest";
import {
  type Claim,
  emptyQuota,
  enqueueClaim,
  holdClaim,
  leaveQuota,
  settleQuota,
} from "../../../../../coordinator/delivery/concurrency/quota.ts";

let made = 0;
function claim(run: string, extra: Partial<Claim> = {}): Claim {
  made += 1;
  return { id: `${run} s/t${made}`, run, priority: 0, askedMs: made, ordinal: made, ...extra };
}

test("without a bound all run, with one as many as it says", () => {
  const quota = emptyQuota();
  const claims = [claim("run_1"), claim("run_1"), claim("run_1")];
  for (const one of claims) enqueueClaim(quota, one);
  expect(settleQuota(quota, 2)).toEqual(claims.slice(0, 2));
  expect(settleQuota(quota, 2)).toEqual([]);
  expect(settleQuota(quota, 0)).toEqual(claims.slice(2));
});

test("the greater priority goes first, then the run with fewer running, then who asked first", () => {
  const quota = emptyQuota();
  const [a, b, c, d] = [claim("run_1"), claim("run_1"), claim("run_2"), claim("run_2", { priority: 5 })] as [
    Claim,
    Claim,
    Claim,
    Claim,
  ];
  for (const one of [a, b, c, d]) enqueueClaim(quota, one);
  expect(settleQuota(quota, 1)).toEqual([d]);
  leaveQuota(quota, d);
  expect(settleQuota(quota, 1)).toEqual([a]);
  expect(settleQuota(quota, 2)).toEqual([c]);
});

test("a run of a thousand tasks does not keep the one task of another run waiting", () => {
  const quota = emptyQuota();
  const many = Array.from({ length: 1_000 }, () => claim("run_1"));
  for (const one of many) enqueueClaim(quota, one);
  const running = settleQuota(quota, 10);
  const single = claim("run_2");
  enqueueClaim(quota, single);
  leaveQuota(quota, running[0] as Claim);
  expect(settleQuota(quota, 10)).toEqual([single]);
});

test("what was running before a restart counts, also beyond a bound that was lowered", () => {
  const quota = emptyQuota();
  const [a, b, c] = [claim("run_1"), claim("run_1"), claim("run_1")] as [Claim, Claim, Claim];
  holdClaim(quota, a);
  holdClaim(quota, b);
  enqueueClaim(quota, c);
  expect(settleQuota(quota, 1)).toEqual([]);
  leaveQuota(quota, a);
  expect(settleQuota(quota, 1)).toEqual([]);
  leaveQuota(quota, b);
  expect(settleQuota(quota, 1)).toEqual([c]);
});

const stories = fc.array(
  fc.record({
    kind: fc.constantFrom("ask", "ask", "leave"),
    run: fc.integer({ min: 1, max: 4 }),
    priority: fc.integer({ min: -1, max: 1 }),
    pick: fc.nat(),
  }),
  { maxLength: 80 },
);

test("the bound holds, no slot of it stays empty while somebody waits, and all have their turn", () => {
  fc.assert(
    fc.property(stories, fc.integer({ min: 1, max: 4 }), (story, max) => {
      const quota = emptyQuota();
      const inside: Claim[] = [];
      const waiting = () => [...quota.waiting.values()].flat();
      for (const { kind, run, priority, pick } of story) {
        const chosen = inside[pick % Math.max(1, inside.length)];
        if (kind === "leave" && chosen !== undefined) {
          leaveQuota(quota, chosen);
          inside.splice(inside.indexOf(chosen), 1);
        } else {
          const one = claim(`run_${run}`, { priority, askedMs: pick % 7 });
          inside.push(one);
          enqueueClaim(quota, one);
        }
        settleQuota(quota, max);
        expect(quota.running.size).toBe(Math.min(max, inside.length));
        expect(new Set([...quota.running.values(), ...waiting()])).toEqual(new Set(inside));
        const counted = [...quota.runningOf.values()].reduce((sum, count) => sum + count, 0);
        expect(counted).toBe(quota.running.size);
      }
      for (const one of inside.splice(0)) {
        leaveQuota(quota, one);
        settleQuota(quota, max);
      }
      expect([quota.running.size, quota.runningOf.size, quota.waiting.size]).toEqual([0, 0, 0]);
    }),
  );
});
