import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  desiredSize,
  neededSize,
  type PoolWork,
  type RecentNeeds,
  remember,
  type SizeRules,
} from "../../../../../coordinator/farm/pools/desired-size.ts";
import { runs } from "../../../../support/property-runs.ts";

const rules: SizeRules = { min: 0, max: 8, targetWaitMs: 60_000, idleTimeoutMs: 300_000, slots: 1 };
const work = (queued: number, running = 0, taskTimeMs?: number): PoolWork => ({ queued, running, taskTimeMs });

const anyWork = fc.record({
  queued: fc.nat(100_000),
  running: fc.nat(1_000),
  taskTimeMs: fc.option(fc.integer({ min: 1, max: 10_000_000 }), { nil: undefined }),
});
const anyRules = fc
  .record({
    min: fc.nat(50),
    more: fc.nat(950),
    targetWaitMs: fc.integer({ min: 1_000, max: 86_400_000 }),
    idleTimeoutMs: fc.integer({ min: 1_000, max: 86_400_000 }),
    slots: fc.integer({ min: 1, max: 64 }),
  })
  .map(({ more, ...rest }): SizeRules => ({ ...rest, max: rest.min + more }));

/** What a pool wants at each look, `stepMs` apart. */
function follow(loads: readonly PoolWork[], stepMs: number, by: SizeRules): number[] {
  let needs: RecentNeeds = [];
  return loads.map((load, index) => {
    const { idleTimeoutMs } = by;
    needs = remember(needs, neededSize(load, by), { nowMs: index * stepMs, idleTimeoutMs });
    return desiredSize(needs, by);
  });
}

describe("the size that work needs", () => {
  it("is the seconds of work by the target wait", () => {
    // 30 of 20 s each are 600 s: ten slots get through them in a minute.
    expect(neededSize(work(30, 0, 20_000), { ...rules, max: 100 })).toBe(10);
    expect(neededSize(work(30, 0, 20_000), { ...rules, max: 100, slots: 4 })).toBe(3);
    expect(neededSize(work(20, 10, 20_000), { ...rules, max: 100 })).toBe(10);
  });

  it("is a slot for each while nobody knows how long they take", () => {
    expect(neededSize(work(5), { ...rules, max: 100 })).toBe(5);
    expect(neededSize(work(5), { ...rules, max: 100, slots: 2 })).toBe(3);
  });

  it("is never more than have something to do: long work brings no idle agents", () => {
    expect(neededSize(work(0, 3, 3_600_000), { ...rules, max: 100 })).toBe(3);
  });

  it("is within the bounds, whatever the work", () => {
    fc.assert(
      fc.property(anyWork, anyRules, (load, by) => {
        const size = neededSize(load, by);
        return size >= by.min && size <= by.max;
      }),
      { numRuns: runs(500) },
    );
  });

  it("grows with the work: with what waits, with what runs, with how long it takes", () => {
    fc.assert(
      fc.property(anyWork, anyRules, fc.nat(1_000), fc.nat(100), fc.nat(1_000_000), (load, by, queued, running, ms) => {
        const { taskTimeMs } = load;
        const more = { queued: load.queued + queued, running: load.running + running, taskTimeMs };
        const longer = { ...load, taskTimeMs: taskTimeMs === undefined ? undefined : taskTimeMs + ms };
        const size = neededSize(load, by);
        return neededSize(more, by) >= size && neededSize(longer, by) >= size;
      }),
      { numRuns: runs(500) },
    );
  });

  it("is at least one when anything waits, unless there may be none", () => {
    fc.assert(
      fc.property(anyWork, anyRules, (load, by) => {
        fc.pre(load.queued > 0);
        return neededSize(load, by) >= Math.min(1, by.max);
      }),
      { numRuns: runs(300) },
    );
  });
});

describe("the size of a pool", () => {
  it("grows at once and shrinks when an idle time-out has passed in which less was needed", () => {
    const loads = [work(0), work(8), work(2), work(0), work(0), work(0), work(0)];
    expect(follow(loads, 100_000, rules)).toEqual([0, 8, 8, 8, 2, 0, 0]);
  });

  it("does not change under a constant load", () => {
    fc.assert(
      fc.property(anyWork, anyRules, fc.integer({ min: 1, max: 1_000_000 }), (load, by, stepMs) => {
        const sizes = follow(
          Array.from({ length: 30 }, () => load),
          stepMs,
          by,
        );
        return new Set(sizes).size === 1;
      }),
      { numRuns: runs(200) },
    );
  });

  it("does not follow a load that comes and goes within the idle time-out", () => {
    fc.assert(
      fc.property(anyWork, fc.array(anyWork, { minLength: 1, maxLength: 8 }), anyRules, (peak, lower, by) => {
        const stepMs = Math.floor((by.idleTimeoutMs - 1) / (lower.length + 1));
        const cycle = [peak, ...lower.map((load) => ({ ...load, queued: Math.min(load.queued, peak.queued) }))];
        const loads = [...cycle, ...cycle, ...cycle].map((load) => {
          return { ...load, running: Math.min(load.running, peak.running), taskTimeMs: peak.taskTimeMs };
        });
        return new Set(follow(loads, stepMs, by)).size === 1;
      }),
      { numRuns: runs(200) },
    );
  });

  it("is what was needed at most within the last idle time-out, by whatever way it came there", () => {
    const looks = fc.array(fc.tuple(anyWork, fc.nat(200_000)), { minLength: 1, maxLength: 40 });
    fc.assert(
      fc.property(looks, anyRules, (steps, by) => {
        let needs: RecentNeeds = [];
        let nowMs = 0;
        const seen: { size: number; atMs: number }[] = [];
        for (const [load, stepMs] of steps) {
          nowMs += stepMs;
          const size = neededSize(load, by);
          needs = remember(needs, size, { nowMs, idleTimeoutMs: by.idleTimeoutMs });
          seen.push({ size, atMs: nowMs });
          const recent = seen.filter(({ atMs }, index) => nowMs - atMs < by.idleTimeoutMs || index === seen.length - 1);
          expect(desiredSize(needs, by)).toBe(Math.max(...recent.map((one) => one.size)));
          expect(needs.length).toBeLessThanOrEqual(by.max - by.min + 1);
        }
      }),
      { numRuns: runs(200) },
    );
  });

  it("is the least allowed one an idle time-out after the last work, and no earlier", () => {
    fc.assert(
      fc.property(anyWork, anyRules, (load, by) => {
        const loads = [load, work(0), work(0)];
        const [first, before] = follow(loads, by.idleTimeoutMs - 1, by);
        const after = follow(loads.slice(0, 2), by.idleTimeoutMs, by)[1];
        expect(before).toBe(first);
        expect(after).toBe(by.min);
      }),
      { numRuns: runs(200) },
    );
  });
});
